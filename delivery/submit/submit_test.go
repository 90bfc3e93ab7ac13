package submit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/deliverytest"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

// got is one message that came out.
type got struct {
	env     mailkeel.Envelope
	text    string
	content mailkeel.Content
}

// next is a Transport that notes what comes and answers by address.
type next struct {
	*testing.T
	answers map[string]error
	all     []got
	checked []mailkeel.Recipient
}

func (n *next) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	data := read(n.T, c)
	n.all = append(n.all, got{*env, data, c})
	rs := make([]mailkeel.Result, len(env.Rcpts))
	for i, r := range env.Rcpts {
		rs[i].Err = n.answers[r.Addr]
	}
	return rs
}

func (n *next) Verify(_ context.Context, _ *mailkeel.Envelope, r mailkeel.Recipient, _ int64) error {
	n.checked = append(n.checked, r)
	return n.answers[r.Addr]
}

// read reads a content, twice, and checks its size.
func read(t testing.TB, c mailkeel.Content) string {
	t.Helper()
	var last string
	for i := range 2 {
		rc, err := c.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc)
		rc.Close()
		if err != nil || int64(len(data)) != c.Size() || i == 1 && string(data) != last {
			t.Errorf("read %d bytes of %d, %v", len(data), c.Size(), err)
		}
		last = string(data)
	}
	return last
}

var users = &static.Directory{
	Domains: []accounts.Domain{{Name: "here.test"}},
	Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@here.test", SendAs: []string{"sales@here.test"}}},
		{Account: accounts.Account{ID: "b2", Address: "bob@here.test"}},
	},
	Aliases: []accounts.Alias{{Address: "all@here.test", Targets: []string{"ann@here.test", "bob@here.test", "cat@far.test"}}},
}

func envelope(to ...string) *mailkeel.Envelope {
	env := &mailkeel.Envelope{ID: "m", From: "ann@here.test", Submitter: "a1"}
	for i, a := range to {
		env.Rcpts = append(env.Rcpts, mailkeel.Recipient{Addr: a, Index: i})
	}
	return env
}

func code(err error) string {
	var e *mailkeel.Error
	switch {
	case err == nil:
		return "2"
	case errors.As(err, &e):
		return fmt.Sprintf("%d.%d.%d", e.Enhanced[0], e.Enhanced[1], e.Enhanced[2])
	}
	return err.Error()
}

const complete = "From: Ann <ann@here.test>\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@here.test>\r\n"

