package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server/admin"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBusy = errors.New("test: somebody runs there")

// rig is a server's parts with a command line.
type rig struct {
	*testing.T
	*admin.Admin
	clock *testclock.Clock
	cli   *admin.CLI
	busy  bool // Open says that a server runs
	opens int
}

func newRig(t *testing.T) *rig {
	dir := t.TempDir()
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	users, err := sqlaccounts.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	users.Hasher = &password.Hasher{Params: password.Params{Memory: 8, Time: 1}}
	clock := &testclock.Clock{}
	blobs := &memblob.Store{Clock: clock}
	r := &rig{T: t, clock: clock, Admin: &admin.Admin{
		Accounts: users, Store: &store.Store{Backend: &memstore.Backend{}, Blobs: blobs, Limit: users.Limit, Clock: clock},
		Queue: &queue.Queue{Backend: &memqueue.Backend{}, Blobs: blobs, Clock: clock}, Blobs: blobs, Clock: clock,
	}}
	r.cli = &admin.CLI{
		Program: "post", Dir: dir, Wait: time.Nanosecond,
		Socket: func(dir string) string { return filepath.Join(dir, "control") },
		InUse:  func(err error) bool { return errors.Is(err, errBusy) },
		Open: func(context.Context, string) (*admin.Admin, func() error, error) {
			if r.opens++; r.busy {
				return nil, nil, errBusy
			}
			return r.Admin, func() error { return nil }, nil
		},
	}
	return r
}

// run runs a command line of words.
func (r *rig) run(stdin, line string) (code int, out, errs string) {
	r.Helper()
	var o, e bytes.Buffer
	code = r.cli.Run(r.Context(), strings.Fields(line), strings.NewReader(stdin), &o, &e)
	return code, o.String(), e.String()
}

// expect runs a command line, and compares its code and a part of what it says.
func (r *rig) expect(line string, code int, parts ...string) string {
	r.Helper()
	got, out, errs := r.run("", line)
	for _, p := range parts {
		if !strings.Contains(out+errs, p) {
			r.Errorf("%s: no %q in:\n%s%s", line, p, out, errs)
		}
	}
	if got != code || (code == 0) != (errs == "") {
		r.Errorf("%s: exit code %d, want %d:\n%s%s", line, got, code, out, errs)
	}
	return out
}

func TestAccountsDomainsAndAliases(t *testing.T) {
	r := newRig(t)
	both(r, func() {
		r.expect("account list", 0, "no accounts")
		r.expect("account add ann@x.test", 1, "domain add")
		r.expect("domain add X.test", 0, "domain x.test added")
		r.expect("domain add x.test", 1, "domain set")
		r.expect("domain set nowhere.test", 1, "no such domain")
		r.expect("domain set -postmaster root@x.test x.test", 0, "warning: mail to root@x.test reaches nobody")
		r.expect("domain list", 0, "x.test  -          root@x.test")
		r.expect("account add -name Ann -quota 2G ann@x.test", 0, "account ann@x.test made", "password: ")
		r.expect("account add ann@x.test", 1, "exists", "account list")
		r.expect("account add -password pw0123456 bob@x.test -json", 0, `"address":"bob@x.test"`)
		r.expect("account add not-an-address", 1, "local-part@domain")
		r.expect("account list", 0, "ann@x.test  Ann   0     2.0G   enabled", "bob@x.test  -     0     any")
		r.expect("account list -domain y.test", 1, "no such domain")
		r.expect("account set -quota 1.5G ann@x.test", 2, "is no size")
		r.expect("account set -max-messages many ann@x.test", 2, "is no number of messages")
		r.expect("account set -shared=perhaps ann@x.test", 2, "invalid")
		r.expect("account set -max-messages 100 -shared ann@x.test", 0)
		r.expect("account list", 0, "2.0G, 100 messages", "shared")
		r.expect("account list -json", 0, `"max_messages":100`, `"shared":true`)
		r.expect("account set -max-messages 0 -shared=false ann@x.test", 0)
		r.expect("account set -quota 0 -send-as sales@x.test,*@y.test -admin-of x.test ann@x.test", 0)
		r.expect("account list", 0, "any    enabled  sales@x.test,*@y.test  x.test")
		r.expect("account set -address anna@x.test ann@x.test", 0, "anna@x.test changed")
		r.expect("account set -address ann@x.test anna@x.test", 0)
		r.expect("account set -new-password -password x ann@x.test", 2, "not both")
		r.expect("account disable bob@x.test", 0, "disabled")
		r.expect("account list", 0, "disabled")
		r.expect("account set bob@x.test -enable", 0, "changed")
		r.expect("account delete zoe@x.test", 1, "no such account: zoe@x.test", "account list")
		r.expect("alias add team@x.test ann@x.test zoe@elsewhere.test", 0, "ann@x.test, zoe@elsewhere.test")
		r.expect("alias add team@x.test ann@x.test", 1, "alias set")
		r.expect("alias add lonely@x.test", 2, "usage: post alias add [flags] ADDRESS TARGET...")
		r.expect("alias set nobody@x.test ann@x.test", 1, "no such alias")
		r.expect("alias set team@x.test zoe@x.test ann@x.test team@x.test -json", 0, `"warning":"mail to zoe@x.test reaches nobody`)
		if out := r.expect("alias set team@x.test bob@x.test", 0); strings.Contains(out, "warning") {
			r.Error(out)
		}
		r.expect("alias list -json", 0, `{"address":"team@x.test","targets":["bob@x.test"]}`+"\n")
		r.expect("domain delete x.test", 1, "delete its accounts and aliases first")
		r.expect("alias delete team@x.test", 0, "deleted")
		r.expect("alias list", 0, "no aliases")
		r.expect("account delete ann@x.test", 0, "deleted; its mail")
		r.expect("account delete bob@x.test", 0)
		r.expect("domain delete x.test", 0)
		r.expect("domain list", 0, "no domains")
	})
}

