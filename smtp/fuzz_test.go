package smtp_test

import (
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/smtp"
)

// states are what was said before the fuzzed bytes.
var states = []struct {
	name, said  string
	lmtp, login bool
}{
	{name: "at the beginning"},
	{name: "after EHLO", said: "EHLO x\r\n"},
	{name: "after MAIL", said: "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\n"},
	{name: "after RCPT", said: "EHLO x\r\nMAIL FROM:<zoe@example.net> SMTPUTF8\r\nRCPT TO:<both@example.org>\r\n"},
	{name: "in content", said: "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"},
	{name: "in a chunk", said: "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nBDAT 20\r\n"},
	{name: "in AUTH", said: "EHLO x\r\nAUTH LOGIN\r\n"},
	{name: "logged in", said: "EHLO x\r\nAUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00secret-a1")) + "\r\n", login: true},
	{name: "LMTP", said: "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<both@example.org>\r\n", lmtp: true},
}

// panics fails a test when something says that it panicked.
type panics struct {
	slog.Handler
	t *testing.F
}

func (p panics) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panic") {
		p.t.Errorf("%v", r)
	}
	return nil
}

func (p panics) Enabled(context.Context, slog.Level) bool { return true }
func (p panics) WithAttrs([]slog.Attr) slog.Handler       { return p }

// FuzzSession sends any bytes in any state. Nothing panics, each reply is one, and
// what is delivered is whole and clean.
func FuzzSession(f *testing.F) {
	dialogs, err := filepath.Glob("testdata/dialogs/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range dialogs {
		text, err := os.ReadFile(d)
		if err != nil {
			f.Fatal(err)
		}
		var b strings.Builder
		for l := range strings.SplitSeq(string(text), "\n") {
			if line, ok := strings.CutPrefix(l, "C: "); ok {
				b.WriteString(line + "\r\n")
			}
		}
		f.Add(byte(0), []byte(b.String()))
		f.Add(byte(7), []byte(b.String()))
	}
	for i := range states {
		for _, e := range ends {
			f.Add(byte(i), []byte("first"+e.text+smuggled))
		}
		for _, rc := range recipients {
			f.Add(byte(i), []byte("RCPT TO:"+rc.path+" NOTIFY=NEVER ORCPT=utf-8;a\\x{C3A4}\r\nDATA\r\n.\r\nBDAT 3 LAST\r\nabc"))
		}
	}
	f.Add(byte(1), []byte("STARTTLS\r\nNOOP\r\n"))
	f.Add(byte(4), []byte("Received: a\r\nAuthentication-Results: (x)\r\n mx.example.org; spf=pass\r\n\r\n..\r\n.\r\nQUIT\r\n"))
	f.Add(byte(6), []byte("*\r\nAUTH SCRAM-SHA-256 bixhPXgsbj14LHI9eA==\r\n*\r\n"))

	var mu sync.Mutex
	var t *testing.T
	check := transport(func(_ context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
		mu.Lock()
		defer mu.Unlock()
		rc, err := c.Open(context.Background())
		if err != nil {
			t.Error(err)
		}
		data, err := io.ReadAll(rc)
		if err != nil {
			t.Error(err)
		}
		text := string(data)
		lines := strings.ReplaceAll(text, "\r\n", "")
		if strings.ContainsAny(lines, "\r\n\x00") || !strings.HasPrefix(text, "Received: from ") || int64(len(data)) != c.Size() {
			t.Errorf("content %q", text)
		}
		all := env.From + env.EnvelopeID + env.Return + env.Origin.Hello
		if env.From != "" {
			checkAddr(t, env.From, env.UTF8)
		}
		if len(env.Rcpts) == 0 || len(env.ID) != 26 {
			t.Errorf("%+v", env)
		}
		for _, rc := range env.Rcpts {
			all += rc.Addr + rc.Given + rc.Orcpt + rc.Mailbox
			checkAddr(t, rc.Addr, env.UTF8)
			if rc.Account == "" && env.Submitter == "" && rc.Addr != "ann@elsewhere.example" { // an alias
				t.Errorf("relayed: %+v", rc)
			}
		}
		if strings.ContainsFunc(all, unicode.IsControl) {
			t.Errorf("%q", all)
		}
		return make([]mailkeel.Result, len(env.Rcpts))
	})
	servers := map[bool]*pipes{}
	for _, lmtp := range []bool{false, true} {
		_, ln := newPipeRig(f, func(s *smtp.Server) {
			s.Auth, s.InsecureAuth, s.LMTP, s.Next, s.MaxBytes = users(), true, lmtp, check, 1<<20
			s.Logger = slog.New(panics{slog.DiscardHandler, f})
		})
		servers[lmtp] = ln
	}
	f.Fuzz(func(now *testing.T, state byte, data []byte) {
		mu.Lock()
		t = now
		mu.Unlock()
		st := states[int(state)%len(states)]
		c, s := net.Pipe()
		servers[st.lmtp].ch <- &addressed{Conn: s, remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}
		var replies []byte
		var wg sync.WaitGroup
		wg.Go(func() { replies, _ = io.ReadAll(c) })
		if _, err := io.WriteString(c, st.said); err == nil {
			c.Write(data)
		}
		c.Close()
		wg.Wait()
		lines := strings.Split(string(replies), "\r\n")
		for i, l := range lines[:len(lines)-1] { // the last may be cut off
			if len(l) < 4 || strings.Trim(l[:3], "0123456789") != "" || l[0] < '2' || l[0] > '5' || l[3] != ' ' && l[3] != '-' || len(l) > 510 || strings.ContainsFunc(l, unicode.IsControl) {
				if !strings.HasPrefix(lines[max(i-1, 0)], "220 2.0.0 ready") { // then TLS talks
					now.Errorf("reply %q", l)
				}
				break
			}
		}
	})
}

func checkAddr(t *testing.T, a string, utf8 bool) {
	t.Helper()
	m, err := addr.Parse(a, utf8)
	if err != nil || m.String() != a {
		t.Errorf("address %q: %v", a, err)
	}
}