// TestWhoMaySend is T5: nobody sends as someone else, wherever it is said.
func TestWhoMaySend(t *testing.T) {
	for _, tt := range []struct {
		name, from, header, want string
		foreign                  bool
	}{
		{"herself", "ann@here.test", "From: ann@here.test\r\n", "2", false},
		{"another address of hers", "sales@here.test", "From: Sales <SALES@here.test>\r\n", "2", false},
		{"another's envelope", "bob@here.test", "From: ann@here.test\r\n", "5.7.1", false},
		{"an envelope from elsewhere", "eve@far.test", "From: ann@here.test\r\n", "5.7.1", false},
		{"another's From", "ann@here.test", "From: bob@here.test\r\n", "5.7.1", false},
		{"another's From among hers", "ann@here.test", "From: ann@here.test, Boss <bob@here.test>\r\n", "5.7.1", false},
		{"another's From in a group", "ann@here.test", "From: Us: ann@here.test, bob@here.test;\r\n", "5.7.1", false},
		{"a second From", "ann@here.test", "From: ann@here.test\r\nFrom: bob@here.test\r\n", "5.6.0", false},
		{"a second From, folded", "ann@here.test", "From: ann@here.test\r\nX: y\r\nfrom : bob@here.test\r\n", "5.6.0", true},
		{"no address", "ann@here.test", "From: bob\r\n", "5.6.0", true},
		{"an empty From", "ann@here.test", "From:\r\n", "5.6.0", false},
		{"an address behind a NUL", "ann@here.test", "From: ann@here.test\x00 <bob@here.test>\r\n", "5", false},
		{"a name that looks like an address", "ann@here.test", "From: \"bob@here.test\" <ann@here.test>\r\n", "2", false},
		{"a comment", "ann@here.test", "From: ann@here.test (bob@here.test)\r\n", "2", false},
		{"a receipt", "", "From: ann@here.test\r\n", "2", false},
		{"a receipt of another", "", "From: bob@here.test\r\n", "5.7.1", true},
		{"a receipt of nobody", "", "Subject: x\r\n", "5.6.0", true},
		{"with a Sender field", "ann@here.test", "From: boss@far.test\r\n", "2", true},
	} {
		n := &next{T: t}
		tr := &submit.Transport{Next: n, Directory: users, ForeignFrom: tt.foreign}
		env := envelope("zoe@far.test")
		env.From = tt.from
		err := mailkeel.Deliver(t.Context(), tr, env, text(tt.header+"\r\nhi\r\n"))[0].Err
		if !strings.HasPrefix(code(err), tt.want) || (tt.want[0] == '5') != mailkeel.Permanent(err) || (err == nil) != (len(n.all) == 1) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	n := &next{T: t}
	env := envelope("zoe@far.test")
	env.Submitter = ""
	if err := mailkeel.Deliver(t.Context(), &submit.Transport{Next: n, Directory: users}, env, text(complete+"\r\n"))[0].Err; !mailkeel.Permanent(err) {
		t.Errorf("nobody: %v", err)
	}
}

func TestSender(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"From: boss@far.test\r\n", "<ann@here.test>"},
		{"From: boss@far.test\r\nSender: sales@here.test\r\n", "sales@here.test"},
		{"From: boss@far.test\r\nSender: eve@far.test\r\n", "<ann@here.test>"},
		{"From: boss@far.test\r\nSender: ann@here.test\r\nSender: eve@far.test\r\n", "<ann@here.test>"},
		{"From: ann@here.test\r\nSender: eve@far.test\r\n", ""},
		{"From: ann@here.test\r\nSender: nonsense\r\n", ""},
		{"From: ann@here.test\r\nSender: sales@here.test\r\n", "sales@here.test"},
	} {
		n := &next{T: t}
		tr := &submit.Transport{Next: n, Directory: users, ForeignFrom: true}
		if err := mailkeel.Deliver(t.Context(), tr, envelope("zoe@far.test"), text(tt.header+"\r\nhi\r\n"))[0].Err; err != nil {
			t.Errorf("%q: %v", tt.header, err)
			continue
		}
		m, err := mail.ReadMessage(strings.NewReader(n.all[0].text))
		if err != nil {
			t.Fatal(err)
		}
		if s := m.Header["Sender"]; m.Header.Get("Sender") != tt.want || len(s) > 1 {
			t.Errorf("%q: Sender is %q, want %q", tt.header, s, tt.want)
		}
	}
}

