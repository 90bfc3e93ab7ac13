package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-msgauth/dkim"
	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/internal/openrelay"
	"github.com/mailkeel/mailkeel/internal/testdns"
	"github.com/mailkeel/mailkeel/mailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is postoffice in this process.
type office struct {
	t    *testing.T
	dir  string
	at   map[string]string // where the doors are
	out  string            // what it printed before it was ready
	log  *log
	stop func()
}

// log is written by the program while the test reads it.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// free are flags for free loopback ports.
var free = []string{"-smtp", "127.0.0.1:0", "-submission", "127.0.0.1:0", "-submissions", "127.0.0.1:0", "-imap", "127.0.0.1:0", "-imaps", "127.0.0.1:0", "-http", "127.0.0.1:0"}

// start runs postoffice until stop, or the end of the test.
func start(t *testing.T, dir string, args ...string) *office {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	o := &office{t: t, dir: dir, at: map[string]string{}, log: &log{}}
	code := make(chan int, 1)
	go func() {
		all := append(append([]string{"-dir", dir}, free...), args...)
		c := run(ctx, all, strings.NewReader(""), w, o.log)
		w.Close()
		code <- c
	}()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if c := <-code; c != 0 {
			t.Errorf("exit code %d\n%s", c, o.log)
		}
	})
	t.Cleanup(o.stop)
	ready := false
	lines := bufio.NewScanner(r)
	for !ready && lines.Scan() {
		ready = lines.Text() == "ready"
		o.out += lines.Text() + "\n"
		if words := strings.Fields(lines.Text()); len(words) > 2 && strings.HasPrefix(lines.Text(), "  ") {
			o.at[words[0]] = words[1]
		}
	}
	if !ready {
		t.Fatalf("not ready:\n%s%s", o.out, o.log)
	}
	return o
}

