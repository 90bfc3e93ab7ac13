package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// build compiles the server that is measured.
func build(ctx context.Context, program string) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/mailkeel/mailkeel/examples/postoffice").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building postoffice: %w\n%s", err, out)
	}
	return nil
}

// postoffice is our server, with its defaults. Mail for out@example.test goes
// elsewhere by an alias, so that no session needs to log in.
type postoffice struct {
	program string
	log     io.Writer
	cmd     *exec.Cmd
}

func (*postoffice) name() string { return "postoffice" }

func (p *postoffice) start(ctx context.Context, dir, _, hop string) (string, int, error) {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", 0, err
	}
	port, err := peers.FreePort()
	if err != nil {
		return "", 0, err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	args := []string{"-dir", data, "-domain", "example.test", "-smtp", addr,
		"-submission", "", "-submissions", "", "-imap", "", "-imaps", "", "-trusted", "127.0.0.0/8"}
	for u := range users {
		args = append(args, "-account", fmt.Sprintf("u%d@example.test:correct horse battery %d", u, u))
	}
	if hop != "" {
		args = append(args, "-relay", hop)
	}
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", 0, err
	}
	defer logFile.Close()
	p.cmd = exec.Command(p.program, args...)
	p.cmd.Stderr = logFile
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := p.cmd.Start(); err != nil {
		return "", 0, err
	}
	ready := make(chan bool, 1)
	go func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			if s.Text() == "ready" {
				ready <- true
			}
		}
		close(ready)
	}()
	select {
	case ok := <-ready:
		if !ok {
			text, _ := os.ReadFile(logFile.Name())
			return "", 0, fmt.Errorf("postoffice ended: %w\n%s", p.stop(), text)
		}
	case <-ctx.Done():
		return "", 0, errors.Join(ctx.Err(), p.stop())
	}
	alias := exec.CommandContext(ctx, p.program, "alias", "add", "-dir", data, "out@example.test", "someone@elsewhere.example")
	if out, err := alias.CombinedOutput(); err != nil {
		return "", 0, errors.Join(fmt.Errorf("postoffice alias add: %w\n%s", err, out), p.stop())
	}
	return addr, p.cmd.Process.Pid, nil
}

// idle returns at once: local mail is filed before the reply.
func (p *postoffice) idle(context.Context) error { return nil }

func (p *postoffice) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.cmd.Wait()
}

// postfix is Debian's, with its own Maildir delivery for "file".
type postfix struct{ p *peers.Postfix }

func (*postfix) name() string { return "Postfix" }

func (s *postfix) start(ctx context.Context, dir, work, hop string) (string, int, error) {
	var main []string
	switch {
	case work == "file":
		boxes := filepath.Join(dir, "boxes")
		if err := os.MkdirAll(boxes, 0o777); err != nil {
			return "", 0, err
		}
		if err := os.Chmod(boxes, 0o777); err != nil {
			return "", 0, err
		}
		maps := filepath.Join(dir, "maps") // one Maildir for each user
		text := ""
		for u := range users {
			text += fmt.Sprintf("/^u%d@/ u%d/\n", u, u)
		}
		if err := os.WriteFile(maps, []byte(text), 0o644); err != nil {
			return "", 0, err
		}
		main = []string{"virtual_mailbox_domains = example.test", "virtual_mailbox_base = " + boxes,
			"virtual_mailbox_maps = regexp:" + maps, "virtual_minimum_uid = 1",
			"virtual_uid_maps = static:65534", "virtual_gid_maps = static:65534"}
	case hop != "":
		host, port, _ := net.SplitHostPort(hop)
		main = []string{fmt.Sprintf("default_transport = smtp:[%s]:%s", host, port), "smtp_tls_security_level = none"}
	default:
		main = []string{"smtpd_client_restrictions = static:HOLD", "default_transport = smtp"}
	}
	var err error
	if s.p, err = peers.StartPostfix(ctx, filepath.Join(dir, "postfix"), main...); err != nil {
		return "", 0, err
	}
	pid, err := s.p.PID()
	if err != nil {
		return "", 0, errors.Join(err, s.p.Stop())
	}
	return s.p.Addr, pid, nil
}

// idle waits for an empty queue, looking every 20 ms.
func (s *postfix) idle(ctx context.Context) error {
	for s.p.Waiting() > 0 {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %d messages in the queue of Postfix", ctx.Err(), s.p.Waiting())
		}
	}
	return nil
}

func (s *postfix) stop() error { return s.p.Stop() }
