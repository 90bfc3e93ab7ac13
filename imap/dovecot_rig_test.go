package imap

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// dovecot has a Dovecot say what it answers to script, which ends in LOGOUT, about
// a mailbox of the messages in contents.
func dovecot(t *testing.T, contents []string, script string) string {
	peers.Need(t, "imap")
	program, err := peers.Find("imap")
	if err != nil || !strings.Contains(program, "dovecot") {
		peers.Missing(t, "peers: no Dovecot")
	}
	dir, err := os.MkdirTemp("", "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		peers.NeedRoot(t)
		uid, gid = 65534, 65534 // it refuses to read mail as root
	}
	config := fmt.Sprintf(`base_dir = %[1]s/base
mail_location = maildir:%[1]s/mail:LAYOUT=fs
log_path = %[1]s/log
mail_uid = %[2]d
mail_gid = %[3]d
first_valid_uid = 0
first_valid_gid = 0
protocols = imap
ssl = no
stats_writer_socket_path =
namespace inbox {
  inbox = yes
  separator = /
}
`, dir, uid, gid)
	for _, d := range []string{"base", "mail/cur", "mail/new", "mail/tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"conf": config}
	for i, c := range contents {
		files[fmt.Sprintf("mail/cur/1%06d.M1.x:2,", i)] = c
	}
	for name, c := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(c), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(p, uid, gid)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "-c", filepath.Join(dir, "conf"))
	cmd.Env = []string{"USER=nobody", "HOME=" + dir}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It ends by LOGOUT, and must not see the end of its input before.
	go io.WriteString(in, script)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, log.String())
	}
	return out.String()
}

// ours is what a server of ours answers to script, which ends in LOGOUT.
func ours(t *testing.T, contents []string, script string) string {
	t.Helper()
	s := &Server{InsecureAuth: true, Store: newStore()}
	addr := start(t, s)
	for _, c := range contents {
		put(t, s.Store, "a1", inbox, c)
	}
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	io.WriteString(p, script)
	out, err := io.ReadAll(p.br)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
