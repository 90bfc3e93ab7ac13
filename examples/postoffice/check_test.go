package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/server/embedded"
)

// furnished is a directory with ann, who has three messages.
func furnished(t *testing.T) (dir string) {
	dir = filepath.Join(t.TempDir(), "data")
	o := start(t, dir)
	o.do(0, "account add -password correct-horse-battery ann@example.test")
	for i := range 3 {
		msg := fmt.Sprintf("From: zoe@example.net\r\nSubject: letter %d\r\n\r\nThe text of %d.\r\n", i+1, i+1)
		if err := send(o.at["smtp"], "", "", "zoe@example.net", "ann@example.test", msg); err != nil {
			t.Fatal(err)
		}
	}
	o.stop()
	return dir
}

// inside works on a directory that nobody has open.
func inside(t *testing.T, dir string, fn func(*embedded.Home)) {
	t.Helper()
	home, err := embedded.Open(t.Context(), dir, embedded.Options{MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	fn(home)
	if err := home.Close(); err != nil {
		t.Fatal(err)
	}
}

// lose removes a content that rows name.
func lose(t *testing.T, home *embedded.Home, text string) {
	t.Helper()
	w, err := home.Blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, text)
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := home.Blobs.DeleteOlder(t.Context(), time.Now().Add(time.Hour), info.Ref); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// TestCheckOnARunningServer: a server whose contents and counters were damaged serves
// all that is whole, says what is not, and repairs on demand while it runs.
func TestCheckOnARunningServer(t *testing.T) {
	dir := furnished(t)
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "mail.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(c sqldb.Conn) error {
		return c.Exec(`UPDATE mailbox SET unseen = 99 WHERE name = 'INBOX'`)
	})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	second := "From: zoe@example.net\r\nSubject: letter 2\r\n\r\nThe text of 2.\r\n"
	inside(t, dir, func(home *embedded.Home) {
		lose(t, home, second)
	})

	o := start(t, dir)
	fetch := func() (texts, subjects []string, err error) {
		t.Helper()
		c, err := imapclient.DialTLS(o.at["imaps"], &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login("ann@example.test", "correct-horse-battery").Wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		list, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Envelope: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			subjects = append(subjects, m.Envelope.Subject)
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		got, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		for _, m := range got {
			texts = append(texts, string(m.FindBodySection(whole)))
		}
		return texts, subjects, err
	}
	look := func() {
		t.Helper()
		texts, subjects, err := fetch()
		if err == nil || !strings.Contains(err.Error(), "SERVERBUG") {
			t.Errorf("reading the damaged message: %v", err)
		}
		if len(texts) != 2 || !strings.HasSuffix(texts[0], "The text of 1.\r\n") || !strings.HasSuffix(texts[1], "The text of 3.\r\n") {
			t.Errorf("the others are %q", texts)
		}
		if len(subjects) != 3 || subjects[1] != "letter 2" {
			t.Errorf("the list shows %q", subjects)
		}
	}
	look()
	has := func(out string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(out, p) {
				t.Errorf("no %q in:\n%s", p, out)
			}
		}
	}
	has(o.do(1, "check"), "S11 counter: ann@example.test INBOX", "S21 blob missing: ann@example.test INBOX UID 2", "2 problems found", "check -repair")
	has(o.do(1, "check -repair"), "[repaired]", "[parked]", "1 repaired, 1 parked, 0 left")
	look()
	has(o.do(0, "check -deep -json"), `"done":"known"`, `"problems":0`, `"parked":1`)
	o.do(2, "check it")

	// The same letter comes once more, and heals the first.
	if err := send(o.at["smtp"], "", "", "zoe@example.net", "ann@example.test", second); err != nil {
		t.Fatal(err)
	}
	if texts, _, err := fetch(); err != nil || len(texts) != 4 || !strings.HasSuffix(texts[1], "The text of 2.\r\n") {
		t.Errorf("healed: %q, %v", texts, err)
	}
	has(o.do(1, "check -repair"), "S7 healed: ann@example.test INBOX UID 2", "[repaired]")
	has(o.do(0, "check -deep"), "everything is as it should be")
	o.stop()
	has(o.do(0, "check -deep"), "everything is as it should be")
}

// TestDamagedDatabaseIsNamed: a program that cannot start says which file it is and
// how to come back, and check says that it could not look.
func TestDamagedDatabaseIsNamed(t *testing.T) {
	dir := furnished(t)
	file := filepath.Join(dir, "mail.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"another file": func([]byte) []byte { return []byte(strings.Repeat("this is no database\n", 500)) },
		"first page":   func(b []byte) []byte { clear(b[100:4096]); return b },
		"header":       func(b []byte) []byte { b[3] ^= 8; return b },
		"cut off":      func(b []byte) []byte { return b[:6000] },
	} {
		b := spoil(append([]byte(nil), whole...))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-dir", dir}, free...)
		fails(t, 1, "damaged: "+file, args...)
		fails(t, 1, "cp BACKUP/mail.db "+file, args...)
		fails(t, 2, "cp BACKUP/mail.db "+file, "check", "-dir", dir)
		if now, err := os.ReadFile(file); err != nil || string(now) != string(b) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	// As the commands say.
	os.Remove(file + "-wal")
	os.Remove(file + "-shm")
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, 0, "", "check", "-repair", "-deep", "-dir", dir)
}

// TestCheckUnderLoad: what is only in progress is no damage.
func TestCheckUnderLoad(t *testing.T) {
	dir := furnished(t)
	o := start(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for i := range 3 {
		work.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				to := "ann@example.test"
				if i == 2 {
					to = "nobody@elsewhere.test" // waits in the queue, as there is no way out
				}
				msg := fmt.Sprintf("Subject: %d of %d\r\n\r\n.\r\n", n, i)
				if i == 2 {
					_ = send(o.at["submission"], "ann@example.test", "correct-horse-battery", "ann@example.test", to, msg)
				} else {
					_ = send(o.at["smtp"], "", "", "zoe@example.net", to, msg)
				}
			}
		})
	}
	work.Go(func() {
		for ctx.Err() == nil {
			c, err := imapclient.DialTLS(o.at["imaps"], &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
			if err != nil {
				continue
			}
			if c.Login("ann@example.test", "correct-horse-battery").Wait() == nil {
				if _, err := c.Select("INBOX", nil).Wait(); err == nil {
					set := imap.SeqSet{{Start: 1, Stop: 2}}
					_ = c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen, imap.FlagDeleted}}, nil).Close()
					_, _ = c.Copy(set, "Archive").Wait()
					_ = c.Expunge().Close()
				}
			}
			c.Close()
		}
	})
	for range 5 {
		o.do(0, "check -deep")
		o.do(0, "check -repair")
	}
	cancel()
	work.Wait()
	o.do(0, "check -deep")
}
