package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// postfix is Debian's alone, with its own Maildir delivery for "file".
type postfix struct{ p *peers.Postfix }

func (*postfix) name(work string) string { return justPostfix }

func (s *postfix) start(ctx context.Context, dir string, j job) (at running, err error) {
	var main []string
	switch {
	case j.work == "file":
		boxes := filepath.Join(dir, "boxes")
		if err := os.MkdirAll(boxes, 0o777); err != nil {
			return at, err
		}
		if err := os.Chmod(boxes, 0o777); err != nil {
			return at, err
		}
		if main, err = recipients(dir); err != nil {
			return at, err
		}
		main = append(main, "virtual_mailbox_base = "+boxes, "virtual_minimum_uid = 1", "virtual_uid_maps = static:65534", "virtual_gid_maps = static:65534")
	case j.hop != "":
		host, port, _ := net.SplitHostPort(j.hop)
		main = []string{fmt.Sprintf("default_transport = smtp:[%s]:%s", host, port), "smtp_tls_security_level = none"}
	default:
		main = []string{"smtpd_client_restrictions = static:HOLD", "default_transport = smtp"}
	}
	return s.with(ctx, dir, main)
}

// recipients are lines of main.cf for users who are known and have a Maildir each.
func recipients(dir string) ([]string, error) {
	maps, text := filepath.Join(dir, "maps"), ""
	for u := range users {
		text += fmt.Sprintf("/^u%d@/ u%d/\n", u, u)
	}
	return []string{"virtual_mailbox_domains = example.test", "virtual_mailbox_maps = regexp:" + maps}, os.WriteFile(maps, []byte(text), 0o644)
}

// with starts a Postfix with lines of main.cf.
func (s *postfix) with(ctx context.Context, dir string, main []string) (at running, err error) {
	if s.p, err = peers.StartPostfix(ctx, filepath.Join(dir, "postfix"), main...); err != nil {
		return at, err
	}
	at = running{smtp: s.p.Addr, ready: s.p.Took}
	pid, err := s.p.PID()
	if err != nil {
		return at, errors.Join(err, s.p.Stop())
	}
	at.pids = []int{pid}
	return at, nil
}

// idle waits for an empty queue, looking every 20 ms.
func (s *postfix) idle(ctx context.Context) error {
	overlooked := time.NewTicker(10 * time.Second)
	defer overlooked.Stop()
	for s.p.Waiting() > 0 {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-overlooked.C:
			if err := s.p.Flush(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %d messages in the queue of Postfix\n%.2000s", ctx.Err(), s.p.Waiting(), s.p.Log())
		}
	}
	return nil
}

func (s *postfix) stop() error { return s.p.Stop() }

// pair is Postfix that hands to Dovecot over LMTP.
type pair struct {
	postfix
	format string
	d      *peers.Dovecot
}

func (s *pair) name(string) string {
	if s.format == "mdbox" {
		return withMdbox
	}
	return withMaildir
}

func (s *pair) start(ctx context.Context, dir string, j job) (at running, err error) {
	main, err := recipients(dir)
	if err != nil {
		return at, err
	}
	if s.d, err = peers.StartDovecot(ctx, filepath.Join(dir, "d"), s.format); err != nil {
		return at, err
	}
	if at, err = s.with(ctx, dir, append(main, "virtual_transport = lmtp:unix:"+s.d.LMTP)); err != nil {
		return at, errors.Join(err, s.d.Stop())
	}
	at.ready += s.d.Took
	at.pids = append(at.pids, s.d.PID)
	return at, nil
}

func (s *pair) stop() error { return errors.Join(s.p.Stop(), s.d.Stop()) }

// dovecot is Debian's alone, for IMAP.
type dovecot struct {
	d     *peers.Dovecot
	limit func() // gives back what was raised
}

func (*dovecot) name(string) string { return justDovecot }

func (s *dovecot) start(ctx context.Context, dir string, j job) (at running, err error) {
	var more []string
	if j.data != "" {
		if err := os.MkdirAll(j.data, 0o777); err != nil {
			return at, err
		}
		if err := os.Chmod(j.data, 0o777); err != nil {
			return at, err
		}
		more = append(more, "mail_location = mdbox:"+j.data+"/%u")
	}
	s.limit = raise("/proc/sys/fs/inotify/max_user_instances", 8192)
	if s.d, err = peers.StartDovecot(ctx, filepath.Join(dir, "d"), "mdbox", more...); err != nil {
		s.limit()
		return at, err
	}
	return running{imap: s.d.IMAP, pids: []int{s.d.PID}}, nil
}

func (*dovecot) idle(context.Context) error { return nil }

func (s *dovecot) stop() error {
	defer s.limit()
	return s.d.Stop()
}

// raise sets a limit of the machine, if it is less, until the function is called that
// it returns. Each process of Dovecot in IDLE needs one inotify; those that get none
// look for mail every half minute.
func raise(file string, to int) (back func()) {
	old, err := os.ReadFile(file)
	if n, _ := strconv.Atoi(strings.TrimSpace(string(old))); err != nil || n >= to {
		return func() {}
	}
	if os.WriteFile(file, []byte(strconv.Itoa(to)), 0o644) != nil {
		return func() {}
	}
	return func() { os.WriteFile(file, old, 0o644) }
}
