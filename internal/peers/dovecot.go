package peers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A Dovecot is a private instance with LMTP and IMAP. Every user name that has no
// "/" exists, with the password "pass".
type Dovecot struct {
	Dir string // holds dovecot.conf, run, log and home/USER/mail
	// LMTP is the path of a Unix socket, and IMAP "127.0.0.1:port", without TLS.
	LMTP, IMAP string
	// PID is the process that all others of the instance descend from.
	PID int
	// Took is how long it took from its start until both doors greeted.
	Took time.Duration

	cmd    *exec.Cmd
	guard  func()        // lets the end of this process leave it alone
	ended  chan struct{} // closed when it has
	result error         // of that
}

// nobody is who owns the mail of a Dovecot: it refuses to be root.
const nobody = 65534

// StartDovecot writes a configuration under dir, which must be empty or missing,
// and starts it. format is how mailboxes are kept: "maildir", "sdbox" or "mdbox".
// Lines of more are added to the configuration. It needs root.
func StartDovecot(ctx context.Context, dir, format string, more ...string) (*Dovecot, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("peers: Dovecot needs root")
	}
	program, err := Find("dovecot")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		return nil, fmt.Errorf("peers: dovecot-lmtpd is not installed: %w", err)
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	d := &Dovecot{Dir: dir, LMTP: filepath.Join(dir, "run", "lmtp-in"), IMAP: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	if err := d.configure(format, port, more); err != nil {
		return nil, err
	}
	d.cmd = exec.Command(program, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	var out bytes.Buffer
	d.cmd.Stdout, d.cmd.Stderr = &out, &out
	begin := time.Now()
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	d.PID, d.ended = d.cmd.Process.Pid, make(chan struct{})
	go func() {
		d.result = d.cmd.Wait()
		close(d.ended)
	}()
	if d.guard, err = WhenKilled(`kill "$1"; while kill -0 "$1"; do sleep 0.1; done; rm -rf "$2"`, strconv.Itoa(d.PID), dir); err != nil {
		d.guard = func() {}
		return nil, errors.Join(err, d.Stop())
	}
	if err := d.await(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, d.Stop()), out.Bytes())
	}
	d.Took = time.Since(begin)
	return d, nil
}

func (d *Dovecot) configure(format string, port int, more []string) error {
	home := filepath.Join(d.Dir, "home")
	for _, dir := range []string{home, filepath.Join(d.Dir, "run")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("peers: %w", err)
		}
	}
	if err := passable(d.Dir); err != nil {
		return err
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	var conf bytes.Buffer
	fmt.Fprintf(&conf, `base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = %[2]s:~/mail
first_valid_uid = 1
first_valid_gid = 1
passdb {
  driver = static
  args = password=pass
}
userdb {
  driver = static
  args = uid=%[3]d gid=%[3]d home=%[1]s/home/%%u allow_all_users=yes
}
namespace inbox {
  inbox = yes
  separator = /
}
# Processes that are there when mail comes, and that serve more than one client.
service lmtp {
  process_min_avail = 4
  process_limit = 100
  service_count = 0
  unix_listener %[4]s {
    mode = 0666
  }
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 4000
  inet_listener imap {
    port = %[5]d
  }
  inet_listener imaps {
    port = 0
  }
}
service imap {
  process_limit = 4000
  service_count = 256
}
mail_max_userip_connections = 4000
# They must be as large as the processes that ask.
service auth {
  client_limit = 10000
}
service anvil {
  client_limit = 10000
}
service stats {
  client_limit = 10000
}
`, d.Dir, format, nobody, d.LMTP, port)
	for _, l := range more {
		fmt.Fprintln(&conf, l)
	}
	if err := os.WriteFile(filepath.Join(d.Dir, "dovecot.conf"), conf.Bytes(), 0o644); err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	return nil
}

// await returns when both doors greet.
func (d *Dovecot) await(ctx context.Context) error {
	for {
		err := greets(ctx, "tcp", d.IMAP)
		if err == nil {
			err = greets(ctx, "unix", d.LMTP)
		}
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("peers: dovecot ended: %w\n%s", err, d.Log())
		case <-ctx.Done():
			return fmt.Errorf("peers: dovecot does not answer: %w: %w\n%s", ctx.Err(), err, d.Log())
		case <-time.After(awaitEvery):
		}
	}
}

// awaitEvery is how often a peer that starts is asked whether it is there.
const awaitEvery = 5 * time.Millisecond

// greets reports whether a server says something.
func greets(ctx context.Context, network, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}

// Log returns what it logged.
func (d *Dovecot) Log() string {
	b, _ := os.ReadFile(filepath.Join(d.Dir, "log"))
	return string(b)
}

// stopWithin is how long a Dovecot may take to end; then it is killed.
const stopWithin = time.Minute

// Stop ends the instance.
func (d *Dovecot) Stop() error {
	d.cmd.Process.Signal(syscall.SIGTERM)
	t := time.AfterFunc(stopWithin, func() { d.cmd.Process.Kill() })
	defer t.Stop()
	defer d.guard()
	if <-d.ended; d.result != nil {
		return fmt.Errorf("peers: dovecot: %w\n%s", d.result, d.Log())
	}
	return nil
}
