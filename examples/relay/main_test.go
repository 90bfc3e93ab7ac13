package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/smtp"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/internal/openrelay"
	"github.com/mailkeel/mailkeel/mailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the relay and returns where its doors are.
func start(t *testing.T, args ...string) (near, users string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, w := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	dir := filepath.Join(t.TempDir(), "data") // here, so that it goes after the end
	go func() {
		c := run(ctx, append([]string{"-dir", dir, "-smtp", "127.0.0.1:0", "-submission", "127.0.0.1:0"}, args...), w, &errs)
		w.Close()
		code <- c
	}()
	t.Cleanup(func() {
		stop()
		if c := <-code; c != 0 {
			t.Errorf("exit code %d\n%s", c, &errs)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		name, addr, _ := strings.Cut(lines.Text(), " ")
		if name == "smtp" {
			near = addr
		} else {
			users = addr
		}
	}
	if users == "" {
		t.Fatalf("did not start: %s", &errs)
	}
	return near, users
}

// plain lets PLAIN go to an address: net/smtp compares the name of the server.
type plain struct{ user, password string }

func (p plain) Start(s *smtp.ServerInfo) (string, []byte, error) {
	return smtp.PlainAuth("", p.user, p.password, "x").Start(&smtp.ServerInfo{Name: "x", TLS: s.TLS, Auth: s.Auth})
}
func (p plain) Next([]byte, bool) ([]byte, error) { return nil, nil }

func send(addr string, auth smtp.Auth, from, to string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		return err
	}
	if auth != nil {
		if err := c.Auth(auth); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	io.WriteString(w, "From: "+from+"\r\nSubject: through the relay\r\n\r\nhello\r\n")
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

func TestTrustedAndAuthenticatedMailIsRelayed(t *testing.T) {
	world := mailtest.New(t, mailtest.Options{Strict: true})
	world.Account("zoe@example.test", "secret")
	near, users := start(t, "-relay", world.SMTPAddr(), "-account", "ann@office.test:pw-of-ann")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	if err := send(near, nil, "printer@office.test", "zoe@example.test"); err != nil {
		t.Fatal(err)
	}
	world.WaitN(ctx, 1, mailtest.Any())
	if err := send(users, plain{"ann@office.test", "pw-of-ann"}, "ann@office.test", "zoe@example.test"); err != nil {
		t.Fatal(err)
	}
	m := world.WaitN(ctx, 2, mailtest.Any())[1]
	if m.Header("Return-Path") != "<ann@office.test>" || m.Body() != "hello\r\n" {
		t.Errorf("zoe got\n%s", m.Raw)
	}
	for name, err := range map[string]error{
		"no login":       send(users, nil, "ann@office.test", "zoe@example.test"),
		"wrong password": send(users, plain{"ann@office.test", "x"}, "ann@office.test", "zoe@example.test"),
		"another sender": send(users, plain{"ann@office.test", "pw-of-ann"}, "boss@office.test", "zoe@example.test"),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOthersMayNotEvenTry(t *testing.T) {
	near, users := start(t, "-trusted", "192.0.2.0/24", "-relay", "127.0.0.1:1", "-account", "ann@office.test:pw-of-ann")
	if err := send(near, nil, "eve@example.net", "zoe@example.test"); err == nil || !strings.Contains(err.Error(), "not for you") {
		t.Errorf("an untrusted peer: %v", err)
	}
	openrelay.Check(t, openrelay.Probe{Addr: near, Local: "ann@office.test", Hostname: "localhost"})
	openrelay.Check(t, openrelay.Probe{Addr: users, Local: "ann@office.test", Hostname: "localhost"})
}

func TestBadArguments(t *testing.T) {
	for line, want := range map[string]int{
		"-h": 0, "-colour": 2, "-trusted nowhere": 2, "-account ann": 2, "extra": 2,
		"-smtp 127.0.0.1:99999 -dir " + t.TempDir(): 1,
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), &out, &errs); code != want || errs.Len() == 0 {
			t.Errorf("%s: exit code %d, want %d, %s", line, code, want, errs.String())
		}
	}
}
