package interop

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/peers"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
	"github.com/mailkeel/mailkeel/internal/testoffice"
)

// smallDisk returns a folder with a file system of its own, of 64 MB.
func smallDisk(t *testing.T, kind string) string {
	t.Helper()
	peers.NeedRoot(t)
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "tmpfs":
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
			peers.Forbidden(t, "mounting a file system: "+err.Error())
		}
	case "ext4": // with a journal; a container may have no loop devices
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, make([]byte, 64<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][]string{{"mkfs.ext4", "-q", "-F", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
			path, err := peers.Find(c[0])
			if err != nil {
				peers.Missing(t, err.Error())
			}
			if out, err := exec.Command(path, c[1:]...).CombinedOutput(); err != nil {
				peers.Forbidden(t, fmt.Sprintf("%s: %v: %s", c[0], err, out))
			}
		}
	}
	release, err := peers.WhenKilled(`umount -l "$1"; rm -rf "$(dirname "$1")"`, dir)
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		release()
	})
	if err != nil {
		release = func() {}
		t.Fatal(err)
	}
	return dir
}

// mailSize sends one message and returns what the server said to it.
func mailSize(t *testing.T, o *testoffice.Office, subject string, size int) error {
	t.Helper()
	c, err := smtp.Dial(o.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("zoe@example.net"); err != nil {
		return err
	}
	if err := c.Rcpt(ann); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, letter("zoe@example.net", ann, subject, strings.Repeat("0123456789abcde\n", size/16)))
	return w.Close()
}

// TestDiskFull fills the disk to the last byte, with mail and then with other files:
// mail is refused for now, what is there can be read and deleted, the queue goes on,
// and when there is room again mail flows without a restart. A restart on a full disk
// works too. Nothing that was acknowledged is lost.
func TestDiskFull(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) { (&fullDisk{T: t}).run(kind) })
	}
}

type fullDisk struct {
	*testing.T
	o    *testoffice.Office
	disk string
	n    int
	here map[string]bool // subjects of what was acknowledged and not deleted
}

func (d *fullDisk) run(kind string) {
	d.disk, d.here = smallDisk(d.T, kind), map[string]bool{}
	// Contents leave 16 MB to the database; more than that has to come back.
	if err := os.WriteFile(filepath.Join(d.disk, "ballast"), make([]byte, 18<<20), 0o600); err != nil {
		d.Fatal(err)
	}
	var open atomic.Bool // whether the smart host takes mail
	sink := smtpsink.Start(d, &smtpsink.Server{Reply: func(cmd string) string {
		if strings.HasPrefix(cmd, "RCPT") && !open.Load() {
			return "451 4.3.0 not now"
		}
		return ""
	}})
	d.o = office(d.T, "-dir", filepath.Join(d.disk, "office"), "-trusted", "127.0.0.0/8", "-insecure-auth", "-relay", sink.Addr)
	const queued = 20
	for i := range queued {
		if err := d.submit(fmt.Sprint("elsewhere ", i)); err != nil {
			d.Fatal(err)
		}
	}

	// Large ones, until none fits; then small ones, until none fits either.
	d.fill()
	if len(d.here) < 20 {
		d.Errorf("%d messages fit on the disk", len(d.here))
	}
	d.Logf("%d messages fit", len(d.here))
	d.refused()
	d.deletes(3)
	d.there()
	d.room("other files are gone")

	// Somebody else takes the rest, to the last byte.
	d.ballast()
	d.fill() // room that was set aside before is still used
	d.refused()
	d.deletes(10)
	d.refused()
	open.Store(true)
	d.leave(sink, queued)
	d.there()
	d.room("other files are gone, after the last byte was taken")

	// It starts on a full disk, where it has no log yet.
	d.ballast()
	d.o.Stop()
	d.ballast() // what the stop gave back
	d.o.Restart()
	d.there()
	d.fill()
	d.refused()
	d.deletes(10)
	d.o.Kill()
	d.o.Restart()
	d.there()
	d.room("other files are gone, after a start on a full disk")

	// Mail alone fills it again.
	d.fill()
	d.deletes(10)
	d.there()
	if out, errs, code := d.o.Run("check", "-contents"); code != 0 {
		d.Errorf("check says\n%s%s", out, errs)
	}
	d.o.Stop()
}

// full wants an answer that says that the disk is full.
func (d *fullDisk) full(err error) {
	d.Helper()
	var no *textproto.Error
	if !errors.As(err, &no) || no.Code != 452 || !strings.HasPrefix(no.Msg, "4.3.1 ") {
		d.Fatalf("got %v, want 452 4.3.1", err)
	}
}

// send sends one message, and reports whether it was taken.
func (d *fullDisk) send(size int) bool {
	d.Helper()
	d.n++
	subject := fmt.Sprint("filling ", d.n)
	if err := mailSize(d.T, d.o, subject, size); err != nil {
		d.full(err)
		return false
	}
	d.here[subject] = true
	return true
}

// fill sends large messages until none fits, and then smaller ones.
func (d *fullDisk) fill() {
	d.Helper()
	for _, size := range []int{500 << 10, 50 << 10, 2 << 10} {
		for d.send(size) {
		}
	}
}

