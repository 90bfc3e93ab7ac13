package imap

import (
	"context"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// TestARefusedClientIsLookedAtFirst: a small message that comes unasked is taken before
// it is known whether it may come, but not from a client that was just refused: it would
// fill the disk with what belongs to nobody.
func TestARefusedClientIsLookedAtFirst(t *testing.T) {
	blobs := &memblob.Store{}
	st := &store.Store{Backend: &memstore.Backend{}, Blobs: blobs}
	quota := mailkeel.Quota{Bytes: 1}
	st.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) { return quota, nil }
	p := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}, Store: st}))
	p.ok("LOGIN ann secret")
	p.ok("CREATE box")
	there := func(want int) {
		t.Helper()
		n := 0
		for _, err := range blobs.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("%d blobs, want %d", n, want)
		}
	}
	try := func(box, text, want string) {
		t.Helper()
		if last := p.do("APPEND %s {%d+}\r\n%s", box, len(text), text); !strings.Contains(last[len(last)-1], want) {
			t.Errorf("%q, want %s", last, want)
		}
	}
	try("box", "a\r\n\r\nb\r\n", "NO [OVERQUOTA]")
	there(1)
	try("box", "c\r\n\r\nd\r\n", "NO [OVERQUOTA]")
	try("none", "c\r\n\r\nd\r\n", "NO [TRYCREATE]")
	there(1)
	quota.Bytes = 1000
	try("box", "e\r\n\r\nf\r\n", "OK [APPENDUID")
	there(2)
	try("none", "g\r\n\r\nh\r\n", "NO [TRYCREATE]")
	there(3)
	try("none", "i\r\n\r\nj\r\n", "NO [TRYCREATE]")
	try("box", strings.Repeat("k", 2000), "NO [OVERQUOTA]")
	there(3)
	try("inbox", "l\r\n\r\nm\r\n", "OK [APPENDUID") // which is made for it
	there(4)
}
