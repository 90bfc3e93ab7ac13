package main

import (
	"bufio"
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

// postoffice is our server, whole, with its defaults. Mail for out@example.test goes
// elsewhere by an alias, so that no session needs to log in.
//
// With filters it judges the load as it does peers from afar: every connection,
// sender and recipient is counted. The limits are higher than what the load sends,
// which comes from one address. Without, it has no filters.
type postoffice struct {
	program string
	filters bool

	dir string
	cmd *exec.Cmd
}

func (p *postoffice) name(work string) string {
	if work == "imap" {
		return justOurs
	}
	if p.filters {
		return filtersOn
	}
	return filtersOff
}

const (
	withFilters    = "filter-loopback = true\nfilter-spf = \"off\"\nfilter-dkim = \"off\"\nfilter-dmarc = \"off\"\nfilter-headers = \"off\"\nfilter-attachment = \"off\"\nrate-conns = 100000000\nrate-messages = 100000000\nrate-recipients = 100000000\n"
	withoutFilters = "filters = false\n"
)

func (p *postoffice) start(ctx context.Context, dir string, j job) (at running, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return at, err
	}
	if p.dir = j.data; p.dir == "" {
		p.dir = filepath.Join(dir, "data")
	}
	port, err := peers.FreePort()
	if err != nil {
		return at, err
	}
	at.smtp = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	args, err := p.args(dir, at.smtp, j)
	if err != nil {
		return at, err
	}
	if j.imap {
		if port, err = peers.FreePort(); err != nil {
			return at, err
		}
		at.imap = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		args = append(args, "-imap", at.imap, "-insecure-auth")
	}
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return at, err
	}
	defer logFile.Close()
	p.cmd = exec.Command(p.program, args...)
	p.cmd.Stderr = logFile
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return at, err
	}
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return at, err
	}
	ready := make(chan time.Duration, 1)
	go func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			if s.Text() == "ready" {
				ready <- time.Since(begin)
			}
		}
		close(ready)
	}()
	select {
	case at.ready = <-ready:
		if at.ready == 0 {
			text, _ := os.ReadFile(logFile.Name())
			return at, fmt.Errorf("postoffice ended: %w\n%s", p.stop(), text)
		}
	case <-ctx.Done():
		return at, errors.Join(ctx.Err(), p.stop())
	}
	if j.work == "accept" || j.work == "relay" || j.work == "memory" {
		out, err := p.command(ctx, "alias", "add", "-dir", p.dir, toElsewhere, "someone@elsewhere.example")
		if err != nil {
			return at, errors.Join(fmt.Errorf("postoffice alias add: %w\n%s", err, out), p.stop())
		}
	}
	at.pids = []int{p.cmd.Process.Pid}
	return at, nil
}

// args are those of the program; all doors are open for "start".
func (p *postoffice) args(dir, smtp string, j job) ([]string, error) {
	config := filepath.Join(dir, "config.toml")
	text := withoutFilters
	if p.filters {
		text = withFilters
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{"-config", config, "-dir", p.dir, "-domain", "example.test", "-smtp", smtp}
	for _, door := range []string{"-submission", "-submissions", "-imap", "-imaps", "-http"} {
		addr := ""
		if j.work == "start" {
			addr = "127.0.0.1:0"
		}
		args = append(args, door, addr)
	}
	if j.work == "file" || j.work == "imap" {
		for u := range users {
			args = append(args, "-account", fmt.Sprintf("u%d@example.test:correct horse battery %d", u, u))
		}
	}
	if j.hop != "" {
		args = append(args, "-relay", j.hop)
	}
	if j.plain {
		args = append(args, "-index=false")
	}
	return args, nil
}

func (p *postoffice) command(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, p.program, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return out, err
}

// profile writes name.pprof and name.txt.
func (p *postoffice) profile(ctx context.Context, period time.Duration, name string) error {
	b, err := p.command(ctx, "profile", "-dir", p.dir, "-for", period.String(), "cpu")
	if err != nil {
		return fmt.Errorf("postoffice profile: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".pprof", b, 0o644); err != nil {
		return err
	}
	var text []byte
	for _, args := range [][]string{{"-nodecount=25"}, {"-cum", "-nodecount=60"}} {
		args = append(append([]string{"tool", "pprof", "-top"}, args...), p.program, name+".pprof")
		out, err := exec.CommandContext(ctx, "go", args...).Output()
		if err != nil {
			return fmt.Errorf("go tool pprof: %w", err)
		}
		text = append(text, out...)
	}
	return os.WriteFile(name+".txt", text, 0o644)
}

// idle returns at once: local mail is filed before the reply.
func (p *postoffice) idle(context.Context) error { return nil }

func (p *postoffice) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.cmd.Wait()
}
