package imap

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/store/blob"
)

// openCounter counts what is read of blobs.
type openCounter struct {
	blob.Store
	opens atomic.Int64
}

func (b *openCounter) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	b.opens.Add(1)
	return b.Store.Open(ctx, ref, off, n)
}

// Lists of usual fields are made of rows alone, and say what the messages say.
func TestListsOpenNoMessages(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	b := &openCounter{Store: s.Store.Blobs}
	s.Store.Blobs = b
	addr := start(t, s)
	put(t, s.Store, "a1", inbox, "Received: x\nSubject: one\n two\nFROM: a\nX-Own: y\nsubject : again\n\nbody\n")
	put(t, s.Store, "a1", inbox, "Received: x\nTo: "+strings.Repeat("a@b.example, ", 500)+"c@d\nSubject: long\n\nbody\n")
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	for _, c := range []struct {
		seq    int
		fields string
		opens  int64
		says   string
	}{
		{1, "subject FROM Date", 0, "Subject: one\r\n two\r\nFROM: a\r\nsubject : again\r\n\r\n"},
		{1, "to", 0, "\r\n"},
		{1, "Subject X-Own", 1, "Subject: one\r\n two\r\nX-Own: y\r\nsubject : again\r\n\r\n"},
		{1, "Received", 1, "Received: x\r\n\r\n"},
		{2, "subject", 1, "Subject: long\r\n\r\n"}, // too much to be kept
	} {
		b.opens.Store(0)
		got := strings.Join(p.ok("FETCH %d (FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (%s)])", c.seq, c.fields), "\r\n")
		if want := fmt.Sprintf("{%d}\r\n%s)", len(c.says), c.says); !strings.Contains(got, want) || b.opens.Load() != c.opens {
			t.Errorf("%s: %d opened, %q", c.fields, b.opens.Load(), got)
		}
		if len(c.says) < 5 {
			continue
		}
		// A piece is one of the same.
		got = strings.Join(p.ok("FETCH %d (BODY.PEEK[HEADER.FIELDS (%s)]<1.3>)", c.seq, c.fields), "\r\n")
		part := c.says[1:4]
		if want := fmt.Sprintf("{%d}\r\n%s)", len(part), part); !strings.Contains(got, want) {
			t.Errorf("%s: %q", c.fields, got)
		}
	}
	// Other sections read.
	b.opens.Store(0)
	p.ok("FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (Subject)])")
	if b.opens.Load() != 1 {
		t.Error("HEADER.FIELDS.NOT read nothing")
	}
}

// However many are read at a time, by a helper or not, a list is the same.
func TestListsAreTheSameWithHelpers(t *testing.T) {
	const n = 700
	backend := newStore()
	var want []string
	for i := range n {
		put(t, backend, "a1", inbox, fmt.Sprintf("Subject: %d %s\n\nx\n", i, strings.Repeat("s", i*37%2000)))
	}
	for _, s := range []*Server{{SearchHelpers: -1}, {SearchHelpers: 1}, {SearchHelpers: 2}} {
		for _, cache := range []int{-1, 0} {
			s.InsecureAuth, s.Store = true, backend
			backend.ColdCache = cache
			p := dial(t, start(t, &Server{InsecureAuth: true, Store: backend, SearchHelpers: s.SearchHelpers}))
			p.ok("LOGIN ann@example.org secret")
			p.ok("SELECT INBOX")
			for range 2 {
				got := p.ok("FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (Subject)] ENVELOPE)")
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%d helpers, cache %d: another list", s.SearchHelpers, cache)
				}
			}
			p.Close()
		}
	}
}
