package embedded_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/control"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/server/admin"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// A house is a directory with mail in it, and the parts of a server that uses it.
type house struct {
	testing.TB
	dir   string
	clock *testclock.Clock
	home  *embedded.Home
	admin *admin.Admin
}

func openHouse(t testing.TB, dir string) (*house, error) {
	h := &house{TB: t, dir: dir, clock: &testclock.Clock{}}
	h.clock.Advance(time.Hour)
	home, err := embedded.Open(context.Background(), dir, embedded.Options{Clock: h.clock})
	if err != nil {
		return nil, err
	}
	h.home = home
	h.admin = &admin.Admin{
		Accounts: home.Accounts, Blobs: home.Blobs, Damage: home.Damage, Reindex: home.Reindex, Files: home.Files, Hint: home.Hint, Restore: home.Restore(), Clock: h.clock,
		Store: &store.Store{Backend: home.Store, Blobs: home.Blobs, Clock: h.clock, Keep: 24 * time.Hour},
		Queue: &queue.Queue{Backend: home.Queue, Blobs: home.Blobs, Clock: h.clock},
	}
	return h, nil
}

func mustOpen(t testing.TB, dir string) *house {
	t.Helper()
	h, err := openHouse(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) close() { h.Helper(); h.must(h.home.Close()) }

func (h *house) blob(text string) blob.Info {
	h.Helper()
	w, err := h.home.Blobs.Create(h.Context())
	h.must(err)
	defer w.Close()
	io.WriteString(w, text)
	info, err := w.Commit()
	h.must(err)
	return info
}

// mail is what a message says.
func mail(name string) string {
	return "From: zoe@y.test\r\nSubject: " + name + "\r\nMessage-ID: <" + name + "@y.test>\r\n\r\nThis is " + name + ".\r\n" + strings.Repeat("and more of it\r\n", 20)
}

// file puts a message into mailboxes, one for each account, and returns where.
func (h *house) file(name, prefix string, ids ...store.AccountID) []store.Outcome {
	h.Helper()
	info := h.blob(mail(name))
	cold, err := h.admin.Store.Parse(h.Context(), info)
	h.must(err)
	d := store.Delivery{Key: name, Blob: info, Cold: cold}
	for i, id := range ids {
		p := prefix
		if p != "" {
			p += fmt.Sprintf("Delivered-To: %d\r\n", i)
		}
		d.Targets = append(d.Targets, store.Target{Account: id, Index: i, Prefix: []byte(p)})
	}
	out, err := h.admin.Store.Deliver(h.Context(), d)
	h.must(err)
	for _, o := range out {
		h.must(o.Err)
	}
	return out
}

func (h *house) queue(name, rcpt string, change func(*queue.Item)) {
	h.Helper()
	now := h.clock.Now()
	it := queue.Item{
		ID: name + "/0", Envelope: mailkeel.Envelope{ID: name, From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: rcpt}}},
		Blob: h.blob(mail(name)), Prefix: []byte("Received: here\r\n"), Route: "y.test", Queued: now, Due: now, Expires: now.Add(5 * 24 * time.Hour),
	}
	if change != nil {
		change(&it)
	}
	h.must(h.home.Queue.Put(h.Context(), it))
}

