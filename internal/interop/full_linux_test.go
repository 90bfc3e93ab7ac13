package interop

import (
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/peers"
	"github.com/mailkeel/mailkeel/internal/testoffice"
)

// smallDisk returns a folder with a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		peers.Missing(t, "cannot mount a file system, which needs root: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
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

// TestDiskFull fills the disk to the last byte: mail is refused for now, what is there
// can be read and deleted, and with that mail flows again.
func TestDiskFull(t *testing.T) {
	disk := smallDisk(t, "64m")
	o := office(t, "-dir", filepath.Join(disk, "office"), "-trusted", "127.0.0.0/8")
	full := func(err error) {
		t.Helper()
		var no *textproto.Error
		if !errors.As(err, &no) || no.Code != 452 || !strings.HasPrefix(no.Msg, "4.3.1 ") {
			t.Fatalf("got %v, want 452 4.3.1", err)
		}
	}
	sent := 0
	for ; ; sent++ {
		if err := mailSize(t, o, fmt.Sprint("filling ", sent), 200<<10); err != nil {
			full(err)
			break
		}
	}
	if sent < 20 {
		t.Errorf("%d messages of 200 KB fit on the disk", sent)
	}
	// Small ones, until none fits either; and then somebody else takes the rest.
	for ; ; sent++ {
		if err := mailSize(t, o, fmt.Sprint("filling ", sent), 2<<10); err != nil {
			full(err)
			break
		}
	}
	// It starts on a full disk too, where it has no log yet.
	o.Stop()
	ballast(t, filepath.Join(disk, "ballast"))
	o.Restart()

	full(mailSize(t, o, "nothing fits", 100))
	c := login(t, o, ann)
	text := letter(ann, ann, "a note", "text")
	cmd := c.Append("INBOX", int64(len(text)), nil)
	fmt.Fprint(cmd, text)
	cmd.Close()
	var no *imap.Error
	if _, err := cmd.Wait(); !errors.As(err, &no) || no.Type != imap.StatusResponseTypeNo {
		t.Errorf("APPEND to a full disk: %v, want NO", err)
	}
	if got := mailbox(t, o, ann, "INBOX"); len(got) != sent {
		t.Errorf("%d messages are there, want %d", len(got), sent)
	}

	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.SeqSet{{Start: 1, Stop: 15}}, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Errorf("STORE on a full disk: %v", err)
	}
	if gone, err := c.Expunge().Collect(); err != nil || len(gone) != 15 {
		t.Errorf("EXPUNGE on a full disk: %d gone, %v", len(gone), err)
	}
	if got := mailbox(t, o, ann, "INBOX"); len(got) != sent-15 {
		t.Errorf("%d messages are there, want %d", len(got), sent-15)
	}

	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=128m"); err != nil {
		t.Fatal(err)
	}
	if err := mailSize(t, o, "room again", 1000); err != nil {
		t.Errorf("there is room again, but: %v", err)
	}
}

// ballast takes all that is left of the disk.
func ballast(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 1<<16); len(b) > 0; {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil || s.Bavail != 0 {
		t.Fatalf("%d blocks are left, %v", s.Bavail, err)
	}
}
