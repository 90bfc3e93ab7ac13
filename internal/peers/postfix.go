package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Postfix is a private instance on a port of 127.0.0.1. It accepts mail from
// loopback for any recipient.
type Postfix struct {
	Dir string // holds etc, spool, data and maillog
	// Addr is where it listens, "127.0.0.1:port".
	Addr string
	// Took is how long it took from its start command until it greeted.
	Took time.Duration

	guard func() // lets the end of this process leave it alone
}

// StartPostfix writes a configuration under dir, which must be empty or missing,
// and starts it. Lines of main are added to main.cf: where mail goes on to, for
// example "default_transport = smtp:[127.0.0.1]:2525". It needs root.
func StartPostfix(ctx context.Context, dir string, main ...string) (*Postfix, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("peers: Postfix needs root")
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p := &Postfix{Dir: dir, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	if err := p.configure(ctx, port, main); err != nil {
		return nil, err
	}
	program, err := Find("postfix")
	if err != nil {
		return nil, err
	}
	if p.guard, err = WhenKilled(`"$1" -c "$2/etc" stop; rm -rf "$2"`, program, p.Dir); err != nil {
		return nil, err
	}
	begin := time.Now()
	if out, err := p.postfix(ctx, "start"); err != nil {
		p.guard()
		return nil, fmt.Errorf("peers: postfix start: %w\n%s%s", err, out, p.Log())
	}
	if err := p.await(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	p.Took = time.Since(begin)
	return p, nil
}

// chrooted finds the columns of master.cf that ask for a chroot: off here, for it
// would need copies of resolver files.
var chrooted = regexp.MustCompile(`(?m)^([a-z]+ +(?:unix|fifo|inet|unix-dgram) +[-yn] +[-yn] +)[-y]( )`)

// incoming is the line of master.cf for the SMTP server.
var incoming = regexp.MustCompile(`(?m)^smtp +inet.*$`)

func (p *Postfix) configure(ctx context.Context, port int, main []string) error {
	etc := filepath.Join(p.Dir, "etc")
	for _, d := range []string{p.Dir, etc, p.path("spool"), p.path("data"), filepath.Join(etc, "dynamicmaps.cf.d"), filepath.Join(etc, "postfix-files.d")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := passable(p.Dir); err != nil {
		return err
	}
	master, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	if err != nil {
		if master, err = os.ReadFile("/etc/postfix/master.cf"); err != nil {
			return fmt.Errorf("peers: %w", err)
		}
	}
	master = incoming.ReplaceAll(master, fmt.Appendf(nil, "127.0.0.1:%d inet n - n - - smtpd", port))
	master = chrooted.ReplaceAll(master, []byte("${1}n${2}"))
	if !bytes.Contains(master, []byte("\npostlog")) {
		master = append(master, "\npostlog unix-dgram n - n - 1 postlogd\n"...)
	}
	cf := []string{
		"compatibility_level = 3.6",
		"queue_directory = " + p.path("spool"), "data_directory = " + p.path("data"),
		"command_directory = /usr/sbin", "daemon_directory = /usr/lib/postfix/sbin",
		"mail_owner = postfix", "setgid_group = postdrop", "myhostname = peer.example",
		"mydestination =", "local_recipient_maps =", "alias_maps =", "alias_database =",
		"inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "mynetworks = 127.0.0.0/8",
		"smtpd_recipient_restrictions = permit_mynetworks, reject",
		"disable_dns_lookups = yes", "smtp_host_lookup = native", "smtpd_peername_lookup = no",
		// The limits that throttle one busy client are off.
		"default_process_limit = 200", "smtpd_client_connection_count_limit = 0",
		"smtpd_client_connection_rate_limit = 0", "smtpd_client_message_rate_limit = 0", "in_flow_delay = 0",
		"initial_destination_concurrency = 20", "default_destination_concurrency_limit = 50",
		"qmgr_message_active_limit = 50000", "qmgr_message_recipient_limit = 50000",
		"maillog_file = " + p.path("maillog"), "maillog_file_prefixes = " + p.Dir,
	}
	cf = append(cf, main...)
	files, _ := os.ReadFile("/etc/postfix/postfix-files")
	for name, data := range map[string][]byte{
		"main.cf": []byte(strings.Join(cf, "\n") + "\n"), "master.cf": master, "dynamicmaps.cf": nil, "postfix-files": files,
	} {
		if err := os.WriteFile(filepath.Join(etc, name), data, 0o644); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, "chown", "postfix:root", p.path("data")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("peers: chown: %w: %s", err, out)
	}
	p.postfix(ctx, "set-permissions") // complains about files of manuals that are not there
	return nil
}

// passable lets other users get into dir: most processes of a peer run as some, and
// a test's folder lies in one that only its owner may enter.
func passable(dir string) error {
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && info.Mode().Perm()&0o011 != 0o011 {
			if err := os.Chmod(d, info.Mode().Perm()|0o011); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Postfix) path(name string) string { return filepath.Join(p.Dir, name) }

// postfix runs the control command. The path must be absolute: with a relative
// one "stop" fails without a word.
func (p *Postfix) postfix(ctx context.Context, verb string) ([]byte, error) {
	path, err := Find("postfix")
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, path, "-c", p.path("etc"), verb).CombinedOutput()
}

// await returns when the server greets.
func (p *Postfix) await(ctx context.Context) error {
	for {
		err := greets(ctx, "tcp", p.Addr)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("peers: postfix does not answer: %w\n%s", err, p.Log())
		case <-time.After(awaitEvery):
		}
	}
}

// PID is the process that all others of the instance descend from.
func (p *Postfix) PID() (int, error) {
	b, err := os.ReadFile(p.path("spool/pid/master.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// Flush has Postfix look through its queue now. It does so every five minutes by itself,
// and until then it may overlook a message that came at a busy moment.
func (p *Postfix) Flush(ctx context.Context) error {
	_, err := p.postfix(ctx, "flush")
	return err
}

// Waiting counts the messages in the queue, in any state.
func (p *Postfix) Waiting() int {
	n := 0
	for _, q := range []string{"maildrop", "incoming", "active", "deferred", "hold"} {
		filepath.WalkDir(p.path("spool/"+q), func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return nil
		})
	}
	return n
}

// Log returns what it logged.
func (p *Postfix) Log() string {
	b, _ := os.ReadFile(p.path("maillog"))
	return string(b)
}

// Stop ends the instance, and returns when nothing of it writes any more.
func (p *Postfix) Stop() error {
	defer p.guard()
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopWithin)
	defer cancel()
	pid, err := p.PID()
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	if out, err := p.postfix(ctx, "stop"); err != nil {
		return fmt.Errorf("peers: postfix stop: %w: %s", err, out)
	}
	// The others of its group follow it, a little later.
	for exec.CommandContext(ctx, "pgrep", "-g", strconv.Itoa(pid), "-r", "D,R,S").Run() == nil {
		time.Sleep(awaitEvery)
	}
	return ctx.Err()
}