// fails runs postoffice and wants it to end with an exit code and a word on stderr.
func fails(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if got := run(ctx, args, strings.NewReader(""), writerFunc(func(b []byte) (int, error) {
		if strings.Contains(string(b), "ready") {
			cancel() // it runs, and should not
		}
		return out.Write(b)
	}), &errs); got != code || !strings.Contains(errs.String(), want) {
		t.Errorf("%q: exit code %d, want %d with %q:\n%s%s", args, got, code, want, &out, &errs)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// do runs a command on the directory.
func (o *office) do(code int, line string) string {
	o.t.Helper()
	var out, errs bytes.Buffer
	got := run(o.t.Context(), append(strings.Fields(line), "-dir", o.dir), strings.NewReader(""), &out, &errs)
	if got != code {
		o.t.Errorf("%s: exit code %d, want %d:\n%s%s", line, got, code, &out, &errs)
	}
	return out.String() + errs.String()
}

// send sends through a door after STARTTLS, and with a login if there is a user.
func send(addr, user, password, from, to, msg string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		return err
	}
	if user != "" {
		if err := c.Auth(plain{user, password}); err != nil {
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
	io.WriteString(w, msg)
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// plain lets PLAIN go to an address: net/smtp compares the name of the server.
type plain struct{ user, password string }

func (p plain) Start(s *smtp.ServerInfo) (string, []byte, error) {
	return smtp.PlainAuth("", p.user, p.password, "x").Start(&smtp.ServerInfo{Name: "x", TLS: s.TLS, Auth: s.Auth})
}
func (p plain) Next([]byte, bool) ([]byte, error) { return nil, nil }

// inbox reads all messages of an INBOX over IMAP.
func (o *office) inbox(user, password string) (all []string) {
	o.t.Helper()
	c, err := imapclient.DialTLS(o.at["imaps"], &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		o.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(user, password).Wait(); err != nil {
		o.t.Fatal(err)
	}
	d, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		o.t.Fatal(err)
	}
	if d.NumMessages > 0 {
		whole := &imap.FetchItemBodySection{Peek: true}
		got, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		if err != nil {
			o.t.Fatal(err)
		}
		for _, m := range got {
			all = append(all, string(m.FindBodySection(whole)))
		}
	}
	if err := c.Logout().Wait(); err != nil {
		o.t.Error(err)
	}
	return all
}

const letter = "From: zoe@example.net\r\nSubject: hello\r\n\r\nIt works.\r\n"

func TestFirstRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	o := start(t, dir)
	pw, err := os.ReadFile(filepath.Join(dir, "demo-password"))
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimSpace(string(pw))
	for _, part := range []string{password, "demo@example.test", "curl", "held", "smtp://" + o.at["smtp"], "imaps://" + o.at["imaps"]} {
		if !strings.Contains(o.out, part) {
			t.Errorf("no %q in\n%s", part, o.out)
		}
	}
	if err := send(o.at["smtp"], "", "", "zoe@example.net", "demo@example.test", letter); err != nil {
		t.Fatal(err)
	}
	first := o.inbox("demo@example.test", password)
	if len(first) != 1 || !strings.HasSuffix(first[0], letter) {
		t.Fatalf("the inbox has %q", first)
	}
	// A second server of the same directory is refused, and says why.
	fails(t, 1, fmt.Sprintf("belongs to process %d", os.Getpid()), "-dir", dir, "-smtp", "127.0.0.1:0")
	o.stop()
	for _, f := range []string{"VERSION", "LOCK", "mail.db", "tls.pem", "demo-password"} {
		if fi, err := os.Stat(filepath.Join(dir, f)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, fi, err)
		}
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", fi, err)
	}

	// It is still there, and the password is printed again.
	o = start(t, dir)
	if !strings.Contains(o.out, password) {
		t.Error("the second start does not print the password")
	}
	if again := o.inbox("demo@example.test", password); len(again) != 1 || again[0] != first[0] {
		t.Errorf("after a restart the inbox has %q", again)
	}
	// Once it was changed or is gone there is nothing to print, or to make.
	o.do(0, "account set -new-password demo@example.test")
	o.stop()
	o = start(t, dir)
	if strings.Contains(o.out, password) {
		t.Error("it prints a password that does not hold any more")
	}
	o.do(0, "account add ann@example.test")
	o.do(0, "account delete demo@example.test")
	o.stop()
	o = start(t, dir)
	if out := o.do(0, "account list"); strings.Contains(out, "demo@") || !strings.Contains(o.out, "account add") {
		t.Errorf("after it was deleted:\n%s%s", out, o.out)
	}
	// Where there is nobody it comes back: so does it after a first start that
	// was cut short.
	o.do(0, "account delete ann@example.test")
	o.stop()
	if o = start(t, dir); !strings.Contains(o.out, password) {
		t.Errorf("nobody is there:\n%s", o.out)
	}
}

func TestCommandsWithAndWithoutAServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	fails(t, 1, "nothing is kept there yet", "account", "list", "-dir", dir)
	o := start(t, dir, "-domain", "x.test", "-account", "ann@x.test:secret-of-ann", "-account", "root@y.test:secret-of-root")
	for _, running := range []bool{true, false} {
		if !running {
			o.stop()
		}
		if out := o.do(0, "domain list -json"); out != "{\"name\":\"x.test\"}\n{\"name\":\"y.test\"}\n" {
			t.Errorf("running %v: %s", running, out)
		}
		o.do(0, "account add -password secret-of-bob bob@x.test")
		o.do(0, "alias add team@x.test ann@x.test bob@x.test")
		o.do(0, "queue list")
		o.do(1, "queue show nothing")
		if out := o.do(0, "check"); !strings.Contains(out, "everything is as it should be") {
			t.Error(out)
		}
		o.do(0, "alias delete team@x.test")
		o.do(0, "account disable bob@x.test")
		o.do(0, "account delete bob@x.test")
		o.do(1, "domain delete x.test")
		o.do(2, "account dance")
	}
	// The directory may stand before the command, and come from the file.
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-dir", dir, "-json", "domain", "list"}, nil, &out, &out); code != 0 || !strings.Contains(out.String(), `"name":"y.test"`) {
		t.Errorf("%d %s", code, &out)
	}
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "dir = %q\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := run(t.Context(), []string{"-config", file, "domain", "list"}, nil, &out, &out); code != 0 || !strings.Contains(out.String(), "y.test") {
		t.Errorf("%d %s", code, &out)
	}
	fails(t, 2, `"dance"`, "-dir", dir, "dance")
}

func TestAStartDoesNotUndoChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	args := []string{"-hostname", "mx.Bücher.test", "-domain", "Bücher.test", "-account", "ann@bücher.test:secret-of-ann"}
	o := start(t, dir, args...)
	o.do(0, "domain set -catch-all ann@xn--bcher-kva.test xn--bcher-kva.test")
	o.do(0, "account set -password another-secret -quota 1M ann@xn--bcher-kva.test")
	o.stop()
	o = start(t, dir, args...)
	if out := o.do(0, "domain list -json"); out != `{"name":"xn--bcher-kva.test","catch_all":"ann@xn--bcher-kva.test"}`+"\n" {
		t.Error(out)
	}
	if out := o.do(0, "account list -json"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"quota":1048576`) {
		t.Error(out)
	}
	if n := len(o.inbox("ann@xn--bcher-kva.test", "another-secret")); n != 0 {
		t.Errorf("%d messages", n)
	}
	// That the password of the command line is not the one is said.
	if log := o.log.String(); !strings.Contains(log, "it exists and does not log in with this password") || strings.Contains(log, "secret") {
		t.Errorf("the log has\n%s", log)
	}
}

func TestWhatIsRefusedAtTheStart(t *testing.T) {
	dir := func() string { return filepath.Join(t.TempDir(), "data") }
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{1, "loopback", []string{"-insecure-auth", "-imap", "0.0.0.0:0"}},
		{1, "loopback", []string{"-insecure-auth", "-submission", ":0"}},
		{1, "loopback", []string{"-insecure-auth", "-smtp", "192.0.2.1:25"}},
		{1, "lmtp", []string{"-lmtp", "0.0.0.0:0"}},
		{1, "lmtp", []string{"-lmtp", ":24"}},
		{1, "cannot open smtp", []string{"-smtp", busy.Addr().String()}},
		{1, "another program listens there", []string{"-imaps", busy.Addr().String()}},
		{1, "no such file", []string{"-cert", "/nowhere/cert", "-key", "/nowhere/key"}},
		{1, "-account ann@x.test", []string{"-account", "ann@x.test:pw"}},
		{1, "give host:port", []string{"-lmtp", "24"}},
		{2, "-hostname", []string{"-hostname", "not a name"}},
		{2, "-domain", []string{"-domain", "not a domain"}},
		{2, "-smtp", []string{"-smtp", "25"}},
		{2, "-relay", []string{"-relay", "smart.test"}},
		{2, "-cert and -key", []string{"-cert", "x"}},
		{2, "choose one", []string{"-relay", "x:25", "-direct"}},
		{2, "not user@domain:password", []string{"-account", "ann"}},
		{2, "not user@domain:password", []string{"-account", "ann@x.test"}},
		{2, "no network", []string{"-trusted", "everyone"}},
		{2, "-colour", []string{"-colour", "red"}},
		{2, "neither", []string{"smtp"}},
		{2, "no such file", []string{"-config", "/nowhere"}},
		{2, "relay-password", []string{"-relay-password", "x"}},
	} {
		fails(t, tt.code, tt.want, append(append([]string{"-dir", dir()}, free...), tt.args...)...)
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	fails(t, 1, "not a directory", "-dir", file)
	later := dir()
	os.MkdirAll(later, 0o700)
	os.WriteFile(filepath.Join(later, "VERSION"), []byte("99\n"), 0o600)
	fails(t, 1, "another layout", append([]string{"-dir", later}, free...)...)
}

func TestHelp(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, nil, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Errorf("exit code %d, %s", code, &errs)
	}
	for _, flag := range []string{"dir", "config", "hostname", "domain", "account", "smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s",
		"http", "cert", "key", "relay", "direct", "resolver", "trusted", "insecure-auth", "compress", "sign"} {
		if !strings.Contains(out.String(), "\n  -"+flag+" ") && !strings.Contains(out.String(), "\n  -"+flag+"\n") {
			t.Errorf("-h does not tell of -%s", flag)
		}
	}
	// These names are fixed: other programs script them.
	for group, verbs := range map[string]string{
		"account": "add list set disable delete", "domain": "add list set delete", "alias": "add list set delete",
		"queue": "list show hold release retry drop", "check": "", "dns": "", "profile": "",
	} {
		for _, verb := range strings.Split(verbs, " ") {
			cmd := strings.TrimSpace(group + " " + verb)
			if !strings.Contains(out.String(), "\n  "+cmd+" ") {
				t.Errorf("-h does not tell of %s", cmd)
			}
			var about bytes.Buffer
			if code := run(t.Context(), append(strings.Fields(cmd), "-h"), nil, &about, &errs); code != 0 || errs.Len() > 0 ||
				!strings.Contains(about.String(), "usage: postoffice "+cmd+" ") || !strings.Contains(about.String(), "\n  -json\n") {
				t.Errorf("%s -h: %d %s%s", cmd, code, &about, &errs)
			}
		}
	}
}

// TestNoExampleIsAnOpenRelay is T4 for the default configuration, and for peers
// that are trusted and users that are known: they may do no more there.
func TestPostofficeIsNoOpenRelay(t *testing.T) {
	o := start(t, filepath.Join(t.TempDir(), "data"), "-hostname", "mx.example.test", "-account", "ann@example.test:secret-of-ann",
		"-trusted", "127.0.0.0/8", "-direct", "-resolver", "127.0.0.1:1", "-lmtp", "127.0.0.1:0")
	p := openrelay.Probe{Local: "ann@example.test", Hostname: "mx.example.test"}
	for _, d := range []string{"smtp", "submission"} {
		p.Addr = o.at[d]
		t.Run(d, func(t *testing.T) { openrelay.Check(t, p) })
	}
	// Users may send to anyone, but as themselves.
	p.Addr, p.User, p.Password, p.From = o.at["submission"], "ann@example.test", "secret-of-ann", "boss@example.test"
	t.Run("as someone else", func(t *testing.T) { openrelay.Check(t, p) })
	if out := o.do(0, "queue list"); !strings.Contains(out, "nothing is queued") {
		t.Errorf("queued:\n%s", out)
	}
}

func TestOutgoingMail(t *testing.T) {
	world := mailtest.New(t, mailtest.Options{Strict: true})
	world.Account("zoe@far.test", "secret")
	_, port, _ := net.SplitHostPort(world.SMTPAddr())
	dns := testdns.New(t, "far.test. MX 10 mx.far.test.", "mx.far.test. A 127.0.0.1")
	file := filepath.Join(t.TempDir(), "direct.toml")
	if err := os.WriteFile(file, []byte("direct-port = "+port+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	const out = "From: ann@x.test\r\nTo: zoe@far.test\r\nSubject: out\r\n\r\nhi\r\n"
	write := func(o *office) {
		t.Helper()
		if err := send(o.at["submission"], "ann@x.test", "secret-of-ann", "ann@x.test", "zoe@far.test", out); err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(n int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if m := world.WaitN(ctx, n, mailtest.Any())[n-1]; m.Header("Return-Path") != "<ann@x.test>" || m.Body() != "hi\r\n" {
			t.Errorf("arrived:\n%s", m.Raw)
		}
	}
	// signed verifies the last that arrived with what the command shows.
	signed := func(o *office, want int) {
		t.Helper()
		records := map[string][]string{}
		for line := range strings.Lines(o.do(0, "dns -json")) {
			var r struct{ Name, Type, Value string }
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			records[r.Name] = append(records[r.Name], r.Value)
		}
		all := world.Messages(mailtest.Any())
		vs, err := dkim.VerifyWithOptions(bytes.NewReader(all[len(all)-1].Raw), &dkim.VerifyOptions{
			LookupTXT: func(name string) ([]string, error) { return records[strings.TrimSuffix(name, ".")], nil },
		})
		good := 0
		for _, v := range vs {
			if v.Err == nil && v.Domain == "x.test" {
				good++
			}
		}
		if err != nil || good != want || len(vs) != want {
			t.Errorf("%d signatures of %d hold, want %d: %v", good, len(vs), want, err)
		}
	}
	o := start(t, dir, "-account", "ann@x.test:secret-of-ann")
	write(o)
	var it struct{ ID, State, Last string }
	for it.State != "held" { // the queue looks at it beside us
		if err := json.Unmarshal([]byte(o.do(0, "queue list -json")), &it); err != nil {
			t.Fatal(err)
		}
	}
	o.do(0, "queue release "+it.ID)
	o.stop()
	// With a way out, what waited for it goes, and then the rest.
	o = start(t, dir, "-relay", world.SMTPAddr())
	arrived(1)
	signed(o, 2)
	write(o)
	arrived(2)
	o.stop()
	o = start(t, dir, "-relay", world.SMTPAddr(), "-sign=false")
	write(o)
	arrived(3)
	signed(o, 0)
	o.stop()
	o = start(t, dir, "-direct", "-resolver", dns.Addr, "-config", file)
	write(o)
	arrived(4)
	signed(o, 2) // by the keys of the first start
}