func TestHeaderIsCompleted(t *testing.T) {
	n := &next{T: t}
	clock := &testclock.Clock{}
	tr := &submit.Transport{Next: n, Directory: users, Clock: clock, Hostname: "mail.here.test"}
	const body = "To: zoe@far.test\r\n\r\nFrom: x\r\n"
	for range 2 {
		mailkeel.Deliver(t.Context(), tr, envelope("zoe@far.test"), text(body))
	}
	s := n.all[0].text
	m, err := mail.ReadMessage(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	if at, err := m.Header.Date(); err != nil || !at.Equal(testclock.Start) {
		t.Errorf("Date: %v, %v", at, err)
	}
	id := m.Header.Get("Message-Id")
	if m.Header.Get("From") != "<ann@here.test>" || !strings.HasSuffix(id, "@mail.here.test>") || len(id) < 30 || !strings.HasSuffix(s, body) {
		t.Errorf("sent\n%s", s)
	}
	if n.all[1].text != s {
		t.Error("the same message again is another one")
	}
	n.all = nil
	mailkeel.Deliver(t.Context(), tr, envelope("zoe@far.test"), text(complete+"\r\nhi\r\n"))
	if n.all[0].text != complete+"\r\nhi\r\n" {
		t.Errorf("a complete message was changed to\n%s", n.all[0].text)
	}
}

// TestWhatLiesInAStoreStaysThere: nothing is copied for what goes in front.
func TestWhatLiesInAStoreStaysThere(t *testing.T) {
	blobs := &memblob.Store{}
	info, _, err := blob.Adopt(t.Context(), blobs, text("Subject: x\r\n\r\nhi\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	n := &next{T: t}
	mailkeel.Deliver(t.Context(), &submit.Transport{Next: n, Directory: users}, envelope("zoe@far.test"), spooled{blobs, info})
	st, ok := n.all[0].content.(blob.Stored)
	if !ok {
		t.Fatalf("%T is not stored", n.all[0].content)
	}
	s, at, prefix := st.Stored()
	if s != blob.Store(blobs) || at.Ref != info.Ref || !strings.HasSuffix(string(prefix), "Received: by here.test\r\n") || !strings.HasPrefix(string(prefix), "From: <ann@here.test>\r\n") {
		t.Errorf("%v %q", at, prefix)
	}
}

// spooled is a content as a door has it.
type spooled struct {
	s    *memblob.Store
	info blob.Info
}

const received = "Received: by here.test\r\n"

func (c spooled) Size() int64 { return int64(len(received)) + c.info.Size }
func (c spooled) Stored() (blob.Store, blob.Info, []byte) {
	return c.s, c.info, []byte(received)
}
func (c spooled) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := c.s.Open(ctx, c.info.Ref, 0, -1)
	return io.NopCloser(io.MultiReader(strings.NewReader(received), rc)), err
}

func TestBccIsRemoved(t *testing.T) {
	big := strings.Repeat("0123456789\r\n", 200_000)
	for in, want := range map[string]string{
		complete + "Bcc: zoe@far.test,\r\n eve@far.test\r\nTo: x\r\n\r\nBcc: body\r\n":   complete + "To: x\r\n\r\nBcc: body\r\n",
		"bcc : a\r\n" + complete + "BCC: b\r\nResent-Bcc: c\r\nReturn-Path: <x>\r\n\r\n": complete + "\r\n",
		complete + "Bcc: a\r\n":             complete,
		complete + "Bcc: a\r\n\r\n" + big:   complete + "\r\n" + big,
		complete + "Bcc: a\nTo: b\n\nhi\n":  complete + "To: b\n\nhi\n",
		complete + "Bcc: a\r\nno field\r\n": complete + "no field\r\n",
	} {
		n := &next{T: t}
		if err := mailkeel.Deliver(t.Context(), &submit.Transport{Next: n, Directory: users}, envelope("zoe@far.test"), text(in))[0].Err; err != nil {
			t.Errorf("%.200q: %v", in, err)
			continue
		}
		if n.all[0].text != want {
			t.Errorf("%.300q became\n%.300q, want\n%.300q", in, n.all[0].text, want)
		}
	}
}

func TestRecipients(t *testing.T) {
	no := &mailkeel.Error{Code: 552, Enhanced: [3]int{5, 2, 2}}
	later := &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 2, 0}}
	n := &next{T: t, answers: map[string]error{"bob@here.test": no}}
	tr := &submit.Transport{Next: n, Directory: users}
	env := envelope("zoe@far.test", "all@here.test", "gone@here.test", "bob@here.test", "ann@here.test", "cat@FAR.test")
	rs := mailkeel.Deliver(t.Context(), tr, env, text(complete+"\r\n"))
	for i, want := range []string{"2", "5.2.2", "5.1.1", "5.2.2", "2", "2"} {
		if code(rs[i].Err) != want {
			t.Errorf("recipient %d: %v, want %s", i, rs[i].Err, want)
		}
	}
	seen := map[int]bool{}
	var who []string
	for _, r := range n.all[0].env.Rcpts {
		who = append(who, fmt.Sprint(r.Addr, r.Account))
		if seen[r.Index] {
			t.Errorf("the index %d is there twice", r.Index)
		}
		seen[r.Index] = true
	}
	if fmt.Sprint(who) != "[zoe@far.test ann@here.testa1 bob@here.testb2 cat@far.test]" {
		t.Errorf("sent to %v", who)
	}
	n.answers["ann@here.test"] = later
	if rs := mailkeel.Deliver(t.Context(), tr, envelope("all@here.test"), text(complete+"\r\n")); code(rs[0].Err) != "4.2.0" {
		t.Errorf("%+v, want the failure that may pass", rs)
	}
}

