package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/smtpsink"
	"github.com/mailkeel/mailkeel/internal/testpg"
)

// asNode makes the test binary a node.
const asNode = "MAILKEEL_CLUSTER_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asNode) == "" {
		os.Exit(m.Run())
	}
	go func() { // the test has died
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// patience is how long a machine may be busy with other things.
const patience = 2 * time.Minute

// A node is a process.
type node struct {
	smtp, submission, imap string

	cmd    *exec.Cmd
	input  io.Closer
	exited chan struct{}
	stderr bytes.Buffer // read after exited
}

const (
	ann      = "ann@example.org"
	password = "correct horse battery"
)

// start starts a node on a database and waits until its doors are open.
func start(t *testing.T, db, blobs string, args ...string) *node {
	t.Helper()
	n := &node{exited: make(chan struct{})}
	args = append([]string{"-db", db, "-blobs", blobs, "-smtp", "127.0.0.1:0", "-submission", "127.0.0.1:0", "-imap", "127.0.0.1:0",
		"-account", ann + ":" + password}, args...)
	n.cmd = exec.Command(os.Args[0], args...)
	n.cmd.Env = append(os.Environ(), asNode+"=1")
	n.cmd.Stderr = &n.stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if n.input, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		s, _ := r.ReadString('\n')
		line <- s
		_, _ = io.Copy(io.Discard, r)
		_ = n.cmd.Wait()
		close(n.exited)
	}()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("a node said:\n%s", n.stderr.String())
		}
	})
	select {
	case s := <-line:
		if _, err := fmt.Sscanf(s, "ready %s %s %s", &n.smtp, &n.submission, &n.imap); err != nil {
			t.Fatalf("a node did not start: %q", s)
		}
	case <-time.After(patience):
		t.Fatal("a node does not start")
	}
	return n
}

// kill is SIGKILL.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.exited
	n.input.Close()
}

func message(subject string) []byte {
	return []byte("From: " + ann + "\r\nSubject: " + subject + "\r\n\r\nHello\r\n")
}

// until polls, because another process does the work.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestMailOfOneNodeIsSeenByIdleOnTheOther(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{})
	db, blobs := pg.Database(t), filepath.Join(t.TempDir(), "blobs")
	one, two := start(t, db, blobs), start(t, db, blobs)

	exists := make(chan uint32, 100)
	c, err := imapclient.DialInsecure(two.imap, &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists <- *d.NumMessages
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(ann, password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	var most, sum time.Duration
	const n = 10
	for i := range n {
		if err := smtp.SendMail(one.smtp, nil, "bob@example.net", []string{ann}, message(fmt.Sprint("mail ", i))); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		select {
		case got := <-exists:
			if got != uint32(i+1) {
				t.Fatalf("%d messages after %d", got, i+1)
			}
		case <-time.After(patience):
			t.Fatal("IDLE on the other node does not hear of the message")
		}
		d := time.Since(at)
		most, sum = max(most, d), sum+d
	}
	t.Logf("IDLE on the other node hears of mail %v after the 250, at most %v, of %d", sum/n, most, n)
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
}

func TestOtherNodeDeliversWhatAKilledOneHeld(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{})
	db, blobs := pg.Database(t), filepath.Join(t.TempDir(), "blobs")
	// The next hop of the first node takes messages and never answers.
	stuck := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		if cmd == "." {
			return smtpsink.Hang
		}
		return ""
	}})
	good := smtpsink.Start(t, &smtpsink.Server{})
	one := start(t, db, blobs, "-relay", stuck.Addr, "-lease", "3s")
	const n = 20
	hears := func() int { // how many contents the stuck hop has got
		k := 0
		for _, cmd := range stuck.Commands() {
			if cmd == "DATA" || strings.HasPrefix(cmd, "BDAT") {
				k++
			}
		}
		return k
	}
	auth := smtp.PlainAuth("", ann, password, "127.0.0.1")
	send := func(i int) {
		t.Helper()
		to := fmt.Sprintf("u@d%02d.test", i)
		if err := smtp.SendMail(one.submission, auth, ann, []string{to}, message(fmt.Sprint("out ", i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n / 2 {
		send(i)
	}
	until(t, "the stuck hop to have messages", func() bool { return hears() > 0 })
	start(t, db, blobs, "-relay", good.Addr, "-lease", "3s")
	for i := n / 2; i < n; i++ {
		send(i) // some of these the other node delivers at once
	}
	held := hears()
	before := len(good.Messages())
	one.kill()
	got := map[string]int{}
	until(t, "everything to be delivered", func() bool {
		clear(got)
		for _, m := range good.Messages() {
			for _, to := range m.Rcpts {
				got[to]++
			}
		}
		return len(got) == n
	})
	// A repeat is allowed, when a lease of 3 s runs out on a machine that stood
	// still for so long.
	t.Logf("%d accepted; %d were in the hands of the node that was killed, %d had been delivered by the other; %d in the end, %d repeats",
		n, held, before, len(got), len(good.Messages())-n)
	if held == 0 {
		t.Error("the killed node held nothing")
	}
}
