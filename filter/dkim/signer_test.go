package dkim_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/delivery/deliverytest"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/testclock"
)

// text is a message in memory.
type text string

func (s text) Size() int64 { return int64(len(s)) }
func (s text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(s))), nil
}

// hop keeps what comes.
type hop struct {
	mu     sync.Mutex
	got    []string
	closed bool
}

func (h *hop) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	var err error
	rc, err := c.Open(ctx)
	if err == nil {
		defer rc.Close()
		var b []byte
		if b, err = io.ReadAll(rc); err == nil && int64(len(b)) != c.Size() {
			err = io.ErrUnexpectedEOF
		}
		h.mu.Lock()
		h.got = append(h.got, string(b))
		h.mu.Unlock()
	}
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
}

func (h *hop) Close() error { h.closed = true; return nil }

func (h *hop) Verify(context.Context, *mailkeel.Envelope, mailkeel.Recipient, int64) error {
	return errors.New("full")
}

func (h *hop) Holds(context.Context, *mailkeel.Envelope, mailkeel.Recipient) error {
	return delivery.Hold("wait")
}

// at is the Local of some domains.
func at(domains ...string) func(context.Context, string) (bool, error) {
	return func(_ context.Context, d string) (bool, error) {
		for _, o := range domains {
			if o == d {
				return true, nil
			}
		}
		return false, nil
	}
}

// ring is shared by tests, for an RSA key takes time to make.
var ring = &dkim.KeyRing{Local: at("example.org", "xn--bcher-kva.example"), Clock: &testclock.Clock{}}

// zone looks up the records of the ring.
func zone(t testing.TB, ring dkim.Keys, domains ...string) func(string) ([]string, error) {
	records := map[string][]string{}
	for _, d := range domains {
		keys, err := ring.Keys(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			records[k.Name()] = []string{k.Record()}
		}
	}
	return func(name string) ([]string, error) {
		if r := records[strings.TrimSuffix(name, ".")]; r != nil {
			return r, nil
		}
		return nil, errors.New("no such name")
	}
}

const mail = "From: Ann <ann@example.org>\r\nTo: bob@example.com\r\nSubject: hello\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello Bob.\r\n"

// send returns what leaves.
func send(t testing.TB, s *dkim.Signer, env *mailkeel.Envelope, m string) (string, error) {
	t.Helper()
	next := &hop{}
	s.Next = next
	env.Rcpts = []mailkeel.Recipient{{Addr: "bob@example.com"}}
	rs := mailkeel.Deliver(t.Context(), s, env, text(m))
	if rs[0].Err != nil {
		if len(next.got) > 0 {
			t.Error("it failed, and something left")
		}
		return "", rs[0].Err
	}
	return next.got[0], nil
}

func written() *mailkeel.Envelope {
	return &mailkeel.Envelope{ID: "m1", From: "ann@example.org", Submitter: "a1", Origin: &mailkeel.Origin{Identity: "a1"}}
}

// verdicts verifies each signature.
func verdicts(t testing.TB, m string, lookup func(string) ([]string, error)) []*msgauth.Verification {
	t.Helper()
	vs, err := msgauth.VerifyWithOptions(strings.NewReader(m), &msgauth.VerifyOptions{LookupTXT: lookup})
	if err != nil {
		t.Fatalf("%v in %q", err, m)
	}
	return vs
}