// furnish fills a new directory and returns its accounts.
func furnish(t testing.TB, dir string) (ann, bob store.AccountID) {
	t.Helper()
	h := mustOpen(t, dir)
	ctx := t.Context()
	h.must(h.home.Accounts.PutDomain(ctx, accounts.Domain{Name: "x.test"}))
	for _, a := range []struct {
		name string
		id   *store.AccountID
	}{{"ann", &ann}, {"bob", &bob}} {
		acc, err := h.home.Accounts.CreateAccount(ctx, accounts.Account{Address: a.name + "@x.test"}, "")
		h.must(err)
		*a.id = acc.ID
	}
	var last []store.Outcome
	for i := 1; i <= 5; i++ {
		last = h.file(fmt.Sprint("m", i), "Return-Path: <zoe@y.test>\r\n", ann)
	}
	h.file("m6", "", ann)
	h.file("shared", "Return-Path: <zoe@y.test>\r\n", ann, bob)
	h.file("b2", "Return-Path: <zoe@y.test>\r\n", bob)
	h.file("b3", "", bob)
	as := h.admin.Store.As(ann)
	inbox := last[0].Mailbox
	archive, err := as.Create(ctx, "Archive", "")
	h.must(err)
	_, _, err = as.SetFlags(ctx, inbox, store.FlagChange{Add: []string{`\Seen`, "Work"}}, 1, 2)
	h.must(err)
	_, err = as.Move(ctx, inbox, archive.ID, 5)
	h.must(err)
	_, err = as.Expunge(ctx, inbox, 4)
	h.must(err)
	_, err = h.admin.Store.PutObject(ctx, store.Object{Account: ann, Kind: "file", ID: "1", Data: []byte("about it"), Blob: h.blob("an upload").Ref})
	h.must(err)
	h.queue("q1", "zoe@y.test", nil)
	h.queue("q2", "yan@y.test", func(it *queue.Item) { it.Held, it.Last = true, "wait" })
	h.queue("q3", "xia@z.test", func(it *queue.Item) { it.Due, it.Route = it.Due.Add(time.Hour), "z.test" })
	h.close()
	return ann, bob
}

// copyDir copies a directory that nobody has open.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// sql runs statements on the database of a directory that nobody has open.
func (h *house) sql(stmts ...string) {
	h.Helper()
	db, err := sqldb.OpenSQLite(filepath.Join(h.dir, "mail.db"), sqldb.Options{})
	h.must(err)
	h.must(db.Update(h.Context(), func(c sqldb.Conn) error {
		for _, s := range stmts {
			if err := c.Exec(s); err != nil {
				return err
			}
			if c.Changes() == 0 {
				return fmt.Errorf("%s changes nothing", s)
			}
		}
		return nil
	}))
	h.must(db.Close())
}

// dump reads everything that people see: what a message or item is, by where it is.
func (h *house) dump() map[string]string {
	h.Helper()
	out := map[string]string{}
	for acc, err := range h.home.Accounts.Accounts(h.Context(), "") {
		h.must(err)
		as := h.admin.Store.As(acc.ID)
		folders, err := as.Folders(h.Context())
		h.must(err)
		for _, f := range folders {
			var ms []store.Message
			err := as.Scan(h.Context(), f.ID, store.Query{}, func(_ store.Mailbox, all iter.Seq2[store.Message, error]) error {
				ms = nil
				for m, err := range all {
					if err != nil {
						return err
					}
					ms = append(ms, m)
				}
				return nil
			})
			h.must(err)
			for _, m := range ms {
				key := fmt.Sprintf("%s %s %d", acc.Address[:3], f.Name, m.UID)
				_, rc, err := as.Open(h.Context(), f.ID, m.UID)
				out[key] = fmt.Sprintf("%q %v %s", m.Flags, m.Received.UnixMilli(), read(rc, err))
			}
		}
	}
	for it, err := range h.home.Queue.List(h.Context(), queue.Query{}) {
		h.must(err)
		rc, err := h.home.Blobs.Open(h.Context(), it.Blob.Ref, 0, -1)
		if it.Envelope.ID == "" {
			err = errors.New("unreadable")
		}
		out["queue "+it.ID] = fmt.Sprintf("%v %v %q %q %s", it.Envelope.From, it.Envelope.Rcpts, it.Route, it.Prefix, read(rc, err))
	}
	return out
}

func read(rc io.ReadCloser, err error) string {
	if err != nil {
		return "damaged"
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return "damaged"
	}
	return fmt.Sprintf("%d %x", len(b), sha256.Sum256(b))
}