// both runs a test on what nobody serves, and then through a socket.
func both(r *rig, test func()) {
	r.Helper()
	test()
	if r.opens == 0 {
		r.Error("the directory was not opened")
	}
	stop, err := r.Offer(r.cli.Socket(r.cli.Dir), nil)
	if err != nil {
		r.Fatal(err)
	}
	r.busy = true
	test()
	if err := stop(context.Background()); err != nil {
		r.Error(err)
	}
	r.expect("domain list", 1, "does not answer")
	r.busy = false
}

func TestPasswords(t *testing.T) {
	r := newRig(t)
	r.expect("domain add x.test", 0)
	login := func(pw string) error {
		_, err := r.Accounts.(*sqlaccounts.Directory).Authenticate(t.Context(), attempt(pw))
		return err
	}
	if code, out, errs := r.run("from stdin 1\r\nmore\n", "account add -password - ann@x.test"); code != 0 || strings.Contains(out, "password") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if err := login("from stdin 1"); err != nil {
		t.Error(err)
	}
	if code, _, errs := r.run("", "account set -password - ann@x.test"); code != 2 {
		t.Errorf("empty input: %d %s", code, errs)
	}
	if code, _, errs := r.run(strings.Repeat("x", 2000), "account set -password - ann@x.test"); code != 2 {
		t.Errorf("endless input: %d %s", code, errs)
	}
	out := r.expect("account set -new-password ann@x.test -json", 0)
	var a admin.Account
	if err := json.Unmarshal([]byte(out), &a); err != nil || len(a.Password) < 20 {
		t.Fatalf("%v in %s", err, out)
	}
	if err := login(a.Password); err != nil {
		t.Error(err)
	}
	if out := r.expect("account list -json", 0); strings.Contains(out, "password") {
		t.Errorf("list shows %s", out)
	}
	r.expect("account set -name Ann ann@x.test", 0)
	if err := login(a.Password); err != nil {
		t.Error("another change changed the password")
	}
}

func TestUsage(t *testing.T) {
	r := newRig(t)
	for line, part := range map[string]string{
		"dance":                        "no command",
		"account":                      "add, list, set, disable, delete",
		"account dance":                "add, list, set, disable, delete",
		"account add":                  "usage: post account add [flags] ADDRESS",
		"account add a@x b@x":          "give one address",
		"account list extra":           "unexpected: extra",
		"account list -colour":         "-colour",
		"queue show":                   "IDs",
		"queue drop":                   "which items",
		"queue release":                "which items",
		"queue retry":                  "which items",
		"account set a@x -quota 5X":    "is no size",
		"queue hold -all x/0":          "either -all or IDs",
		"check everything":             "unexpected",
		"queue list -json -limit many": "invalid value",
	} {
		r.expect(line, 2, part)
	}
	_, _, errs := r.run("", "account dance -json")
	if strings.HasPrefix(errs, "{") {
		t.Error("-json behind what is no command")
	}
	code, _, errs := r.run("", "account add -json")
	var e struct {
		Error struct{ Text, Hint string }
	}
	if err := json.Unmarshal([]byte(errs), &e); err != nil || e.Error.Text == "" || code != 2 {
		t.Errorf("%d, %v in %s", code, err, errs)
	}
	for _, line := range []string{"account -h", "account add -h", "queue hold --help", "check -h"} {
		if code, out, errs := r.run("", line); code != 0 || errs != "" || !strings.Contains(out, "-dir") && !strings.Contains(out, "account add ADDRESS") {
			t.Errorf("%s: %d %s%s", line, code, out, errs)
		}
	}
	if _, out, _ := r.run("", "alias -h"); strings.Contains(out, "account add") || !strings.Contains(out, "alias set") {
		t.Errorf("alias -h shows\n%s", out)
	}
	for _, w := range []string{"account", "domain", "alias", "queue", "check"} {
		if !r.cli.Has(w) {
			t.Errorf("%s is no command", w)
		}
	}
	if err := r.Do(t.Context(), "account add", json.RawMessage(`{"address":7}`), nil); err == nil {
		t.Error("bad arguments were taken")
	}
	if err := r.Do(t.Context(), "reboot", nil, nil); err == nil {
		t.Error("an unknown command was taken")
	}
}

