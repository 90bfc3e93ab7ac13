package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/peers"
	"github.com/mailkeel/mailkeel/internal/testoffice"
)

// TestNoFileDescriptors takes the file descriptors away from a server at work, until
// it has fewer and fewer to come. What it cannot do it refuses for now, it does not
// end, who connects waits, and when there are some again all goes on.
func TestNoFileDescriptors(t *testing.T) {
	o := office(t, "-trusted", "127.0.0.0/8", "-insecure-auth")
	const sessions = 5
	var senders []*smtp.Client
	for range sessions {
		c, err := smtp.Dial(o.SMTP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Hello("far.test"); err != nil {
			t.Fatal(err)
		}
		senders = append(senders, c)
	}
	box, err := imapclient.DialInsecure(o.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := box.Login(ann, password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := box.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}

	acked := map[string]bool{}
	n, refused := 0, 0
	// send sends a message; a temporary refusal is all that may go wrong.
	send := func(c *smtp.Client, size int) error {
		n++
		subject := fmt.Sprint("message ", n)
		err := c.Mail("zoe@example.net")
		if err == nil {
			err = c.Rcpt(ann)
		}
		var w io.WriteCloser
		if err == nil {
			w, err = c.Data()
		}
		if err == nil {
			fmt.Fprint(w, letter("zoe@example.net", ann, subject, strings.Repeat("0123456789abcde\n", size/16)))
			err = w.Close()
		}
		var no *textproto.Error
		switch {
		case err == nil:
			acked[subject] = true
		case errors.As(err, &no) && no.Code/100 == 4:
			refused++
			c.Reset()
		default:
			t.Errorf("%s of %d bytes: %v", subject, size, err)
		}
		return err
	}
	for range 5 {
		for _, room := range []int{3, 2, 1, 0} {
			limitFiles(t, o, openFiles(t, o)+room)
			var waiting []net.Conn
			for range 5 {
				nc, err := net.Dial("tcp", o.SMTP)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				waiting = append(waiting, nc)
			}
			for _, c := range senders {
				send(c, 300<<10) // needs a file of its own
				send(c, 1000)
			}
			text := letter(ann, ann, "a note", strings.Repeat("text\n", 60_000))
			cmd := box.Append("INBOX", int64(len(text)), nil)
			fmt.Fprint(cmd, text)
			cmd.Close()
			var no *imap.Error
			if _, err := cmd.Wait(); err != nil && (!errors.As(err, &no) || no.Type != imap.StatusResponseTypeNo) {
				t.Fatalf("APPEND: %v", err)
			}
			if _, err := box.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true, Specifier: imap.PartSpecifierText}}}).Collect(); err != nil && !errors.As(err, &no) {
				t.Fatalf("FETCH: %v", err)
			}

			limitFiles(t, o, 1000)
			for _, nc := range waiting { // they are greeted now
				if code, _, err := textproto.NewConn(nc).ReadCodeLine(220); err != nil {
					t.Errorf("who waited hears %d %v", code, err)
				}
				nc.Close()
			}
			if err := send(senders[0], 300<<10); err != nil {
				t.Errorf("there are descriptors again: %v", err)
			}
		}
	}
	select {
	case <-o.Exited():
		t.Fatal("it ended")
	default:
	}
	if strings.Contains(o.Stderr(), "panic") {
		t.Error("it panicked")
	}
	t.Logf("%d messages acknowledged, %d refused for now", len(acked), refused)
	if refused == 0 {
		t.Error("nothing was refused: this shows nothing")
	}
	got := map[string]int{}
	for _, m := range mailbox(t, o, ann, "INBOX") {
		_, subject, _ := strings.Cut(string(m), "Subject: ")
		subject, _, _ = strings.Cut(subject, "\r\n")
		if !bytes.HasSuffix(m, []byte("\r\n\r\n")) {
			t.Errorf("%s is not whole", subject)
		}
		got[subject]++
	}
	delete(got, "a note")
	for subject := range acked {
		if got[subject] != 1 {
			t.Errorf("%s is there %d times", subject, got[subject])
		}
	}
	if len(got) != len(acked) {
		t.Errorf("%d messages are there, %d were acknowledged", len(got), len(acked))
	}
	if out, errs, code := o.Run("check", "-contents"); code != 0 {
		t.Errorf("check says\n%s%s", out, errs)
	}
	o.Stop()
}

// openFiles is how many descriptors the server has.
func openFiles(t *testing.T, o *testoffice.Office) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", o.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// limitFiles sets how many descriptors the server may have.
func limitFiles(t *testing.T, o *testoffice.Office, n int) {
	t.Helper()
	peers.Command{Name: "prlimit", Args: []string{"--pid", fmt.Sprint(o.Pid()), fmt.Sprintf("--nofile=%d:", n)}}.MustRun(t)
}