func TestBothSignaturesHold(t *testing.T) {
	lookup := zone(t, ring, "example.org", "xn--bcher-kva.example")
	for name, m := range map[string]string{
		"plain":             mail,
		"no body":           "From: a@example.org\r\n\r\n",
		"only a header":     "From: a@example.org\r\nSubject: x\r\n",
		"no line end":       "From: a@example.org\r\n\r\nlast line",
		"blank lines":       "From: a@example.org\r\n\r\n \r\n\r\n\t\r\n",
		"spaces":            "From: a@example.org\r\n\r\n a  b\t \r\n\r\n\r\n  c\t\td \r\n\r\n\r\n",
		"folds":             "From: Ann\r\n\t<a@example.org>\r\nSubject:  a\r\n  b \r\n \r\nTo:x@example.com\r\n\r\nx\r\n",
		"case of names":     "FROM: a@EXAMPLE.org\r\nsUBJECT: x\r\n\r\nx\r\n",
		"many fields":       "Received: x\r\nFrom: a@example.org\r\nReceived: y\r\nTo: 1@example.com\r\nTo: 2@example.com\r\nList-Id: <l.example.org>\r\nX-Y: z\r\n\r\nx\r\n",
		"two authors":       "From: x@elsewhere.example, a@example.org\r\n\r\nx\r\n",
		"below the domain":  "From: MAILER-DAEMON@mail.example.org\r\n\r\nx\r\n",
		"international":     "From: Ä <a@bücher.example>\r\nSubject: ü\r\n\r\nü\r\n",
		"long lines":        "From: a@example.org\r\nSubject: " + strings.Repeat("x", 5000) + "\r\n\r\n" + strings.Repeat("y z ", 20000) + "\r\n",
		"signed before":     "DKIM-Signature: v=1; a=rsa-sha256; d=elsewhere.example; s=s; h=from; bh=; b=\r\nFrom: a@example.org\r\n\r\nx\r\n",
		"empty fields":      "From: a@example.org\r\nSubject:\r\nTo: \r\nCc:  \r\n\r\nx\r\n",
		"dots":              "From: a@example.org\r\n\r\n.\r\n..\r\n. \r\n",
		"line ends alone":   "From: a@example.org\nTo: b@example.com\r\n\r\na\nb\rc\r\n\x00\r\n",
		"a CR in the field": "From: a@example.org\r\nSubject: a\rTo: b@example.com\r\n\r\nx\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := send(t, &dkim.Signer{Keys: ring}, written(), m)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(got, m) {
				t.Fatal("the message was changed")
			}
			n := 0
			for _, v := range verdicts(t, sent(got), lookup) {
				if v.Err == nil {
					n++
				} else if v.Domain != "elsewhere.example" {
					t.Errorf("%s: %v", v.Domain, v.Err)
				}
			}
			if n != 2 {
				t.Errorf("%d signatures hold, want 2, of\n%s", n, got)
			}
			prefix := strings.TrimSuffix(got, m)
			for line := range strings.SplitSeq(prefix, "\r\n") {
				if len(line) > 78 {
					t.Errorf("a line of %d bytes: %s", len(line), line)
				}
			}
		})
	}
}

// sent is a message as a client of SMTP sends it.
func sent(m string) string {
	m = strings.ReplaceAll(m, "\r\n", "\n")
	m = strings.ReplaceAll(m, "\r", "\n")
	m = strings.ReplaceAll(m, "\x00", " ")
	m = strings.ReplaceAll(m, "\n", "\r\n")
	if !strings.HasSuffix(m, "\r\n") {
		m += "\r\n"
	}
	if !strings.Contains(m, "\r\n\r\n") {
		m += "\r\n" // which go-msgauth wants to see
	}
	return m
}

func TestWhatIsNotOursLeavesUnsigned(t *testing.T) {
	stranger := &mailkeel.Origin{Hello: "mx.example.com"}
	for name, tt := range map[string]struct {
		env    mailkeel.Envelope
		m      string
		signed bool
	}{
		"written":                     {*written(), mail, true},
		"an app composed it":          {mailkeel.Envelope{From: "ann@example.org"}, mail, true},
		"a bounce":                    {mailkeel.Envelope{}, strings.Replace(mail, "ann@", "MAILER-DAEMON@mail.", 1), true},
		"queued, of an account":       {mailkeel.Envelope{Submitter: "a1", Origin: stranger}, mail, true},
		"forwarded":                   {mailkeel.Envelope{From: "x@example.com", Origin: stranger}, strings.Replace(mail, "example.org", "example.com", 1), false},
		"forwarded, and forged":       {mailkeel.Envelope{From: "ann@example.org", Origin: stranger}, mail, false},
		"written for elsewhere":       {*written(), strings.Replace(mail, "ann@example.org", "ann@example.net", 1), false},
		"a domain below that is none": {*written(), strings.Replace(mail, "ann@example.org", "ann@notexample.org", 1), false},
		"no author":                   {*written(), "Subject: x\r\n\r\nx\r\n", false},
		"an author without a domain":  {*written(), "From: ann\r\n\r\nx\r\n", false},
		"an address literal":          {*written(), "From: ann@[192.0.2.1]\r\n\r\nx\r\n", false},
	} {
		got, err := send(t, &dkim.Signer{Keys: ring}, &tt.env, tt.m)
		if err != nil || (got != tt.m) != tt.signed {
			t.Errorf("%s: signed %v, %v", name, got != tt.m, err)
		}
	}
	got, err := send(t, &dkim.Signer{Keys: ring, Ours: func(*mailkeel.Envelope) bool { return true }}, &mailkeel.Envelope{Origin: stranger}, mail)
	if err != nil || got == mail {
		t.Errorf("with Ours: %v", err)
	}
}

