package embedded_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
)

// oldMail is what a message of layout1.sql says.
func oldMail(name string) string {
	return "From: zoe@y.test\r\nSubject: " + name + "\r\nMessage-ID: <" + name + "@y.test>\r\n\r\nThis is " + name + ".\r\n"
}

// oldHome is a directory as the last version with layout 1 left it: its database is a
// dump of what that wrote.
func oldHome(t *testing.T, version string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/layout1.sql")
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.OpenConn(filepath.Join(dir, "mail.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteScript(c, string(script), nil), c.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := fileblob.Open(filepath.Join(dir, "blobs"), fileblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{oldMail("m1"), oldMail("m2"), oldMail("m3"), oldMail("m4"), oldMail("m5"), oldMail("q1"), "an upload"} {
		w, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Close(), os.WriteFile(filepath.Join(dir, "LOCK"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if version != "" {
		if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte(version+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shown is what oldHome has to show.
func shown() map[string]string {
	of := func(text string) string { return fmt.Sprintf("%d %x", len(text), sha256.Sum256([]byte(text))) }
	return map[string]string{
		"ann INBOX 1":   `["Work" "\\Seen"] 1793523600000 ` + of("Return-Path: <zoe@y.test>\r\n"+oldMail("m1")),
		"ann INBOX 2":   `["Work" "\\Seen"] 1793523600000 ` + of(oldMail("m2")),
		"ann INBOX 3":   `[] 1793523600000 ` + of("X-Later: yes\r\n"+oldMail("m3")),
		"ann Archive 1": `[] 1793523600000 ` + of("X: y\r\n"+oldMail("m4")),
		"bob INBOX 1":   `[] 1793523600000 ` + of("Return-Path: <zoe@y.test>\r\n"+oldMail("m1")),
		"queue q1/0":    fmt.Sprintf(`ann@x.test %v "y.test" "Received: here\r\n" %s`, []mailkeel.Recipient{{Addr: "zoe@y.test"}}, of(oldMail("q1"))),
	}
}

// TestMailOfTheFormerLayoutIsKept opens what the last version with layout 1 wrote: all
// is there, more is delivered, and a repair gives checksums to rows that have none.
func TestMailOfTheFormerLayoutIsKept(t *testing.T) {
	h := mustOpen(t, oldHome(t, "1"))
	defer func() { h.home.Close() }()
	if got := h.dump(); !maps.Equal(got, shown()) {
		t.Errorf("it has %q, want %q", got, shown())
	}
	if found, sum, code := h.check(`{"deep":true}`); len(found) > 0 || code != 0 || sum.Messages != 5 || sum.Items != 1 || sum.Unsealed != 5 {
		t.Errorf("check finds %q in a sound directory: %+v", found, sum)
	}
	var ann, bob store.AccountID
	for acc, err := range h.home.Accounts.Accounts(t.Context(), "") {
		h.must(err)
		if ann == "" {
			ann = acc.ID
		} else {
			bob = acc.ID
		}
	}
	// What was delivered before is not delivered again, and new mail comes after it.
	again, err := h.admin.Store.Deliver(t.Context(), store.Delivery{Key: "m1", Blob: h.blob(oldMail("m1")), Targets: []store.Target{{Account: ann}}})
	h.must(err)
	fresh := h.file("fresh", "X: y\r\n", ann, bob)
	if again[0].UID != 1 || fresh[0].UID != 6 || fresh[1].UID != 2 {
		t.Errorf("filed as %+v and %+v", again, fresh)
	}
	// One was never parsed. That is done when somebody lists it, and seals it.
	as := h.admin.Store.As(ann)
	var ms []store.Message
	h.must(as.Scan(t.Context(), again[0].Mailbox, store.Query{First: 3, Last: 3}, func(_ store.Mailbox, all iter.Seq2[store.Message, error]) error {
		for m, err := range all {
			if ms = append(ms, m); err != nil {
				return err
			}
		}
		return nil
	}))
	cold, err := as.Cold(t.Context(), again[0].Mailbox, ms[0].ID)
	h.must(err)
	if c := cold[ms[0].ID]; string(c.Preview) != "This is m3." || string(c.Prefix) != "X-Later: yes\r\n" || c.Sum == 0 {
		t.Errorf("parsed as %+v", c)
	}
	if found, sum, code := h.check(`{"repair":true}`); len(found) > 0 || code != 0 || sum.Unsealed != 0 || sum.Sealed != 4 {
		t.Errorf("repaired %q in a sound directory: %+v", found, sum)
	}
	if found, sum, _ := h.check(`{}`); len(found) > 0 || sum.Unsealed+sum.Sealed != 0 {
		t.Errorf("after that there is %q: %+v", found, sum)
	}
	got := h.dump()
	for k, v := range shown() {
		if got[k] != v {
			t.Errorf("%s is %s, and was %s", k, got[k], v)
		}
	}
	h.close()
	h.sql(`UPDATE cold SET prefix = X'00' WHERE id = 1`)
	h = mustOpen(t, h.dir)
	if got := h.dump()["ann INBOX 1"]; got[len(got)-7:] != "damaged" {
		t.Errorf("a changed prefix is served: %s", got)
	}
	if found, _, _ := h.check(`{}`); states(found) != "S17" {
		t.Errorf("a changed prefix is found as %q", found)
	}
}

// TestNoFileGoesThatIsNotInPacks opens directories of layout 1 whose VERSION is lost,
// or was written by hand.
func TestNoFileGoesThatIsNotInPacks(t *testing.T) {
	for _, version := range []string{"", " ", "2"} {
		h := mustOpen(t, oldHome(t, version))
		if got := h.dump(); !maps.Equal(got, shown()) {
			t.Errorf("VERSION %q: it has %q, want %q", version, got, shown())
		}
		h.close()
	}
}
