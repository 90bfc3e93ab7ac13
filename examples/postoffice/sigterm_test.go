package main

import (
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testoffice"
)

// TestSIGTERM is for the process as it is: it ends with 0 while clients are
// connected, and tells them.
func TestSIGTERM(t *testing.T) {
	office := testoffice.Start(t, "-account", "ann@x.test:secret-of-ann")
	for addr, bye := range map[string]string{office.SMTP: "421 ", office.IMAP: "* BYE"} {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		defer func() {
			all, _ := io.ReadAll(nc)
			if !strings.Contains(string(all), bye) {
				t.Errorf("%s heard %q, and no %q", addr, all, bye)
			}
		}()
	}
	if out, _, code := office.Run("account", "list"); code != 0 || !strings.Contains(out, "ann@x.test") {
		t.Errorf("%d %s", code, out)
	}
	office.Stop()
	if _, errs, code := testoffice.Run(t, "-dir", t.TempDir(), "-smtp", "nowhere"); code != 2 || !strings.Contains(errs, `-smtp: "nowhere" is no address`) {
		t.Errorf("%d %s", code, errs)
	}
}

// TestSIGTERMDuringDATA: a message whose content is on the way may come to its end,
// and what was said about it holds after the start.
func TestSIGTERMDuringDATA(t *testing.T) {
	office := testoffice.Start(t, "-account", "ann@x.test:secret-of-ann")
	nc, err := net.Dial("tcp", office.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := textproto.NewConn(nc)
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"EHLO me", 250}, {"MAIL FROM:<z@y.test>", 250}, {"RCPT TO:<ann@x.test>", 250}, {"DATA", 354}} {
		if step.say != "" {
			c.PrintfLine("%s", step.say)
		}
		if _, msg, err := c.ReadResponse(step.code); err != nil {
			t.Fatalf("%q: %v %s", step.say, err, msg)
		}
	}
	c.PrintfLine("Subject: on the way\r\n\r\nhalf of it")
	answer := make(chan error, 1)
	go func() {
		for closed := false; !closed; { // until it listens no more
			other, err := net.Dial("tcp", office.SMTP)
			if closed = err != nil; !closed {
				other.Close()
			}
		}
		c.PrintfLine("and the rest\r\n.")
		_, _, err := c.ReadResponse(250)
		answer <- err
	}()
	office.Stop()
	if err := <-answer; err != nil {
		t.Error(err)
	}
	office.Restart()
	if out, _, _ := office.Run("check", "-contents", "-json"); !strings.Contains(out, `"messages":1,`) || !strings.Contains(out, `"problems":0`) {
		t.Error(out)
	}
}