func TestVerify(t *testing.T) {
	n := &next{T: t, answers: map[string]error{"bob@here.test": &mailkeel.Error{Code: 452, Enhanced: [3]int{4, 2, 2}}}}
	tr := &submit.Transport{Next: n, Directory: users}
	for to, want := range map[string]string{"ann@here.test": "2", "zoe@far.test": "2", "gone@here.test": "5.1.1", "bob@here.test": "4.2.2", "all@here.test": "4.2.2"} {
		if err := tr.Verify(t.Context(), envelope(), mailkeel.Recipient{Addr: to}, 10); code(err) != want {
			t.Errorf("%s: %v, want %s", to, err, want)
		}
	}
	env := envelope()
	env.From = "bob@here.test"
	if err := tr.Verify(t.Context(), env, mailkeel.Recipient{Addr: "zoe@far.test"}, 0); code(err) != "5.7.1" {
		t.Errorf("as bob: %v", err)
	}
}

func TestNotBefore(t *testing.T) {
	clock := &testclock.Clock{}
	tr := &submit.Transport{Next: &next{T: t}, Directory: users, Clock: clock}
	for d, want := range map[time.Duration]string{-time.Hour: "2", 30 * 24 * time.Hour: "2", 30*24*time.Hour + 1: "5.5.4"} {
		env := envelope("zoe@far.test")
		env.NotBefore = clock.Now().Add(d)
		if err := mailkeel.Deliver(t.Context(), tr, env, text(complete+"\r\n"))[0].Err; code(err) != want {
			t.Errorf("%v ahead: %v, want %s", d, err, want)
		}
	}
}

func TestRates(t *testing.T) {
	clock := &testclock.Clock{}
	n := &next{T: t}
	tr := &submit.Transport{Next: n, Directory: users, Clock: clock, Rates: &memstore.KV{Clock: clock}, PerDay: 5}
	send := func(want string, to ...string) {
		t.Helper()
		for _, r := range mailkeel.Deliver(t.Context(), tr, envelope(to...), text(complete+"\r\n")) {
			if code(r.Err) != want || mailkeel.Permanent(r.Err) {
				t.Errorf("%v, want %s", r.Err, want)
			}
		}
	}
	send("2", "1@far.test", "2@far.test", "3@far.test")
	clock.Advance(23 * time.Hour)
	send("4.7.1", "4@far.test", "5@far.test", "6@far.test")
	send("4.7.1", "all@here.test") // 3 targets
	send("2", "4@far.test", "5@far.test")
	clock.Advance(time.Hour)
	send("2", "7@far.test")
	tr.Rates = brokenKV{}
	if err := mailkeel.Deliver(t.Context(), tr, envelope("8@far.test"), text(complete+"\r\n"))[0].Err; err == nil || mailkeel.Permanent(err) {
		t.Errorf("without a count: %v", err)
	}
	tr.PerDay = -1
	send("2", "8@far.test")
}

type brokenKV struct{}

func (brokenKV) Update(context.Context, string, time.Duration, func([]byte) ([]byte, error)) error {
	return errors.New("down")
}

func TestSentCopy(t *testing.T) {
	boxes := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}
	n := &next{T: t, answers: map[string]error{"no@far.test": &mailkeel.Error{Code: 550}}}
	tr := &submit.Transport{Next: n, Directory: users, Sent: boxes}
	m := text(complete + "Bcc: eve@far.test\r\nSubject: x\r\n\r\nhi\r\n")
	for range 2 {
		mailkeel.Deliver(t.Context(), tr, envelope("zoe@far.test", "eve@far.test"), m)
	}
	failed := envelope("no@far.test")
	failed.ID = "m2"
	mailkeel.Deliver(t.Context(), tr, failed, m)
	ann := boxes.As("a1")
	folders, err := ann.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, f := range folders {
		if f.Messages == 0 {
			continue
		}
		copies += f.Messages
		msg, rc, err := ann.Open(t.Context(), f.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(rc)
		rc.Close()
		if f.Role != "sent" || string(data) != string(m) || fmt.Sprint(msg.Flags) != `[\Seen]` {
			t.Errorf("%s has %v %q", f.Name, msg.Flags, data)
		}
	}
	if copies != 1 || strings.Contains(n.all[0].text, "eve@") {
		t.Errorf("%d copies; sent %q", copies, n.all[0].text)
	}
}