// failing is a Content that breaks.
type failing struct {
	open error
	r    func() io.Reader
}

func (f failing) Size() int64 { return 1000 }
func (f failing) Open(context.Context) (io.ReadCloser, error) {
	if f.open != nil {
		return nil, f.open
	}
	return io.NopCloser(f.r()), nil
}

// noKeys cannot tell.
type noKeys struct{}

func (noKeys) Keys(context.Context, string) ([]dkim.Key, error) {
	return nil, errors.New("database down")
}

func TestNothingLeavesUnsignedByAccident(t *testing.T) {
	gone := errors.New("disk on fire")
	headerOnly := io.MultiReader(strings.NewReader("From: a@example.org\r\nSub"), iotest.ErrReader(gone))
	inBody := io.MultiReader(strings.NewReader(mail), iotest.ErrReader(gone))
	for name, tt := range map[string]struct {
		keys dkim.Keys
		c    mailkeel.Content
		perm bool
	}{
		"it cannot be opened":       {ring, failing{open: gone}, false},
		"its header cannot be read": {ring, failing{r: func() io.Reader { return headerOnly }}, false},
		"its body cannot be read":   {ring, failing{r: func() io.Reader { return inBody }}, false},
		"there is no answer":        {noKeys{}, text(mail), false},
		"a header of 2 MiB":         {ring, text("From: a@example.org\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"), true},
		"600 fields To":             {ring, text("From: a@example.org\r\n" + strings.Repeat("To: x@example.com\r\n", 600) + "\r\n"), true},
	} {
		next := &hop{}
		r := mailkeel.Deliver(t.Context(), &dkim.Signer{Next: next, Keys: tt.keys}, &mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "b@example.com"}}}, tt.c)[0]
		if r.Err == nil || mailkeel.Permanent(r.Err) != tt.perm || len(next.got) > 0 {
			t.Errorf("%s: %v, permanent %v, %d left", name, r.Err, mailkeel.Permanent(r.Err), len(next.got))
		}
	}
}