// check runs the command and returns its findings, "S11 repaired", each kind once, and
// its summary and exit code.
func (h *house) check(args string) (found []string, sum admin.Summary, code int) {
	h.Helper()
	err := h.admin.Do(h.Context(), "check", json.RawMessage(args), func(row any) error {
		switch r := row.(type) {
		case admin.Finding:
			found = append(found, strings.TrimSpace(r.State+" "+r.Done))
			h.Log(r)
		case admin.Summary:
			sum = r
		}
		return nil
	})
	var e *control.Error
	if errors.As(err, &e) {
		code = e.Code
	} else if err != nil {
		h.Fatal(err)
	}
	slices.Sort(found)
	return slices.Compact(found), sum, code
}

const (
	annInbox = "(SELECT b.id FROM mailbox b JOIN placed p ON p.box = b.id WHERE p.key = 'm1')"
	bobInbox = "(SELECT b.id FROM mailbox b JOIN placed p ON p.box = b.id WHERE p.key = 'b2')"
	archive  = "(SELECT id FROM mailbox WHERE name = 'Archive')"
)

// idOf is the ID of a message of ann's INBOX.
func idOf(uid int) string {
	return fmt.Sprintf("(SELECT id FROM message WHERE box = %s AND uid = %d)", annInbox, uid)
}

func at(box string, uid int) string { return fmt.Sprintf(" WHERE box = %s AND uid = %d", box, uid) }

// lose removes a content that rows name.
func lose(h *house, text string) {
	h.Helper()
	x := mustOpen(h.TB, h.dir)
	ref := x.blob(text).Ref
	x.clock.Advance(time.Hour)
	n, err := x.home.Blobs.DeleteOlder(x.Context(), x.clock.Now(), ref)
	if x.close(); n != 1 || err != nil {
		h.Fatal(n, err)
	}
}

// flip changes one bit of what is found in a pack.
func flip(h *house, text string) {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "packs", "*.seg"))
	h.must(err)
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		h.must(err)
		if at := bytes.Index(b, []byte(text)); at >= 0 {
			b[at+len(text)/2] ^= 4
			n++
			h.must(os.WriteFile(f, b, 0o600))
		}
	}
	if n != 1 {
		h.Fatalf("%q is in %d packs", text, n)
	}
}

