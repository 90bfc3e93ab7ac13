package mailviewondisk

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
	"github.com/mailkeel/mailkeel/store/search"
	"github.com/mailkeel/mailkeel/store/search/ftsindex"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// A rig is mail in SQLite and packs; what is read of rows is counted.
type rig struct {
	*testing.T
	store            *store.Store
	mail             *mailview.Mail
	statements, rows atomic.Int64
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t}
	dir := t.TempDir()
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "db"), sqldb.Options{Trace: func(q string, rows int) {
		if strings.HasPrefix(q, "SELECT") {
			r.statements.Add(1)
			r.rows.Add(int64(rows))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	rows, err := sqlstore.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	packs, err := packblob.Open(filepath.Join(dir, "packs"), packblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packs.Close() })
	r.store = &store.Store{Backend: rows, Blobs: packs}
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@example.org"}}, {Account: accounts.Account{ID: "b1", Address: "bob@example.org"}},
	}}
	r.mail = &mailview.Mail{Store: r.store, Directory: users, Submit: &submit.Transport{
		Next: &mailbox.Transport{Store: r.store}, Directory: users, Sent: r.store,
	}}
	return r
}

// put files one message n times.
func (r *rig) put(text string, n int) (box store.MailboxID) {
	r.Helper()
	ctx := r.Context()
	w, err := r.store.Blobs.Create(ctx)
	if err != nil {
		r.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, strings.ReplaceAll(text, "\n", "\r\n"))
	info, err := w.Commit()
	if err != nil {
		r.Fatal(err)
	}
	cold, err := r.store.Parse(ctx, info)
	if err != nil {
		r.Fatal(err)
	}
	for n > 0 {
		d := store.Delivery{Blob: info, Cold: cold, Targets: slices.Repeat([]store.Target{{Account: "a1"}}, min(n, 500))}
		out, err := r.store.Deliver(ctx, d)
		if err != nil || out[0].Err != nil {
			r.Fatal(err, out)
		}
		box = out[0].Mailbox
		n -= len(d.Targets)
	}
	return box
}

func TestAnyPageReadsAboutAPage(t *testing.T) {
	r := newRig(t)
	n := 5_000
	if os.Getenv("MAILKEEL_LONG") != "" {
		n = 100_000
	}
	box := r.put("From: bob@example.org\nSubject: x\n\nx\n", n)
	ann := r.mail.Of("a1", "ann@example.org")
	look := func(what string, q mailview.Query, want int) {
		t.Helper()
		q.Folder = box
		r.rows.Store(0)
		r.statements.Store(0)
		p, err := ann.List(t.Context(), q)
		if err != nil || len(p.Rows) != want {
			t.Errorf("%s: %d rows, %v", what, len(p.Rows), err)
		}
		// Over a gap, what is read ahead is not wanted.
		if rows, st := r.rows.Load(), r.statements.Load(); rows > 3000 || st > 60 {
			t.Errorf("%s: %d rows by %d statements", what, rows, st)
		} else {
			t.Logf("%s: %d rows by %d statements", what, rows, st)
		}
	}
	last := store.UID(n)
	look("the first page", mailview.Query{}, 50)
	look("in the middle", mailview.Query{Before: last / 2}, 50)
	look("upwards", mailview.Query{After: last / 2}, 50)
	look("the end", mailview.Query{Before: 20}, 19)
	var gone []store.UID
	for uid := last / 4; uid < last-10; uid++ {
		gone = append(gone, uid)
	}
	if _, err := r.store.As("a1").Expunge(t.Context(), box, gone...); err != nil {
		t.Fatal(err)
	}
	look("over a gap", mailview.Query{}, 50)
	look("behind a gap", mailview.Query{Before: last / 2}, 50)
}

// Whatever is searched for, an index finds what reading finds.
func TestSearchesAgree(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"alpha", "Grüße", "e\u0301tude", "étude", "NAIVE", "Straße", "strasse", "x", "a b", "日本語", "foo@example.net"}
	pick := func() string { return words[rnd.IntN(len(words))] }
	var box store.MailboxID
	for range 30 {
		box = r.put(fmt.Sprintf("From: %s <bob@example.net>\nTo: ann@example.org\nSubject: %s %s\nContent-Type: text/plain; charset=utf-8\n\n%s %s\n%s\n",
			strings.NewReplacer("@", "", "-", "").Replace(pick()), pick(), pick(), pick(), pick(), pick()), 1)
	}
	fts := ftsindex.New(filepath.Join(t.TempDir(), "search.db"), ftsindex.Options{})
	defer fts.Close()
	x := &search.Indexer{Store: r.store, Index: fts, Rest: -1}
	find := func(text string) (uids []store.UID) {
		q := mailview.Query{Folder: box, Text: text, Limit: 7}
		for {
			p, err := r.mail.Of("a1", "ann@example.org").List(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range p.Rows {
				uids = append(uids, row.UID)
			}
			if p.Older == 0 {
				return uids
			}
			q.Before = p.Older
		}
	}
	var queries []string
	for _, w := range words {
		queries = append(queries, w, "subject:\""+w+"\"", "-"+w, `"`+w+" "+pick()+`"`, w+" "+pick()+" -from:"+pick())
	}
	read := map[string][]store.UID{}
	found := 0
	for _, q := range queries {
		read[q] = find(q)
		found += len(read[q])
	}
	r.mail.Search = x
	for range 2 { // before it knows anything, and then
		for _, q := range queries {
			if got := find(q); !slices.Equal(got, read[q]) {
				t.Errorf("%q: with an index %d, without %d", q, got, read[q])
			}
		}
		if err := x.CatchUp(ctx, "a1"); err != nil {
			t.Fatal(err)
		}
	}
	if found < 200 {
		t.Errorf("only %d found by %d queries", found, len(queries))
	}
}

func TestADraftGoesItsWay(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	ann, bob := r.mail.Of("a1", "ann@example.org"), r.mail.Of("b1", "bob@example.org")
	data := strings.Repeat("\x00\x01\x02", 1<<20)
	d, err := ann.SaveDraft(ctx, mailview.Draft{To: "bob@example.org", Subject: "s", Text: "hello"}, nil, mailview.Upload{
		Name: "a.bin", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Text += " again"
	if d, err = ann.SaveDraft(ctx, d, nil); err != nil {
		t.Fatal(err)
	}
	if err := ann.Send(ctx, d, nil); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"drafts", "sent"} {
		f, err := ann.RoleFolder(ctx, role)
		if want := map[string]int{"drafts": 0, "sent": 1}[role]; err != nil || f.Messages != want {
			t.Errorf("%s has %d messages, %v", role, f.Messages, err)
		}
	}
	inbox, err := bob.RoleFolder(ctx, "inbox")
	if err != nil {
		t.Fatal(err)
	}
	p, err := bob.List(ctx, mailview.Query{Folder: inbox.ID})
	if err != nil || len(p.Rows) != 1 || !p.Rows[0].Attachments {
		t.Fatalf("%+v, %v", p.Rows, err)
	}
	m, err := bob.Message(ctx, inbox.ID, p.Rows[0].UID)
	if err != nil || len(m.Attachments) != 1 || m.Body[0].Text != "hello again\n" {
		t.Fatalf("%+v, %v", m, err)
	}
	_, rc, err := bob.OpenPart(ctx, inbox.ID, m.UID, m.Attachments[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || string(got) != data {
		t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
	}
}
