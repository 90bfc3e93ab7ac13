package mailview_test

import (
	"context"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// counted counts what is asked of a backend.
type counted struct {
	store.Backend
	mu                             sync.Mutex
	views, statements, rows, colds int
}

func (c *counted) count(what *int, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*what += n
}

func (c *counted) View(ctx context.Context, fn func(store.Tx) error) error {
	c.count(&c.views, 1)
	return c.Backend.View(ctx, func(tx store.Tx) error { return fn(countedTx{tx, c}) })
}

func (c *counted) reset() { c.views, c.statements, c.rows, c.colds = 0, 0, 0, 0 }

type countedTx struct {
	store.Tx
	c *counted
}

func (t countedTx) Messages(id store.MailboxID, q store.Query) iter.Seq2[store.Message, error] {
	t.c.count(&t.c.statements, 1)
	return func(yield func(store.Message, error) bool) {
		for m, err := range t.Tx.Messages(id, q) {
			t.c.count(&t.c.rows, 1)
			if !yield(m, err) {
				return
			}
		}
	}
}

func (t countedTx) Cold(id store.AccountID, ms ...store.MessageID) iter.Seq2[store.Cold, error] {
	t.c.count(&t.c.statements, 1)
	t.c.count(&t.c.colds, len(ms))
	return t.Tx.Cold(id, ms...)
}

func (t countedTx) Mailboxes(id store.AccountID, q store.Since) iter.Seq2[store.Mailbox, error] {
	t.c.count(&t.c.statements, 1)
	return t.Tx.Mailboxes(id, q)
}

func (t countedTx) MessageByID(id store.AccountID, m store.MessageID) (store.Message, error) {
	t.c.count(&t.c.statements, 1)
	return t.Tx.MessageByID(id, m)
}

// An out is where mail goes that is submitted. As a Transport should, it takes the same
// envelope once.
type out struct {
	mu     sync.Mutex
	refuse map[string]error
	fail   error // after the mail was taken
	sent   []letter
	seen   map[string]bool
	calls  int
}

type letter struct {
	env  mailkeel.Envelope
	text string
}

func (o *out) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	rc, err := c.Open(ctx)
	if err != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
	}
	data, err := io.ReadAll(rc)
	rc.Close()
	if err != nil || int64(len(data)) != c.Size() {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: io.ErrUnexpectedEOF})
	}
	rs := make([]mailkeel.Result, len(env.Rcpts))
	var taken []mailkeel.Recipient
	for i, r := range env.Rcpts {
		if rs[i].Err = o.refuse[r.Addr]; rs[i].Err == nil && !o.seen[env.ID+" "+r.Addr] {
			if o.seen == nil {
				o.seen = map[string]bool{}
			}
			o.seen[env.ID+" "+r.Addr] = true
			taken = append(taken, r)
		}
	}
	if len(taken) > 0 {
		e := *env
		e.Rcpts = taken
		o.sent = append(o.sent, letter{e, string(data)})
	}
	if o.fail != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: o.fail})
	}
	return rs
}

// world is a server without doors.
type world struct {
	testing.TB
	mail  *mailview.Mail
	store *store.Store
	rows  *counted
	clock *testclock.Clock
	out   *out
}

var began = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	clock := new(testclock.Clock)
	clock.Advance(began.Sub(clock.Now()))
	rows := &counted{Backend: new(memstore.Backend)}
	st := &store.Store{Backend: rows, Blobs: &memblob.Store{}, Clock: clock}
	dir := &static.Directory{
		Accounts: []static.Account{
			{Account: accounts.Account{ID: "a1", Address: "ann@example.org", SendAs: []string{"desk@example.org", "*@example.org"}}},
			{Account: accounts.Account{ID: "b1", Address: "bob@example.org"}},
			{Account: accounts.Account{ID: "d1", Address: "desk@example.org"}},
		},
		Aliases: []accounts.Alias{{Address: "annie@example.org", Targets: []string{"ann@example.org"}}},
	}
	w := &world{TB: t, store: st, rows: rows, clock: clock, out: new(out)}
	w.mail = &mailview.Mail{
		Store: st, Directory: dir, Clock: clock, Hostname: "mx.example.org",
		Submit: &submit.Transport{Next: w.out, Directory: dir, Sent: st, Clock: clock},
	}
	return w
}

func (w *world) ann() *mailview.Box { return w.mail.Of("a1", "ann@example.org") }
func (w *world) bob() *mailview.Box { return w.mail.Of("b1", "bob@example.org") }

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// put files a message, with LF made CRLF.
func (w *world) put(account store.AccountID, folder, text string, flags ...string) mailview.Ref {
	w.Helper()
	return w.putRaw(account, folder, strings.ReplaceAll(text, "\n", "\r\n"), "", flags...)
}

func (w *world) putRaw(account store.AccountID, folder, text, prefix string, flags ...string) mailview.Ref {
	w.Helper()
	ctx := w.Context()
	c, err := w.store.Blobs.Create(ctx)
	if err != nil {
		w.Fatal(err)
	}
	io.WriteString(c, text)
	info, err := c.Commit()
	if err != nil {
		w.Fatal(err)
	}
	cold, err := w.store.Parse(ctx, info)
	if err != nil {
		w.Fatal(err)
	}
	placed, err := w.store.Deliver(ctx, store.Delivery{Blob: info, Cold: cold, Targets: []store.Target{
		{Account: account, Mailbox: folder, Create: true, Flags: flags, Prefix: []byte(prefix)},
	}})
	if err != nil || placed[0].Err != nil {
		w.Fatal(err, placed)
	}
	return mailview.Ref{Folder: placed[0].Mailbox, UID: placed[0].UID}
}

// role returns the folder with a role.
func (w *world) role(b *mailview.Box, role string) mailview.Folder {
	w.Helper()
	return must[mailview.Folder](w)(b.RoleFolder(w.Context(), role))
}

// list returns the rows of a folder.
func (w *world) list(b *mailview.Box, id store.MailboxID) []mailview.Row {
	w.Helper()
	return must[mailview.Page](w)(b.List(w.Context(), mailview.Query{Folder: id})).Rows
}
