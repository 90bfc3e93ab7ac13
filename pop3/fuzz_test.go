package pop3

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/dialog"
	"github.com/mailkeel/mailkeel/internal/linewriter"
	"github.com/mailkeel/mailkeel/internal/testclock"
)

// A script is a client that has said all it will say.
type script struct {
	net.Conn
	io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *script) Close() error                { return nil }
func (s *script) Busy(bool)                   {}
func (s *script) OnFarewell(func())           {}
func (s *script) Poison()                     {}
func (s *script) SetIdle(time.Duration)       {}
func (s *script) SetLimit(time.Time)          {}
func (s *script) Shown() []byte               { return nil }

// anyone lets everybody with the password "secret" in, without work.
type anyone struct{}

func (anyone) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	if a.Password != "secret" {
		return accounts.Login{}, accounts.ErrBadCredentials
	}
	return accounts.Login{Account: "a1"}, nil
}

// converse serves a client that says all of in, and returns what it was told.
func converse(s *Server, in string) string {
	s.init()
	sc := &script{Reader: strings.NewReader(in)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &conn{srv: s, low: sc, net: sc, ctx: ctx, log: s.logger(), remote: netip.MustParseAddr("127.0.0.1")}
	c.start()
	c.serve()
	return sc.out.String()
}

// quiet fails the test when something logs an error, such as a panic.
type quiet struct {
	slog.Handler
	t testing.TB
}

func (h quiet) Enabled(context.Context, slog.Level) bool { return true }
func (h quiet) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h quiet) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		h.t.Error(r.Message)
		r.Attrs(func(a slog.Attr) bool { h.t.Error(a); return true })
	}
	return nil
}

// wellFormed checks that what a server says is a sequence of lines within the limits
// of RFC 2449, 4, each a status, a challenge, or part of an answer of several lines.
func wellFormed(t testing.TB, out string) {
	for rest := out; rest != ""; {
		line, after, ok := strings.Cut(rest, "\r\n")
		if !ok {
			t.Fatalf("a line without end: %q", rest)
		}
		rest = after
		if strings.HasPrefix(line, "+ ") {
			continue
		}
		if len(line) > 510 || !strings.HasPrefix(line, "+OK") && !strings.HasPrefix(line, "-ERR ") || strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("%.600q is no answer", line)
		}
		if line == "+OK" || strings.HasSuffix(line, " follow") || strings.HasSuffix(line, " follows") || strings.HasSuffix(line, " octets") || strings.HasSuffix(line, "octets)") {
			// Perhaps several lines. What a message holds is fixed below: no line of
			// it looks like a status.
			for body := rest; ; {
				line, after, ok := strings.Cut(body, "\r\n")
				if !ok || strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-ERR") {
					break
				}
				if body = after; line == "." {
					rest = body
					break
				}
			}
		}
	}
}

// fuzzSession begins with seeds and with what the clients of all dialogs say.
func fuzzSession(f *testing.F, preamble string, seeds ...string) {
	said, err := dialog.Said("testdata/*.txt", func(line string) bool {
		return preamble == "" || !strings.HasPrefix(line, "USER ") && !strings.HasPrefix(line, "PASS ")
	})
	if err != nil {
		f.Fatal(err)
	}
	seeds = append(seeds, said...)
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s := &Server{
			Hostname: "h", Store: newStore(), Auth: anyone{}, InsecureAuth: true,
			Clock: new(testclock.Clock), Logger: slog.New(quiet{t: t}),
		}
		put(t, s.Store, "a1", "INBOX", "Subject: one\r\n\r\n.\r\n..\r\nhello\r\n")
		put(t, s.Store, "a1", "INBOX", "\r\n\r\n.\n.\nx")
		wellFormed(t, converse(s, preamble+in))
		s.Close()
	})
}