// TestCheckNamesAndRepairs injects contradictions one by one. Each is named by its
// state; a second check is clean; and what was not damaged is as it was.
func TestCheckNamesAndRepairs(t *testing.T) {
	template := t.TempDir()
	os.Chmod(template, 0o700)
	furnish(t, template)
	h := mustOpen(t, template)
	before := h.dump()
	if len(before) != 5+1+3+3 {
		t.Fatalf("%d things to look at: %v", len(before), before)
	}
	if found, sum, code := h.check(`{"deep":true}`); len(found) > 0 || code != 0 || sum.Messages != 9 || sum.Items != 3 || sum.Accounts != 2 {
		t.Fatalf("nothing is damaged, and check finds %v: %+v", found, sum)
	}
	h.close()

	sql := func(stmts ...string) func(*house) { return func(h *house) { h.Helper(); h.sql(stmts...) } }
	for _, tt := range []struct {
		name    string
		inject  func(*house)
		want    string   // states and what is done, with commas between
		touched []string // what may differ afterwards
		damaged []string // of those, what cannot be read
		left    bool     // a second check finds it again
	}{
		{name: "the counters of a mailbox", inject: sql(`UPDATE mailbox SET unseen = unseen + 3, messages = 1` + ` WHERE id = ` + annInbox), want: "S11 repaired"},
		{name: "the usage of an account", inject: sql(`UPDATE account SET bytes = bytes + 100000 WHERE num = 1`), want: "S11 repaired"},
		{name: "UIDNEXT too low", inject: sql(`UPDATE mailbox SET uidnext = 2 WHERE id = ` + annInbox), want: "S12 repaired"},
		{name: "UIDNEXT too low where nothing was delivered", inject: sql(`UPDATE mailbox SET uidnext = 1 WHERE name = 'Archive'`), want: "S12 repaired"},
		{name: "MODSEQ of the account too low", inject: sql(`UPDATE account SET modseq = 1 WHERE num = 1`), want: "S12 repaired"},
		{name: "MODSEQ of a mailbox too low", inject: sql(`UPDATE mailbox SET modseq = 1 WHERE id = ` + annInbox), want: "S12 repaired"},
		{name: "MODSEQ of a message beyond belief", inject: sql(`UPDATE message SET modseq = modseq + 1152921504606846976` + at(annInbox, 2)), want: "S12 repaired"},
		{name: "UIDVALIDITY of the account too low", inject: sql(`UPDATE account SET uidvalidity = 0 WHERE num = 1`), want: "S12 repaired"},
		{name: "the next message ID was given", inject: sql(`UPDATE counter SET next = 3`), want: "S12 repaired"},
		{name: "a mailbox seems deleted", inject: sql(`UPDATE mailbox SET deleted = 1 WHERE name = 'Archive'`), want: "S13 repaired"},
		{name: "two mailboxes of one name", inject: sql(`UPDATE mailbox SET name = 'INBOX' WHERE name = 'Archive'`), want: "S14 repaired",
			touched: []string{"ann Archive 1", "ann INBOX (3) 1"}},
		{name: "a cold row lost that can be parsed again", inject: sql(`DELETE FROM cold WHERE id = ` + idOf(6)), want: "S15 repaired"},
		{name: "a structure that is none", inject: sql(`UPDATE cold SET structure = X'0100' WHERE id = ` + idOf(2)), want: "S15 repaired"},
		{name: "an envelope of another", inject: sql(`UPDATE cold SET envelope = (SELECT envelope FROM cold WHERE id = ` + idOf(1) + `) WHERE id = ` + idOf(2)), want: "S15 repaired"},
		{name: "a size", inject: sql(`UPDATE message SET size = size + 64` + at(annInbox, 2)), want: "S11 repaired,S15 repaired"},
		{name: "a cold row lost", inject: sql(`DELETE FROM cold WHERE id = ` + idOf(2)), want: "S17 repaired",
			touched: []string{"ann INBOX 2", "ann INBOX 8"}},
		{name: "a prefix", inject: sql(`UPDATE cold SET prefix = prefix || X'0D' WHERE id = ` + idOf(2)), want: "S17 repaired",
			touched: []string{"ann INBOX 2", "ann INBOX 8"}},
		{name: "an ID that is another's", inject: sql(`UPDATE message SET id = ` + idOf(1) + at(annInbox, 2)), want: "S17 repaired,S23 repaired",
			touched: []string{"ann INBOX 2", "ann INBOX 8"}},
		{name: "a message twice", inject: sql(`INSERT INTO message SELECT box, 20, acct, id, thread, created, added, modseq, flags, words, received, saved, size, blob, dead, keep FROM message` + at(annInbox, 2)),
			want: "S11 repaired,S12 repaired,S16 repaired", touched: []string{"ann INBOX 2", "ann INBOX 20", "ann INBOX 21"}},
		{name: "a kept content lost", inject: func(h *house) { lose(h, mail("m4")) }, want: "S18 repaired"},
		{name: "a mailbox lost", inject: sql(`DELETE FROM mailbox WHERE name = 'Archive'`), want: "S11 repaired,S19 repaired",
			touched: []string{"ann Archive 1", "ann Recovered 1"}},
		{name: "a message in another's mailbox", inject: sql(`UPDATE message SET box = ` + bobInbox + `, uid = 77` + at(annInbox, 2)),
			want: "S11 repaired,S12 repaired,S19 repaired,S25 repaired", touched: []string{"ann INBOX 2", "ann Recovered 1"}},
		{name: "a message with another's number", inject: sql(`UPDATE message SET acct = 2` + at(annInbox, 2)), want: "S19 repaired"},
		{name: "a moved message that seems here", inject: sql(`UPDATE message SET dead = 0` + at(annInbox, 5)), want: "S11 repaired,S20 repaired"},
		{name: "an expunged message that is back", inject: sql(`UPDATE message SET dead = 0` + at(annInbox, 4)), want: "S11 repaired",
			touched: []string{"ann INBOX 4"}},
		{name: "a content lost", inject: func(h *house) { lose(h, mail("m2")) }, want: "S21 parked",
			touched: []string{"ann INBOX 2"}, damaged: []string{"ann INBOX 2"}},
		{name: "a content lost that two share", inject: func(h *house) { lose(h, mail("shared")) }, want: "S21 parked",
			touched: []string{"ann INBOX 7", "bob INBOX 1"}, damaged: []string{"ann INBOX 7", "bob INBOX 1"}},
		{name: "the name of a content", inject: sql(`UPDATE message SET blob = X'00' || substr(blob, 2)` + at(annInbox, 2)), want: "S21 parked",
			touched: []string{"ann INBOX 2"}, damaged: []string{"ann INBOX 2"}},
		{name: "a message that names no content", inject: sql(`UPDATE message SET blob = X''` + at(annInbox, 2)), want: "S21 parked",
			touched: []string{"ann INBOX 2"}, damaged: []string{"ann INBOX 2"}},
		{name: "the last UID there can be", inject: sql(`UPDATE message SET uid = 4294967295 WHERE box = ` + archive), want: "S12 repaired",
			touched: []string{"ann Archive 1", "ann Archive 4294967295"}},
		{name: "the content of an object lost", inject: func(h *house) { lose(h, "an upload") }, want: "S21 parked"},
		{name: "a content with a flipped bit", inject: func(h *house) { flip(h, "This is m2.\r\n") }, want: "S22 parked",
			touched: []string{"ann INBOX 2"}, damaged: []string{"ann INBOX 2"}},
		{name: "a cold row without a message", inject: sql(`INSERT INTO cold (id, acct, sum) VALUES (900, 1, 7)`), want: "S23 repaired"},
		{name: "an account's row lost", inject: sql(`DELETE FROM account WHERE num = 2`), want: "S24", left: true,
			touched: []string{"bob INBOX 1", "bob INBOX 2", "bob INBOX 3"}},
		{name: "an account's name", inject: sql(`UPDATE account SET id = 'x' || id WHERE num = 2`), want: "A1", left: true,
			touched: []string{"bob INBOX 1", "bob INBOX 2", "bob INBOX 3"}},
		{name: "a row lost", inject: sql(`DELETE FROM message` + at(annInbox, 3)), want: "S11 repaired,S23 repaired,S25 repaired",
			touched: []string{"ann INBOX 3"}},

		{name: "an item's envelope", inject: sql(`UPDATE item SET body = X'01' || substr(body, 2, 20) || X'FF' || substr(body, 23) WHERE id = 'q1/0'`), want: "Q21 parked",
			touched: []string{"queue q1/0"}, damaged: []string{"queue q1/0"}},
		{name: "an item's name", inject: sql(`UPDATE item SET id = 'q9/0' WHERE id = 'q1/0'`), want: "Q21 parked",
			touched: []string{"queue q1/0", "queue q9/0"}},
		{name: "an item's content lost", inject: func(h *house) { lose(h, mail("q1")) }, want: "Q22 parked",
			touched: []string{"queue q1/0"}, damaged: []string{"queue q1/0"}},
		{name: "an item's content with a flipped bit", inject: func(h *house) { flip(h, "This is q1.\r\n") }, want: "Q23 parked",
			touched: []string{"queue q1/0"}, damaged: []string{"queue q1/0"}},
		{name: "an item due after it expires", inject: sql(`UPDATE item SET due = due + 1152921504606846976, next = next + 1152921504606846976 WHERE id = 'q1/0'`),
			want: "Q11 repaired,Q12 repaired"},
		{name: "an item that has ended", inject: sql(`INSERT INTO ended (id, at) SELECT id, due FROM item WHERE id = 'q1/0'`), want: "Q13 repaired"},
		{name: "the time of a route lost", inject: sql(`DELETE FROM route WHERE route = 'z.test'`), want: "Q11 repaired"},
		{name: "the time of a route", inject: sql(`UPDATE route SET next = next + 1000000000000 WHERE route = 'y.test'`), want: "Q11 repaired"},
		{name: "a route without items", inject: sql(`INSERT INTO route (route, next) VALUES ('nowhere.test', 5)`), want: "Q11 repaired"},
		{name: "an item noted for another time", inject: sql(`UPDATE item SET next = next + 1000000000000 WHERE id = 'q3/0'`), want: "Q11 repaired"},
		{name: "an index lacks an entry", inject: func(h *house) { h.staleIndex() }, want: "D1 repaired"},
		{name: "a damaged content that nothing names", inject: func(h *house) {
			x := mustOpen(h.TB, h.dir)
			x.blob("an orphan with a flipped bit")
			x.close()
			flip(h, "an orphan with a flipped bit")
		}, want: "B3 repaired"},
		{name: "a content that nothing names", inject: func(h *house) {
			x := mustOpen(h.TB, h.dir)
			x.blob("an orphan")
			x.close()
		}},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			h := &house{TB: t, dir: copyDir(t, template)}
			tt.inject(h)
			h = mustOpen(t, h.dir)
			defer func() { h.home.Close() }()
			told, _, code := h.check(`{"deep":true}`)
			if wantCode := min(len(tt.want), 1); code != wantCode {
				t.Errorf("check ends with %d, want %d", code, wantCode)
			}
			// Counters follow from what else is wrong.
			if got, want := states(told), states(strings.Split(tt.want, ",")); got != want {
				t.Errorf("check finds %q, want %q", got, want)
			}
			h.clock.Advance(12 * time.Hour)
			done, sum, _ := h.check(`{"deep":true,"repair":true}`)
			if got := strings.Join(done, ","); got != tt.want {
				t.Errorf("repair finds %q, want %q", got, tt.want)
			}
			if tt.want == "" && sum.Swept != 1 {
				t.Errorf("swept %d", sum.Swept)
			}
			again, sum, code := h.check(`{"deep":true}`)
			again = slices.DeleteFunc(again, func(s string) bool { return strings.HasSuffix(s, store.Known) })
			if (len(again) > 0 || code != 0) != tt.left {
				t.Errorf("a second check finds %q and ends with %d", again, code)
			}
			if strings.Contains(tt.want, "parked") && sum.Parked == 0 {
				t.Error("nothing is shown as parked")
			}
			after := h.dump()
			for _, k := range tt.damaged {
				if !strings.HasSuffix(after[k], " damaged") {
					t.Errorf("%s can be read: %q", k, after[k])
				}
			}
			for _, k := range slices.Sorted(maps.Keys(before)) {
				if before[k] != after[k] && !slices.Contains(tt.touched, k) {
					t.Errorf("%s was %s and is %s", k, before[k], after[k])
				}
			}
			for _, k := range slices.Sorted(maps.Keys(after)) {
				if _, ok := before[k]; !ok && !slices.Contains(tt.touched, k) {
					t.Errorf("%s is new: %s", k, after[k])
				}
			}
			// Mail goes on.
			var ids []store.AccountID
			for acc, err := range h.home.Accounts.Accounts(t.Context(), "") {
				h.must(err)
				ids = append(ids, acc.ID)
			}
			out := h.file("after", "X: y\r\n", ids...)
			now := h.dump()
			for i, name := range []string{"ann", "bob"} {
				k := fmt.Sprintf("%s INBOX %d", name, out[i].UID)
				if _, ok := after[k]; ok || !strings.Contains(now[k], fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "X: y\r\nDelivered-To: %d\r\n%s", i, mail("after"))))) {
					t.Errorf("the next message is %s: %q, before it %q", k, now[k], after[k])
				}
			}
		})
	}
}