func TestHugeHeader(t *testing.T) {
	n := &next{T: t}
	tr := &submit.Transport{Next: n, Directory: users, MaxHeader: 10_000}
	m := text(complete + "X: " + strings.Repeat("x", 10_000) + "\r\n\r\n")
	if err := mailkeel.Deliver(t.Context(), tr, envelope("zoe@far.test"), m)[0].Err; code(err) != "5.3.4" || len(n.all) != 0 {
		t.Errorf("%v", err)
	}
}

func TestUTF8HeaderIsNoticed(t *testing.T) {
	n := &next{T: t}
	mailkeel.Deliver(t.Context(), &submit.Transport{Next: n, Directory: users}, envelope("zoe@far.test"), text(complete+"Subject: \u00fc\r\n\r\n"))
	if !n.all[0].env.UTF8 {
		t.Error("UTF8 is not set")
	}
}

func TestConformance(t *testing.T) {
	deliverytest.Run(t, deliverytest.Options{New: func(t *testing.T) deliverytest.Subject {
		return deliverytest.Subject{Transport: anyone{&submit.Transport{Next: reads{}, Directory: users}}, Bad: "gone@here.test"}
	}})
}

// anyone makes the suite's sender one of ours.
type anyone struct{ mailkeel.Transport }

func (a anyone) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	e := *env
	e.From, e.Submitter = "ann@here.test", "a1"
	return a.Transport.Deliver(ctx, &e, c)
}

// reads takes what it can read.
type reads struct{}

func (reads) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	rc, err := c.Open(ctx)
	if err == nil {
		defer rc.Close()
		var n int64
		if n, err = io.Copy(io.Discard, rc); err == nil && n != c.Size() {
			err = io.ErrUnexpectedEOF
		}
	}
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
}

func FuzzEdit(f *testing.F) {
	f.Add(complete + "Bcc: x\r\n\r\nhi\r\n")
	f.Add("From: ann@here.test\nBcc: x\n y\nno field\nbcc: z")
	f.Add("From \nbcc\x00: x\r\r\nBCC :\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		var out string
		tr := &submit.Transport{Directory: users, Next: mailkeel.HandlerFunc(func(_ context.Context, _ *mailkeel.Envelope, c mailkeel.Content) error {
			out = read(t, c)
			return nil
		})}
		if err := mailkeel.Deliver(t.Context(), tr, envelope("zoe@far.test"), text(s))[0].Err; err != nil {
			if !mailkeel.Permanent(err) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		again := out
		if err := mailkeel.Deliver(t.Context(), tr, envelope("zoe@far.test"), text(out))[0].Err; err != nil || out != again {
			t.Fatalf("%q became %q, and that %q, %v", s, again, out, err)
		}
		h, _, err := header.Read(strings.NewReader(out), 0)
		if err != nil {
			t.Fatal(err)
		}
		if h.Count("From") != 1 || !h.Has("Date") || !h.Has("Message-ID") || h.Has("Bcc") {
			t.Fatalf("%q became %q", s, out)
		}
	})
}

// Whoever writes mail for Ann may leave out what every message needs, and may not
// write as someone else.
func Example() {
	out := mailkeel.HandlerFunc(func(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) error {
		rc, err := c.Open(ctx)
		if err != nil {
			return err
		}
		defer rc.Close()
		m, err := mail.ReadMessage(rc)
		if err == nil {
			fmt.Println(env.Rcpts[0].Addr, m.Header.Get("Subject"), m.Header.Get("Bcc") == "", m.Header.Get("Date") != "")
		}
		return err
	})
	tr := &submit.Transport{Next: out, Directory: users}
	for _, m := range []text{
		"From: Ann <ann@here.test>\r\nBcc: zoe@far.test\r\nSubject: hello\r\n\r\nhi\r\n",
		"From: Bob <bob@here.test>\r\nSubject: hello\r\n\r\nhi\r\n",
	} {
		env := &mailkeel.Envelope{ID: "m1", From: "ann@here.test", Submitter: "a1", Rcpts: []mailkeel.Recipient{{Addr: "zoe@far.test"}}}
		fmt.Println(mailkeel.Deliver(context.Background(), tr, env, m)[0].Err)
	}
	// Output:
	// zoe@far.test hello true true
	// <nil>
	// 550 5.7.1 you may not write as bob@here.test
}
