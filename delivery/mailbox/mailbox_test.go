package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/deliverytest"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

func open() (*mailbox.Transport, *memblob.Store) {
	blobs := &memblob.Store{}
	return &mailbox.Transport{Store: &store.Store{Backend: new(memstore.Backend), Blobs: blobs}}, blobs
}

// A filed message is where it went and what it says.
type filed struct {
	account mailkeel.AccountID
	folder  string
	text    string
	cold    store.Cold
}

// all reads everything that accounts have.
func all(t *testing.T, s *store.Store, accounts ...mailkeel.AccountID) (out []filed) {
	t.Helper()
	for _, id := range accounts {
		a := s.As(id)
		fs, err := a.Folders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			var ms []store.Message
			err := a.Scan(t.Context(), f.ID, store.Query{}, func(_ store.Mailbox, seq iter.Seq2[store.Message, error]) error {
				ms = nil
				for m, err := range seq {
					if err != nil {
						return err
					}
					ms = append(ms, m)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range ms {
				_, rc, err := a.Open(t.Context(), f.ID, m.UID)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(rc)
				if err = errors.Join(err, rc.Close()); err != nil {
					t.Fatal(err)
				}
				cold, err := a.Cold(t.Context(), f.ID, m.ID)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, filed{id, f.Name, string(b), cold[m.ID]})
			}
		}
	}
	return out
}

func TestConformance(t *testing.T) {
	deliverytest.Run(t, deliverytest.Options{New: func(t *testing.T) deliverytest.Subject {
		tr, _ := open()
		good := func(n int) mailkeel.Recipient {
			return mailkeel.Recipient{Addr: fmt.Sprintf("good%d@y.test", n), Account: mailkeel.AccountID(fmt.Sprint("id", n))}
		}
		return deliverytest.Subject{
			Transport: tr, Good: good, Bad: "bad@y.test", Durable: true,
			Got: func() (got []deliverytest.Message) {
				for n := range 6 {
					r := good(n)
					for _, f := range all(t, tr.Store, r.Account) {
						_, content, _ := strings.Cut(f.text, "Delivered-To: "+r.Addr+"\r\n")
						got = append(got, deliverytest.Message{Rcpt: r.Addr, Content: content})
					}
				}
				return got
			},
		}
	}})
}

func TestHeadStandsBeforeTheContent(t *testing.T) {
	tr, _ := open()
	env := &mailkeel.Envelope{ID: "1", From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: "bob+a@y.test", Account: "bob"}, {Addr: "b@y.test", Account: "bob"}}}
	for _, r := range mailkeel.Deliver(t.Context(), tr, env, text("Subject: hi\r\n\r\ntext\r\n")) {
		if r != (mailkeel.Result{}) {
			t.Errorf("got %+v", r)
		}
	}
	got := all(t, tr.Store, "bob")
	if len(got) != 2 || got[0].text != "Return-Path: <ann@x.test>\r\nDelivered-To: bob+a@y.test\r\nSubject: hi\r\n\r\ntext\r\n" ||
		got[1].text != "Return-Path: <ann@x.test>\r\nDelivered-To: b@y.test\r\nSubject: hi\r\n\r\ntext\r\n" {
		t.Errorf("filed %+v", got)
	}
	if c := got[0].cold; len(c.Envelope) == 0 || len(c.Structure) == 0 || string(c.Preview) != "text" {
		t.Errorf("parsed %+v", c)
	}
}

func TestAddressesNeverBecomeHeaderLines(t *testing.T) {
	for _, bad := range []string{"a\r\nSubject: x@y", "a\nb@y", "a\x00b@y", "\r@y", "a\x7f@y", strings.Repeat("a", 5000) + "@y"} {
		tr, _ := open()
		env := &mailkeel.Envelope{ID: "1", From: bad, Rcpts: []mailkeel.Recipient{{Addr: bad, Account: "bob"}}}
		if rs := mailkeel.Deliver(t.Context(), tr, env, text("Subject: real\r\n\r\n")); rs[0].Err != nil {
			t.Fatal(rs[0].Err)
		}
		f := all(t, tr.Store, "bob")[0]
		lines := strings.Split(f.text, "\r\n")
		if len(lines) != 5 || !strings.HasPrefix(lines[0], "Return-Path: <") || !strings.HasPrefix(lines[1], "Delivered-To: ") || lines[2] != "Subject: real" || strings.ContainsAny(lines[0]+lines[1], "\r\n\x00\x7f") || len(lines[0]) > 998 {
			t.Errorf("%.30q became %.300q", bad, f.text)
		}
	}
}

func TestFolders(t *testing.T) {
	tr, _ := open()
	if _, err := tr.Store.As("bob").Create(t.Context(), "lists", ""); err != nil {
		t.Fatal(err)
	}
	env := &mailkeel.Envelope{ID: "1", Rcpts: []mailkeel.Recipient{
		{Addr: "1", Account: "bob", Mailbox: "lists"}, {Addr: "2", Account: "bob", Mailbox: "missing"},
		{Addr: "3", Account: "bob", Mailbox: "lists", Junk: true}, {Addr: "4", Account: "bob"}, {Addr: "5", Account: "bob", Mailbox: "../\x00"},
	}}
	mailkeel.Deliver(t.Context(), tr, env, text("\r\n"))
	var got []string
	for _, f := range all(t, tr.Store, "bob") {
		_, to, _ := strings.Cut(f.text, "Delivered-To: ")
		got = append(got, f.folder+" "+to[:1])
	}
	if fmt.Sprint(got) != "[INBOX 2 INBOX 4 INBOX 5 Junk 3 lists 1]" {
		t.Errorf("filed in %v", got)
	}
}