// TestDamageIsNotCopied: a copy of damaged rows would be one with a right checksum.
func TestDamageIsNotCopied(t *testing.T) {
	template := t.TempDir()
	os.Chmod(template, 0o700)
	ann, _ := furnish(t, template)
	for _, damage := range []string{
		`UPDATE cold SET prefix = X'00' || substr(prefix, 2) WHERE id IN (SELECT id FROM message WHERE box = ` + annInbox + ` AND uid IN (2, 4))`,
		`DELETE FROM cold WHERE id IN (SELECT id FROM message WHERE box = ` + annInbox + ` AND uid IN (2, 4))`,
	} {
		h := &house{TB: t, dir: copyDir(t, template)}
		h.sql(damage)
		h = mustOpen(t, h.dir)
		as := h.admin.Store.As(ann)
		folders, err := as.Folders(t.Context())
		h.must(err)
		for _, f := range folders {
			if f.Name != "INBOX" {
				continue
			}
			before := h.dump()
			if _, err := as.Copy(t.Context(), f.ID, f.ID, 1, 2); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("%s: copied: %v", damage, err)
			}
			if _, err := as.Restore(t.Context(), f.ID, 4); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("%s: restored: %v", damage, err)
			}
			if after := h.dump(); !maps.Equal(after, before) {
				t.Errorf("%s: there is %q, and was %q", damage, after, before)
			}
		}
		h.close()
	}
}

