package dkim_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/mailauth"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// FuzzSigner signs any text: what our own verifier gets over SMTP holds.
func FuzzSigner(f *testing.F) {
	for _, s := range []string{mail, "From: a@example.org\r\n\r\n a  b \r\n\r\n", "From: a@example.org\nX: \r\r\n y\x00\r\n\r\n\r\r\n.", "from : a@example.org\r\nTO:\r\n\t\r\n\r\n", "From: a@example.org", "X: y\r\nFrom:\r\n a@example.org\r\n\r\n\n\n\n"} {
		f.Add(s)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	key, err := dkim.NewKey("example.org", "s", private)
	if err != nil {
		f.Fatal(err)
	}
	zone := &testdns.Table{TXT: map[string][]string{key.Name(): {key.Record()}}}
	f.Fuzz(func(t *testing.T, m string) {
		if header.Mbox([]byte(m)) {
			t.Skip("the first line of a mailbox file is no field, and no door lets it in")
		}
		next := &hop{}
		s := &dkim.Signer{Next: next, Keys: dkim.FixedKeys{key}}
		env := &mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.com"}}}
		if r := mailkeel.Deliver(t.Context(), s, env, text(m))[0]; r.Err != nil {
			if !mailkeel.Permanent(r.Err) {
				t.Fatal(r.Err)
			}
			return
		}
		if next.got[0] == m {
			return // not ours
		}
		vs, err := mailauth.VerifyDKIM(t.Context(), zone, strings.NewReader(sent(next.got[0])), time.Now())
		if err != nil || len(vs) == 0 || vs[0].Result != mailauth.Pass {
			t.Errorf("%+v, %v\n%q", vs, err, next.got[0])
		}
	})
}
