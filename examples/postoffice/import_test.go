package main

import (
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/mailtest"
)

// TestImport opens what the server of a test held, and mail of other kinds; a second
// start files nothing twice.
func TestImport(t *testing.T) {
	saved := t.TempDir()
	srv := mailtest.New(t)
	for _, subject := range []string{"one", "two"} {
		err := smtp.SendMail(srv.SMTPAddr(), nil, "zoe@example.net", []string{"ann@far.test"}, []byte("Subject: "+subject+"\r\n\r\nx\r\n"))
		if err != nil {
			t.Fatal(err)
		}
	}
	srv.WaitN(t.Context(), 2, mailtest.To("ann@far.test"))
	if err := srv.Save(saved); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(saved, "old.mbox"), []byte("From z@y Thu Jan  1 00:00:00 2026\nSubject: old\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := start(t, dir, "-import", saved)
	if !strings.Contains(o.out, "Imported 3 messages") {
		t.Error(o.out)
	}
	m := regexp.MustCompile(`New accounts, password (\S+): ann@far.test\n`).FindStringSubmatch(o.out)
	if m == nil {
		t.Fatal(o.out)
	}
	if got := o.inbox("ann@far.test", m[1]); len(got) != 2 || !strings.Contains(got[0], "Subject: one") {
		t.Errorf("%q", got)
	}
	o.stop()
	o = start(t, dir, "-import", saved)
	if !strings.Contains(o.out, "Imported 0 messages from "+saved+"; 3 were here already") {
		t.Error(o.out)
	}
	o.stop()
	fails(t, 1, "-import", append([]string{"-dir", dir, "-import", filepath.Join(saved, "none")}, free...)...)
}