// TestFilesTellHowMuchTheyRead does so after each pack and content.
func TestFilesTellHowMuchTheyRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	furnish(t, dir)
	h := mustOpen(t, dir)
	defer h.close()
	var told []int64
	faults, err := h.home.Files(t.Context(), true, false, func(read int64) { told = append(told, read) })
	if err != nil || len(faults) > 0 || len(told) < 2 || !slices.IsSorted(told) || told[0] == 0 {
		t.Errorf("%v, %v, told of %d", faults, err, told)
	}
}

// TestCheckKeepsAStrayWithoutContent loses both the mailbox and the content of a message.
func TestCheckKeepsAStrayWithoutContent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	furnish(t, dir)
	h := &house{TB: t, dir: dir}
	h.sql(`UPDATE message SET box = 99, blob = X'00'` + at(annInbox, 2))
	h = mustOpen(t, dir)
	defer h.close()
	if found, _, _ := h.check(`{"repair":true}`); strings.Join(found, ",") != "S11 repaired,S19 repaired,S21 parked,S25 repaired" {
		t.Errorf("repaired %q", found)
	}
	if found, _, code := h.check(`{}`); strings.Join(found, ",") != "S21 known" || code != 0 {
		t.Errorf("after that there is %q, %d", found, code)
	}
	if got := h.dump()["ann Recovered 1"]; !strings.HasSuffix(got, " damaged") {
		t.Errorf("it is listed as %q", got)
	}
}

// states returns findings without what was done.
func states(found []string) string {
	var out []string
	for _, f := range found {
		if s, _, _ := strings.Cut(f, " "); s != "S11" {
			out = append(out, s)
		}
	}
	return strings.Join(slices.Compact(out), ",")
}

// staleIndex changes a table behind the back of an index.
func (h *house) staleIndex() {
	h.Helper()
	steps := [][]string{
		{`PRAGMA writable_schema = ON`, `CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'thread_expires'`,
			`DELETE FROM sqlite_schema WHERE name = 'thread_expires'`},
		{`UPDATE thread SET expires = expires + 1`},
		{`PRAGMA writable_schema = ON`, `INSERT INTO sqlite_schema SELECT * FROM kept`},
		{`DROP TABLE kept`},
	}
	for _, stmts := range steps { // each with a connection that knows the tables as they are
		c, err := sqlite.OpenConn(filepath.Join(h.dir, "mail.db"), sqlite.OpenReadWrite)
		h.must(err)
		for _, s := range stmts {
			h.must(sqlitex.ExecuteTransient(c, s, nil))
		}
		h.must(c.Close())
	}
}