// FuzzAuthorization is a session before login.
func FuzzAuthorization(f *testing.F) {
	fuzzSession(f, "",
		"CAPA\r\nQUIT\r\n", "USER a\r\nPASS secret\r\nSTAT\r\n", "USER a\nPASS x\n", "PASS x\r\n", "UTF8\r\nSTLS\r\n",
		"AUTH\r\nAUTH PLAIN AGEAc2VjcmV0\r\nSTAT\r\n", "AUTH LOGIN\r\nYQ==\r\nc2VjcmV0\r\n", "AUTH PLAIN\r\n*\r\nAUTH PLAIN =\r\n",
		"APOP a b\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n \r\n", "USER "+strings.Repeat("a", 300)+"\r\n", strings.Repeat("a", 70_000),
		"AUTH PLAIN\r\n"+strings.Repeat("A", 13_000)+"\r\n", "USER \x00\r\nUSER \xff\r\n", strings.Repeat("NOOP\r\n", 120),
	)
}

// FuzzTransaction is a session with a maildrop.
func FuzzTransaction(f *testing.F) {
	fuzzSession(f, "USER a\r\nPASS secret\r\n",
		"STAT\r\nLIST\r\nUIDL\r\nCAPA\r\nQUIT\r\n", "LIST 1\r\nUIDL 2\r\nLIST 0\r\nLIST 99999999999\r\n", "RETR 1\r\nRETR 2\r\nRETR 3\r\n",
		"TOP 1 0\r\nTOP 1 2\r\nTOP 2 4294967296\r\nTOP 1 -1\r\n", "DELE 1\r\nDELE 1\r\nRETR 1\r\nRSET\r\nDELE 2\r\nQUIT\r\n", "NOOP \r\nNOOP x\r\n",
		"top 2 1\nretr 2\nquit\n", "LIST  1\r\nLIST 1 \r\n", "AUTH PLAIN\r\nUSER x\r\nSTLS\r\n",
	)
}

// FuzzStuffing sends a message in chunks: whoever undoes the stuffing has it back,
// and no line of it ends the answer, for those who take a bare LF for an end of line
// too.
func FuzzStuffing(f *testing.F) {
	for _, s := range []string{"", ".", "\r\n.\r\n", "a\n.\n.\r\n..\r\n", "\n.", "a\r", "a\r\n\r\n.b\r\n", "\r\r\n.", ".\n", "h: x\n\nb\nc"} {
		f.Add(s, 1, 0)
		f.Add(s, 3, 1)
	}
	f.Fuzz(func(t *testing.T, text string, size, lines int) {
		size = max(1, size)
		send := func(top bool) (string, int64) {
			var sb strings.Builder
			w := &writer{linewriter.Writer{W: &sb}}
			st := &stuffer{w: w, begin: true, blank: true, top: top, lines: max(0, lines), last: [2]byte{'\r', '\n'}}
			n, err := st.copy(chunks{strings.NewReader(text), size})
			if err != nil {
				t.Fatal(err)
			}
			w.release()
			return sb.String(), n
		}
		out, n := send(false)
		if n != int64(len(text)) {
			t.Errorf("%d of %d bytes", n, len(text))
		}
		check := func(out, want string) {
			var got strings.Builder
			for l := range strings.SplitAfterSeq(out, "\n") {
				if strings.TrimRight(l, "\r\n") == "." {
					t.Fatalf("%q ends itself", out)
				}
				got.WriteString(strings.TrimPrefix(l, "."))
			}
			if got.String() != want {
				t.Fatalf("%q became %q, want %q", text, got.String(), want)
			}
		}
		check(out, text)
		out, _ = send(true)
		want, left := "", max(0, lines)
		body := false
		for l := range strings.SplitAfterSeq(text, "\n") {
			if body && left == 0 {
				break
			}
			want += l
			if body {
				left--
			} else if t := strings.TrimSuffix(l, "\n"); t != l && strings.Trim(t, "\r") == "" {
				body = true
			}
		}
		check(out, want)
	})
}

// chunks reads a few bytes at a time.
type chunks struct {
	r    io.Reader
	size int
}

func (c chunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.size)]) }
