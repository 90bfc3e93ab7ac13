package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/certs"
)

func TestLMTP(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "lmtp")
	for _, addr := range []string{sock, "127.0.0.1:0", sock + ",127.0.0.1:0"} {
		o := start(t, filepath.Join(t.TempDir(), "data"), "-account", "ann@x.test:secret-of-ann", "-account", "bob@x.test:secret-of-bob", "-lmtp", addr)
		network := "unix"
		if addr == "127.0.0.1:0" {
			network = "tcp"
		}
		nc, err := net.Dial(network, o.at["lmtp"])
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(nc)
		expect := func(codes ...string) {
			t.Helper()
			for _, want := range codes {
				line := "000-"
				for line[3] == '-' {
					if line, err = r.ReadString('\n'); err != nil || len(line) < 5 {
						t.Fatalf("%q, %v, want %s", line, err, want)
					}
				}
				if line[:3] != want {
					t.Errorf("got %q, want %s", line, want)
				}
			}
		}
		expect("220")
		fmt.Fprint(nc, "LHLO me\r\n")
		expect("250")
		fmt.Fprint(nc, "MAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@x.test>\r\nRCPT TO:<nobody@x.test>\r\nRCPT TO:<zoe@far.test>\r\nRCPT TO:<bob@x.test>\r\nDATA\r\n")
		expect("250", "250", "550", "550", "250", "354")
		fmt.Fprint(nc, letter+".\r\nQUIT\r\n")
		expect("250", "250", "221")
		nc.Close()
		for _, who := range []string{"ann", "bob"} {
			if got := o.inbox(who+"@x.test", "secret-of-"+who); len(got) != 1 || !strings.HasSuffix(got[0], letter) {
				t.Errorf("%s has %q", who, got)
			}
		}
		o.stop()
	}
}

func TestARenewedCertificateNeedsNoRestart(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	renew := func(name string) {
		t.Helper()
		b, err := certs.Make([]string{name}, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c, rest := pem.Decode(b)
		k, _ := pem.Decode(rest)
		for file, block := range map[string]*pem.Block{cert: c, key: k} {
			if err := os.WriteFile(file+".new", pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		}
	}
	renew("one.test")
	o := start(t, filepath.Join(dir, "data"), "-cert", cert, "-key", key)
	for _, name := range []string{"one.test", "two.test"} {
		renew(name)
		for _, d := range []string{"imaps", "submissions"} {
			nc, err := tls.Dial("tcp", o.at[d], &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.ConnectionState().PeerCertificates[0].VerifyHostname(name); err != nil {
				t.Errorf("%s: %v", d, err)
			}
			nc.Close()
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "tls.pem")); err == nil {
		t.Error("a self-signed certificate was made")
	}
}

func TestInsecureAuth(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	login := func(o *office) string {
		nc, err := net.Dial("tcp", o.at["imap"])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		fmt.Fprint(nc, "a LOGIN ann@x.test secret-of-ann\r\nb LOGOUT\r\n")
		b, _ := io.ReadAll(nc)
		return string(b)
	}
	o := start(t, dir, "-account", "ann@x.test:secret-of-ann")
	if s := login(o); strings.Contains(s, "a OK") {
		t.Errorf("a password in the clear was taken:\n%s", s)
	}
	o.stop()
	o = start(t, dir, "-insecure-auth")
	if s := login(o); !strings.Contains(s, "a OK") {
		t.Errorf("with -insecure-auth:\n%s", s)
	}
}

func TestRatesAreForPeersFromAfar(t *testing.T) {
	usual := defaults()
	count := func(opt options, addr string) (refused int) {
		chain := opt.chain(nil)
		if err := chain.Check(); err != nil {
			t.Fatal(err)
		}
		o := &mailkeel.Origin{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 1)}
		for range 500 {
			one, end := chain.Session(context.Background(), o)
			if v := one.Run(t.Context(), filter.Conn, &filter.Transaction{Origin: o}); v.Refuse != nil {
				refused++
			}
			end()
		}
		return refused
	}
	for addr, limited := range map[string]bool{"192.0.2.1": true, "2001:db8::1": true, "127.0.0.1": false, "::1": false, "::ffff:127.0.0.9": false} {
		if n := count(usual, addr); (n > 0) != limited {
			t.Errorf("%s: %d of 500 connections refused", addr, n)
		}
	}
	// What the configuration file may change.
	near, none, few := usual, usual, usual
	near.filterLoopback, none.rateConns, few.rateConns = true, 0, 1
	if n := count(near, "127.0.0.1"); n == 0 {
		t.Error("filter-loopback: nothing refused")
	}
	if n := count(none, "192.0.2.1"); n != 0 {
		t.Errorf("rate-conns = 0: %d refused", n)
	}
	if n := count(few, "192.0.2.1"); n < count(usual, "192.0.2.1") {
		t.Errorf("rate-conns = 1: %d refused", n)
	}
	if off := (&options{}); off.chain(nil) != nil {
		t.Error("filters = false: there are some")
	}
}

func TestOverQuotaIsSaidAtRCPT(t *testing.T) {
	o := start(t, filepath.Join(t.TempDir(), "data"), "-account", "ann@x.test:secret-of-ann")
	o.do(0, "account set -quota 1K ann@x.test")
	o.do(0, "account add bob@x.test")
	o.do(0, "alias add both@x.test ann@x.test bob@x.test")
	if err := send(o.at["smtp"], "", "", "zoe@example.net", "ann@x.test", letter); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", o.at["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprint(nc, "EHLO me\r\nMAIL FROM:<zoe@example.net> SIZE=5000\r\nRCPT TO:<ann@x.test>\r\nQUIT\r\n")
	b, _ := io.ReadAll(nc)
	if !strings.Contains(string(b), "\n452 4.2.2") {
		t.Errorf("no 452 4.2.2 in\n%s", b)
	}
	// A message whose size was not announced is refused where it ends: in the
	// queue it would wait, and its bounce go to whoever was forged as the sender.
	big := letter + strings.Repeat("x\r\n", 1000)
	if err := send(o.at["smtp"], "", "", "zoe@example.net", "ann@x.test", big); err == nil || !strings.Contains(err.Error(), "4.2.2") {
		t.Errorf("got %v, want 452 4.2.2", err)
	}
	if out := o.do(0, "queue list"); !strings.Contains(out, "nothing is queued") {
		t.Errorf("queued:\n%s", out)
	}
	// If another recipient has it, it waits for room.
	if err := send(o.at["smtp"], "", "", "zoe@example.net", "both@x.test", big); err != nil {
		t.Fatal(err)
	}
	for out := ""; !strings.Contains(out, "4.2.2"); { // the queue tries it beside us
		if out = o.do(0, "queue list"); !strings.Contains(out, "ann@x.test") {
			t.Fatalf("queued:\n%s", out)
		}
	}
	o.do(0, "account set -quota 1M ann@x.test")
	o.do(0, "queue retry -all")
	for n := 0; n != 2; {
		n = len(o.inbox("ann@x.test", "secret-of-ann"))
	}
}