// put queues a message for recipients.
func (r *rig) put(id string, to ...string) {
	r.Helper()
	w, err := r.Blobs.Create(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	fmt.Fprintf(w, "Subject: of %s\r\nX-Evil: \x1b[31mred\r\n\r\nthe body\r\n", id)
	info, err := w.Commit()
	if err != nil {
		r.Fatal(err)
	}
	for i, a := range to {
		now := r.clock.Now()
		err := r.Queue.Backend.Put(r.Context(), queue.Item{
			ID:       fmt.Sprintf("%s/%d", id, i),
			Envelope: mailkeel.Envelope{ID: id, From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: a, Index: i}}},
			Blob:     info, Prefix: []byte("Received: here\r\n"), Route: a[strings.IndexByte(a, '@')+1:],
			Queued: now, Due: now, Expires: now.Add(100 * time.Hour), Last: "450 4.2.0 \x1b[31mlater",
		})
		if err != nil {
			r.Fatal(err)
		}
	}
}

func TestQueue(t *testing.T) {
	r := newRig(t)
	r.expect("queue list", 0, "nothing is queued")
	r.put("m1", "bob@y.test", "cat@z.test")
	r.put("m2", "bob@y.test")
	both(r, func() {
		out := r.expect("queue list", 0, "m1/0  due", "<ann@x.test>  bob@y.test", "450 4.2.0  [31mlater")
		if strings.Contains(out, "\x1b") {
			t.Error("control characters reach the terminal")
		}
		if out := r.expect("queue list -json -route z.test", 0); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"id":"m1/1"`) {
			t.Errorf("got %s", out)
		}
		out = r.expect("queue show m1/0", 0, "Subject: of m1", "Received: here", "ID:           m1/0")
		if strings.Contains(out, "the body") || strings.Contains(out, "\x1b") {
			t.Errorf("show:\n%s", out)
		}
		r.expect("queue show m1", 0, "m1/0", "m1/1")
		r.expect("queue show m9 m1", 1, "not in the queue: m9")
		r.expect("queue hold m1", 0, "m1/0  held", "m1/1  held")
		r.expect("queue list -held -json", 0, `"state":"held"`)
		r.expect("queue retry m1/0", 1, "queue release")
		r.expect("queue release m2", 1, "not held in the queue: m2")
		r.clock.Advance(90 * time.Hour)
		out = r.expect("queue release -recipient bob@y.test -json", 0, `"id":"m1/0"`, `"done":"released"`)
		var it admin.Item
		if err := json.Unmarshal([]byte(out), &it); err != nil || it.Expires.Sub(r.clock.Now()) < 50*time.Hour {
			t.Errorf("released with %v left, %v", it.Expires.Sub(r.clock.Now()), err)
		}
		r.expect("queue release -route w.test", 0, "there is no such item")
		r.expect("queue hold -all", 0, "m2/0  held")
		r.expect("queue release -all", 0)
		r.expect("queue retry -all", 0, "retried")
	})
	// What is being delivered is left alone, and the rest is done.
	l, err := r.Queue.Backend.Lease(t.Context(), queue.Want{Now: r.clock.Now(), TTL: time.Hour, Max: 1})
	if err != nil || len(l.Items) != 1 {
		t.Fatal(l, err)
	}
	r.expect("queue drop -all", 1, "being delivered at this moment: "+l.Items[0].ID, "dropped")
	r.expect("queue drop "+l.Items[0].ID, 1, "being delivered")
	r.clock.Advance(2 * time.Hour)
	r.expect("queue drop -all", 0, "dropped")
	r.expect("queue list", 0, "nothing is queued")
}

func TestCheckTellsHowFarItIs(t *testing.T) {
	r := newRig(t)
	r.expect("domain add x.test", 0)
	r.Admin.Files = func(ctx context.Context, deep, repair bool, progress func(int64)) ([]blob.Fault, error) {
		for i := range int64(3) {
			r.clock.Advance(6 * time.Second)
			progress((i + 1) * 5 << 20)
		}
		return nil, ctx.Err()
	}
	out := r.expect("check -deep", 0, "... 15.0M of contents read", "everything is as it should be")
	if n := strings.Count(out, "of contents read"); n != 3 {
		t.Errorf("told %d times: %s", n, out)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	r := newRig(t)
	r.expect("domain add x.test", 0)
	r.expect("account add ann@x.test", 0)
	acc, err := r.Accounts.Account(t.Context(), "ann@x.test")
	if err != nil {
		t.Fatal(err)
	}
	r.put("m1", "bob@y.test")
	lone := r.file(acc.ID, "m2")
	r.file(acc.ID, "m3")
	r.expect("check -contents", 0, "everything is as it should be", "1 account, 1 mailbox, 2 messages", "1 queued", "3 blobs")
	// An orphan is no damage.
	w, _ := r.Blobs.Create(t.Context())
	io.WriteString(w, "orphan")
	w.Commit()
	r.expect("check", 0, "(1 of them, 6, named by nothing")

	// Lose a content, and let counters lie.
	r.clock.Advance(time.Hour)
	if n, err := r.Blobs.DeleteOlder(t.Context(), r.clock.Now(), lone); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r.expect("check", 1, "blob missing: ann@x.test INBOX UID 1: ", "1 problem found")
	err = r.Store.Backend.Update(t.Context(), func(tx store.Tx) error {
		accs, err := tx.Accounts(acc.ID)
		if err != nil {
			return err
		}
		for mb, err := range tx.Mailboxes(acc.ID, store.Since{}) {
			if err != nil {
				return err
			}
			mb.Unseen++
			if err := tx.PutMailbox(&mb); err != nil {
				return err
			}
		}
		accs[0].Bytes += 5
		return tx.PutAccount(accs[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	r.expect("check", 1, "counter: ann@x.test INBOX: the mailbox says 2 messages, 3 unseen", "counter: ann@x.test: the account says", "3 problems found")
	out := r.expect("check -json", 1)
	var last string
	for l := range strings.Lines(out) {
		last = l
	}
	var sum admin.Summary
	if err := json.Unmarshal([]byte(last), &sum); err != nil || sum.Problems != 3 || sum.Messages != 2 || sum.Items != 1 {
		t.Errorf("%v: %s", err, last)
	}
	// A message that nothing else knows of.
	err = r.Store.Backend.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Accounts(acc.ID); err != nil {
			return err
		}
		for mb, err := range tx.Mailboxes(acc.ID, store.Since{}) {
			if err != nil {
				return err
			}
			ms := []store.Message{{Account: acc.ID, Mailbox: mb.ID, UID: 99, ModSeq: 1000, Blob: lone}}
			if err := tx.PutMessages(ms); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.expect("check", 1, "S12 order: ann@x.test INBOX: UIDNEXT is 3, there is a UID 99", "S21 blob missing: ann@x.test INBOX UID 99")
	r.Damage = func(context.Context) ([]string, error) { return []string{"page 7 is torn"}, nil }
	r.Lost = func() string { return "7 frames are gone" }
	r.expect("check", 1, "damage: database: page 7 is torn", "D2 lost: database: 7 frames are gone [known]")
}

// file puts a message into the INBOX and returns its blob.
func (r *rig) file(id mailkeel.AccountID, text string) blob.Ref {
	r.Helper()
	w, err := r.Blobs.Create(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	io.WriteString(w, "Subject: "+text+"\r\n\r\n")
	info, err := w.Commit()
	if err != nil {
		r.Fatal(err)
	}
	out, err := r.Store.Deliver(r.Context(), store.Delivery{Key: text, Blob: info, Targets: []store.Target{{Account: id, Prefix: []byte("X: y\r\n")}}})
	if err != nil || out[0].Err != nil {
		r.Fatal(out, err)
	}
	return info.Ref
}

func attempt(pw string) accounts.Attempt {
	return accounts.Attempt{Login: "ann@x.test", Password: pw, Door: "test", TLS: true}
}