// refused wants that no mail is taken, by any door.
func (d *fullDisk) refused() {
	d.Helper()
	if d.send(100) {
		d.Error("a message was taken on a full disk")
	}
	d.full(d.submit("nothing fits"))
	c := login(d.T, d.o, ann)
	defer c.Close()
	text := letter(ann, ann, "a note", "text")
	cmd := c.Append("INBOX", int64(len(text)), nil)
	fmt.Fprint(cmd, text)
	cmd.Close()
	var no *imap.Error
	if _, err := cmd.Wait(); !errors.As(err, &no) || no.Type != imap.StatusResponseTypeNo {
		d.Errorf("APPEND to a full disk: %v, want NO", err)
	}
}

// submit sends a message for elsewhere.
func (d *fullDisk) submit(subject string) error {
	c, err := smtp.Dial(d.o.Submission)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Auth(smtp.PlainAuth("", ann, password, "127.0.0.1")); err != nil {
		return err
	}
	if err := c.Mail(ann); err != nil {
		return err
	}
	if err := c.Rcpt("zoe@far.test"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, letter(ann, "zoe@far.test", subject, "text"))
	return w.Close()
}

// leave waits until the queue has brought away n messages.
func (d *fullDisk) leave(sink *smtpsink.Server, n int) {
	d.Helper()
	if out, errs, code := d.o.Run("queue", "retry", "-all"); code != 0 {
		d.Errorf("queue retry says\n%s%s", out, errs)
	}
	limit := time.Now().Add(2 * time.Minute)
	for out := "?"; out != ""; {
		var errs string
		var code int
		if out, errs, code = d.o.Run("queue", "list", "-json"); code != 0 || time.Now().After(limit) {
			d.Fatalf("the queue does not get empty on a full disk:\n%s%s", out, errs)
		}
	}
	came := map[string]int{}
	for _, m := range sink.Messages() {
		_, subject, _ := strings.Cut(m.Data, "Subject: ")
		subject, _, _ = strings.Cut(subject, "\r\n")
		came[subject]++
	}
	for i := range n {
		if s := fmt.Sprint("elsewhere ", i); came[s] != 1 {
			d.Errorf("%s came %d times", s, came[s])
		}
	}
	if len(came) != n {
		d.Errorf("%d messages came, %d were accepted", len(came), n)
	}
}

// there compares the mailbox with what was acknowledged.
func (d *fullDisk) there() {
	d.Helper()
	got := map[string]bool{}
	for _, m := range mailbox(d.T, d.o, ann, "INBOX") {
		_, subject, _ := strings.Cut(string(m), "Subject: ")
		subject, _, _ = strings.Cut(subject, "\r\n")
		if got[subject] || !bytes.HasSuffix(m, []byte("0123456789abcde\r\n\r\n")) {
			d.Errorf("%s is there twice, or not whole", subject)
		}
		got[subject] = true
	}
	if !maps.Equal(got, d.here) {
		d.Errorf("%d messages are there, %d were acknowledged, and they are not the same", len(got), len(d.here))
	}
}

// deletes removes the first n messages.
func (d *fullDisk) deletes(n int) {
	d.Helper()
	c := login(d.T, d.o, ann)
	defer c.Close()
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		d.Fatal(err)
	}
	set := imap.SeqSet{{Start: 1, Stop: uint32(n)}}
	got, err := c.Fetch(set, &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil {
		d.Fatal(err)
	}
	if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		d.Errorf("STORE on a full disk: %v", err)
	}
	if gone, err := c.Expunge().Collect(); err != nil || len(gone) != n {
		d.Errorf("EXPUNGE on a full disk: %d gone, %v", len(gone), err)
	}
	for _, m := range got {
		delete(d.here, m.Envelope.Subject)
	}
}

// ballast takes all that is left of the disk.
func (d *fullDisk) ballast() {
	d.Helper()
	f, err := os.OpenFile(filepath.Join(d.disk, "ballast"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	var s syscall.Statfs_t
	for tries := 0; tries < 20; tries++ { // a journal gives blocks back late
		for b := make([]byte, 1<<16); len(b) > 0; {
			if _, err := f.Write(b); err != nil {
				b = b[:len(b)/2]
			}
		}
		f.Sync()
		if err := syscall.Statfs(d.disk, &s); err != nil {
			d.Fatal(err)
		}
		if s.Bavail == 0 {
			return
		}
	}
	d.Fatalf("%d blocks are left", s.Bavail)
}

// room gives the ballast back and waits until mail flows.
func (d *fullDisk) room(why string) {
	d.Helper()
	if err := os.Remove(filepath.Join(d.disk, "ballast")); err != nil {
		d.Fatal(err)
	}
	d.flows(why)
}

// flows waits until a message is taken.
func (d *fullDisk) flows(why string) {
	d.Helper()
	start := time.Now()
	for !d.send(1000) {
		if time.Since(start) > time.Minute { // it should be 5 s
			d.Fatalf("%s, and after a minute no mail is taken", why)
		}
	}
	d.Logf("%s: mail flows after %v", why, time.Since(start).Round(time.Millisecond))
}