// TestOversigned is T29 on the side of the signer: no field that a reader sees can be
// added, and none taken away.
func TestOversigned(t *testing.T) {
	lookup := zone(t, ring, "example.org")
	m := "Content-Type: text/plain\r\n" + mail
	got, err := send(t, &dkim.Signer{Keys: ring}, written(), m)
	if err != nil {
		t.Fatal(err)
	}
	whole := func(m string) bool {
		for _, v := range verdicts(t, m, lookup) {
			if v.Err != nil {
				return false
			}
		}
		return true
	}
	if !whole(got) || !whole("Received: by x\r\n"+got) || !whole(strings.Replace(got, "\r\n\r\n", "\r\nX-Spam: no\r\n\r\n", 1)) {
		t.Error("what hops add breaks it")
	}
	for _, name := range []string{"From", "To", "Subject", "Date", "MIME-Version", "Content-Type"} {
		field := name + ": x@evil.example\r\n"
		for where, bad := range map[string]string{"above": field + got, "below": strings.Replace(got, "\r\n\r\n", "\r\n"+field+"\r\n", 1)} {
			if whole(bad) {
				t.Errorf("another %s %s passes", name, where)
			}
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(m, "\r\n\r\nHello Bob.\r\n"), "\r\n") {
		if whole(strings.Replace(got, line+"\r\n", "", 1)) {
			t.Errorf("without %q it passes", line)
		}
	}
	if whole(got+"more\r\n") || strings.Contains(got, " l=") {
		t.Error("more text passes")
	}
}

func TestWhatNextCanDoPassesThrough(t *testing.T) {
	h := &hop{}
	s := &dkim.Signer{Next: h, Keys: ring}
	if s.Verify(t.Context(), nil, mailkeel.Recipient{}, 0) == nil || !errors.Is(s.Holds(t.Context(), nil, mailkeel.Recipient{}), delivery.ErrHold) || s.Close() != nil || !h.closed {
		t.Error("Next was not asked")
	}
	s.Next = mailkeel.HandlerFunc(func(context.Context, *mailkeel.Envelope, mailkeel.Content) error { return nil })
	if s.Verify(t.Context(), nil, mailkeel.Recipient{}, 0) != nil || s.Holds(t.Context(), nil, mailkeel.Recipient{}) != nil || s.Close() != nil {
		t.Error("a Transport that cannot was asked")
	}
}

func TestSignerIsATransport(t *testing.T) {
	deliverytest.Run(t, deliverytest.Options{New: func(*testing.T) deliverytest.Subject {
		return deliverytest.Subject{Transport: &dkim.Signer{Next: refusing{&hop{}}, Keys: ring}, Bad: "no@example.com"}
	}})
}

// refusing refuses one address.
type refusing struct{ *hop }

func (r refusing) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	rs := r.hop.Deliver(ctx, env, c)
	for i, to := range env.Rcpts {
		if to.Addr == "no@example.com" {
			rs[i].Err = &mailkeel.Error{Code: 550}
		}
	}
	return rs
}

// TestSignsInPieces checks that how a reader divides a message makes no difference.
func TestSignsInPieces(t *testing.T) {
	_, private, _ := ed25519.GenerateKey(nil)
	key, err := dkim.NewKey("example.org", "s", private)
	if err != nil {
		t.Fatal(err)
	}
	m := "From: a@example.org\r\nX:  y\r\n z\r\n\r\n a  b \r\n\r\n\x00\rc\n\n\r\n d" + strings.Repeat(" e\tf\r\n", 10_000)
	var want string
	for i, read := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
		c := failing{r: func() io.Reader { return read(strings.NewReader(m)) }}
		next := &prefixOf{}
		s := &dkim.Signer{Next: next, Keys: dkim.FixedKeys{key}, Clock: &testclock.Clock{}}
		if r := mailkeel.Deliver(t.Context(), s, &mailkeel.Envelope{Rcpts: []mailkeel.Recipient{{Addr: "b@example.com"}}}, c)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if i == 0 {
			want = next.field // Ed25519 has no randomness
		}
		if next.field != want || !strings.HasPrefix(want, "DKIM-Signature: ") {
			t.Errorf("reader %d: %s, want %s", i, next.field, want)
		}
	}
}

// prefixOf keeps what stands before the message.
type prefixOf struct{ field string }

func (p *prefixOf) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	rc, err := c.Open(ctx)
	if err == nil {
		defer rc.Close()
		b, _ := io.ReadAll(rc)
		field, _, _ := bytes.Cut(b, []byte("From:"))
		p.field = string(field)
	}
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
}

func Example() {
	keys := &dkim.KeyRing{
		Local: func(_ context.Context, domain string) (bool, error) { return domain == "example.org", nil },
		NoRSA: true, Clock: &testclock.Clock{},
	}
	out := &dkim.Signer{Keys: keys, Next: mailkeel.HandlerFunc(func(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) error {
		rc, err := c.Open(ctx)
		if err != nil {
			return err
		}
		defer rc.Close()
		b, err := io.ReadAll(rc)
		first, _, _ := bytes.Cut(b, []byte("\r\n"))
		fmt.Printf("%s\n", first)
		return err
	})}
	env := &mailkeel.Envelope{ID: "m1", From: "ann@example.org", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.com"}}}
	fmt.Println(mailkeel.Deliver(context.Background(), out, env, text(mail))[0].Err)
	// Output:
	// DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org;
	// <nil>
}