func limit(m map[store.AccountID]int64) func(context.Context, store.AccountID) (mailkeel.Quota, error) {
	return func(_ context.Context, id store.AccountID) (mailkeel.Quota, error) {
		if id == "broken" {
			return mailkeel.Quota{}, errors.New("directory is down")
		}
		n, ok := m[id]
		if !ok {
			return mailkeel.Quota{}, store.ErrNotFound
		}
		return mailkeel.Quota{Bytes: n}, nil
	}
}

func TestEachRecipientHasItsOwnResult(t *testing.T) {
	tr, _ := open()
	tr.Store.Limit = limit(map[store.AccountID]int64{"bob": 0, "full": 20})
	env := &mailkeel.Envelope{ID: "1", From: "a@x", Rcpts: []mailkeel.Recipient{
		{Addr: "b@y", Account: "bob"}, {Addr: "f@y", Account: "full"}, {Addr: "n@y", Account: "nobody"}, {Addr: "u@y"}, {Addr: "d@y", Account: "broken"},
	}}
	rs := mailkeel.Deliver(t.Context(), tr, env, text("Subject: hi\r\n\r\ntext\r\n"))
	for i, want := range []string{"", "452 4.2.2 mailbox full", "550 5.1.1 no such mailbox", "550 5.1.1 no such mailbox", "down"} {
		err := rs[i].Err
		var e *mailkeel.Error
		switch {
		case want == "":
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		case want == "down":
			if err == nil || errors.As(err, &e) {
				t.Errorf("%d: %v, want an error that nobody classified", i, err)
			}
		case !errors.As(err, &e) || e.Reply() != want:
			t.Errorf("%d: %v, want %s", i, err, want)
		}
	}
	if got := all(t, tr.Store, "bob", "full"); len(got) != 1 {
		t.Errorf("filed %+v", got)
	}
}

func TestVerify(t *testing.T) {
	tr, _ := open()
	tr.Store.Limit = limit(map[store.AccountID]int64{"bob": 100, "any": 0})
	env := &mailkeel.Envelope{ID: "1", Rcpts: []mailkeel.Recipient{{Addr: "b@y", Account: "bob"}}}
	verify := func(e *mailkeel.Envelope, id mailkeel.AccountID, size int64) int {
		err := tr.Verify(t.Context(), e, mailkeel.Recipient{Addr: "x@y", Account: id}, size)
		var e2 *mailkeel.Error
		switch {
		case err == nil:
			return 0
		case errors.As(err, &e2):
			return e2.Code
		}
		return -1
	}
	if _, err := tr.Store.Deliver(t.Context(), store.Delivery{Targets: []store.Target{{Account: "bob", Prefix: make([]byte, 40)}}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  *mailkeel.Envelope
		id   mailkeel.AccountID
		size int64
		want int
	}{
		{nil, "bob", 0, 0}, {nil, "bob", 60, 0}, {nil, "bob", 61, 452}, {env, "bob", 30, 0}, {env, "bob", 31, 452},
		{env, "any", 1 << 62, 0}, {nil, "nobody", 1, 550}, {nil, "", 1, 550}, {nil, "broken", 1, -1},
	} {
		if got := verify(tt.env, tt.id, tt.size); got != tt.want {
			t.Errorf("%q with %d bytes: %d, want %d", tt.id, tt.size, got, tt.want)
		}
	}
	if _, err := tr.Store.DeleteAccount(t.Context(), "any", 100); err != nil {
		t.Fatal(err)
	}
	if got := verify(nil, "any", 1); got != 550 {
		t.Errorf("a deleted account: %d", got)
	}
}

func TestTheContentIsReadOnceToParse(t *testing.T) {
	tr, blobs := open()
	var opens atomic.Int64
	blobs.Fault = func(op string) error {
		if op == "open" {
			opens.Add(1)
		}
		return nil
	}
	env := &mailkeel.Envelope{ID: "1", From: "a@x"}
	for i := range 50 {
		env.Rcpts = append(env.Rcpts, mailkeel.Recipient{Addr: "b@y", Account: mailkeel.AccountID(fmt.Sprint(i))})
	}
	mailkeel.Deliver(t.Context(), tr, env, text("Subject: hi\r\n\r\n"))
	if n := opens.Load(); n != 1 {
		t.Errorf("read %d times", n)
	}
}

func TestFaultsFileNothing(t *testing.T) {
	boom := errors.New("disk is full")
	for _, op := range []string{"create", "write", "commit", "open"} {
		tr, blobs := open()
		blobs.Fault = func(at string) error {
			if at == op {
				return boom
			}
			return nil
		}
		env := &mailkeel.Envelope{ID: "1", Rcpts: []mailkeel.Recipient{{Addr: "b@y", Account: "bob"}, {Addr: "c@y", Account: "cat"}, {Addr: "no@y"}}}
		rs := mailkeel.Deliver(t.Context(), tr, env, text("Subject: hi\r\n\r\n"))
		for i, r := range rs {
			if bad := i == 2; mailkeel.Permanent(r.Err) != bad || !bad && !errors.Is(r.Err, boom) {
				t.Errorf("%s: recipient %d: %v", op, i, r.Err)
			}
		}
		blobs.Fault = nil
		if got := all(t, tr.Store, "bob", "cat"); len(got) != 0 {
			t.Errorf("%s failed and left %+v", op, got)
		}
		for range 2 {
			if rs := mailkeel.Deliver(t.Context(), tr, env, text("Subject: hi\r\n\r\n")); rs[0].Err != nil || rs[1].Err != nil {
				t.Errorf("%s: the next attempt: %+v", op, rs)
			}
		}
		if got := all(t, tr.Store, "bob", "cat"); len(got) != 2 {
			t.Errorf("after %s and two more attempts there is %+v", op, got)
		}
	}
}
