package imap

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/internal/dialog"
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
func (s *script) Wake()                       {}
func (s *script) QuickAck()                   {}
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
func converse(t testing.TB, s *Server, in string) string {
	return converseFrom(t, s, netip.MustParseAddr("127.0.0.1"), in)
}

func converseFrom(t testing.TB, s *Server, addr netip.Addr, in string) string {
	s.init()
	sc := &script{Reader: strings.NewReader(in)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &conn{srv: s, low: sc, net: sc, ctx: ctx, log: s.logger(), remote: addr}
	c.w.W, c.w.Small = c.net, true
	c.in = newInput(c, &c.w)
	c.serve()
	return sc.out.String()
}

// notPanic fails the test when something logs a panic.
type notPanic struct {
	slog.Handler
	t testing.TB
}

func (h notPanic) Enabled(context.Context, slog.Level) bool { return true }

func (h notPanic) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h notPanic) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		var sb strings.Builder
		r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&sb, "%s=%v\n", a.Key, a.Value); return true })
		h.t.Errorf("%s: %s", r.Message, sb.String())
	}
	return nil
}

var announced = regexp.MustCompile(`~?\{([0-9]+)\}$`)

// wellFormed checks that what a server says is a sequence of responses: lines that
// begin with "* ", "+ " or a tag that the client sent, with their literals.
func wellFormed(t testing.TB, in, out string) {
	rest := out
	for rest != "" {
		begin := rest
		for {
			line, after, ok := strings.Cut(rest, "\r\n")
			if !ok || strings.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("line without end, or with a control character: %q", line)
			}
			rest = after
			m := announced.FindStringSubmatch(line)
			if m == nil {
				break
			}
			n, err := strconv.Atoi(m[1])
			if err != nil || n > len(rest) {
				t.Fatalf("literal of %s, and %d bytes are left", m[1], len(rest))
			}
			rest = rest[n:]
		}
		tag, _, ok := strings.Cut(begin, " ")
		if !ok || tag != "*" && tag != "+" && !strings.Contains(in, tag) {
			t.Fatalf("%.100q is no response", begin)
		}
	}
}

// everybody is anyone with every mechanism: tokens, certificates, acting as others.
type everybody struct{ *static.Directory }

func (everybody) Authenticate(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	return anyone{}.Authenticate(ctx, a)
}

// spoken is what the clients of all dialogs say, a connection each: so that a new
// command is fuzzed once it has a dialog. Commands in skip are left out.
func spoken(f *testing.F, skip ...string) []string {
	all, err := dialog.Said("testdata/*.txt", func(line string) bool {
		w := strings.Fields(line)
		return len(w) < 2 || !slices.Contains(skip, strings.ToUpper(w[1]))
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

// farewell ends whatever a client may have begun: a line, an exchange, IDLE, and
// literals of any size that is taken.
var farewell = "\r\n*\r\nDONE\r\n" + strings.Repeat("zz NOOP"+strings.Repeat(" ", 6000)+"\r\n", 14)

// fuzzSession checks what holds for whatever a client says: nothing panics; what the
// server says is a sequence of responses; every tag in it is one of the client's, and
// no more often than a line of the client has it; the next command is answered, or the
// connection ends with a BYE; and it costs memory in proportion.
func fuzzSession(f *testing.F, preamble string, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s := &Server{
			Hostname: "h", Store: newStore(), Auth: everybody{grants()}, InsecureAuth: true, MaxAppend: 10_000,
			Clock: new(testclock.Clock), Logger: slog.New(notPanic{t: t}),
		}
		put(t, s.Store, "a1", inbox, "Subject: one\nTo: x\n\nhello\n", `\Seen`)
		put(t, s.Store, "a1", inbox, "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n", "kw")
		said := preamble + in + farewell
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out := converse(t, s, said)
		runtime.ReadMemStats(&after)
		s.Close()
		wellFormed(t, said, out)
		answered(t, said, out)
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(32<<20+200*len(said)+20*len(out)); used > most {
			t.Errorf("%d bytes were allocated for %d and %d bytes", used, len(said), len(out))
		}
	})
}

// answered checks the tags of what a server said.
func answered(t testing.TB, in, out string) {
	tags := map[string]int{}
	for l := range strings.SplitSeq(in, "\n") {
		tag, _, _ := strings.Cut(strings.TrimLeft(l, " "), " ")
		tags[strings.TrimRight(tag, "\r")]++
	}
	if !strings.Contains(out, "\r\nzz OK ") && !strings.Contains(out, "* BYE ") {
		t.Fatalf("the last commands are not answered: %.300q", out[max(0, len(out)-300):])
	}
	given := map[string]int{}
	for l := range strings.SplitSeq(out, "\r\n") {
		f := strings.SplitN(l, " ", 3)
		if len(f) == 3 && f[0] != "*" && f[0] != "+" && (f[1] == "OK" || f[1] == "NO" || f[1] == "BAD") {
			given[f[0]]++
		}
	}
	for tag, n := range given {
		// What a literal or a message holds may look like an answer, too.
		if n > tags[tag] && tags[tag] > 0 && strings.Count(in, tag) < n {
			t.Fatalf("%d answers to %q, which was said %d times", n, tag, tags[tag])
		}
	}
}

const (
	loginPreamble  = "p LOGIN a secret\r\n"
	selectPreamble = loginPreamble + "q SELECT INBOX\r\n"
)

// FuzzEarly is a session before login.
func FuzzEarly(f *testing.F) {
	for _, s := range spoken(f) {
		f.Add(s)
	}
	fuzzSession(f, "",
		"a CAPABILITY\r\nb NOOP\r\nc LOGOUT\r\n",
		"a LOGIN {1}\r\na {6+}\r\nsecret\r\nb NOOP\r\n",
		"a AUTHENTICATE PLAIN AGEAc2VjcmV0\r\n",
		"a AUTHENTICATE LOGIN\r\nYQ==\r\nc2VjcmV0\r\n",
		"a AUTHENTICATE PLAIN\r\n*\r\n",
		"a ID (\"name\" \"x\" \"version\" NIL)\r\n",
		"a STARTTLS\r\nb LOGIN a secret\r\n",
		"a LOGIN {5000+}\r\nx\r\n", "a LOGIN {99999999999999999999}\r\n", "a LOGIN {-1}\r\n", "a APPEND INBOX {10}\r\n",
		"\r\n\r\n* x\r\n+ y\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "a \x00\r\n", "a LOGIN \"\\\"\" \"\"\n",
	)
}

// FuzzLoggedIn is a session without a mailbox.
func FuzzLoggedIn(f *testing.F) {
	for _, s := range spoken(f, "LOGIN", "AUTHENTICATE", "STARTTLS") {
		f.Add(s)
	}
	fuzzSession(f, loginPreamble,
		"a ENABLE IMAP4rev2 UTF8=ACCEPT\r\nb LIST \"\" *\r\n",
		"a CREATE &U,BTFw-/x (USE (\\Sent))\r\nb LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% *) RETURN (STATUS (MESSAGES SIZE) CHILDREN)\r\nc DELETE &U,BTFw-\r\n",
		"a RENAME INBOX \"x\\\"y\"\r\nb LSUB \"\" %\r\nc SUBSCRIBE x\r\nd UNSUBSCRIBE x\r\n",
		"a STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE APPENDLIMIT RECENT)\r\n",
		"a APPEND INBOX (\\Seen kw) \"17-Jul-1996 02:44:25 -0700\" {5+}\r\nhello\r\n",
		"a APPEND INBOX UTF8 (~{5+}\r\nhello)\r\n", "a APPEND nowhere {5+}\r\nhello\r\n", "a APPEND INBOX {3+}\r\nabc {3+}\r\ndef\r\n",
		"a NAMESPACE\r\nb EXAMINE INBOX\r\nc CLOSE\r\nd SELECT INBOX\r\ne UNSELECT\r\n",
		"a CREATE {4}\r\na\r\nb\r\n", "a LIST ((((((\r\n", "a LIST \"\" "+strings.Repeat("*%", 500)+"\r\n",
		"a IDLE\r\nDONE\r\n",
		"a NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)) (subtree (x \"y z\") NONE)\r\nb CREATE x/y\r\nc RENAME x z\r\nd DELETE z/y\r\ne UNSUBSCRIBE z\r\nf NOTIFY NONE\r\n",
		"a NOTIFY SET (mailboxes {1+}\r\nx (MailboxName Other))\r\n", "a NOTIFY SET (selected (MessageNew (BODY[TEXT",
		"a ENABLE QRESYNC CONDSTORE\r\nb SELECT INBOX (QRESYNC (1767323045 1 1:9 (1:2 1:2)))\r\nc UID STORE 1:* +FLAGS (\\Deleted)\r\nd EXPUNGE\r\n",
		"a ENABLE QRESYNC UIDONLY\r\nb SELECT INBOX (CONDSTORE QRESYNC (1767323045 2 (1,4294967295 2:3)))\r\nc UID FETCH 1:* FLAGS (VANISHED CHANGEDSINCE 1 PARTIAL -1:-3)\r\n",
		"a STATUS INBOX (HIGHESTMODSEQ MAILBOXID)\r\nb LIST \"\" % RETURN (STATUS (HIGHESTMODSEQ))\r\n",
	)
}

// FuzzSelected is a session with a mailbox.
func FuzzSelected(f *testing.F) {
	for _, s := range spoken(f, "LOGIN", "AUTHENTICATE", "STARTTLS", "SELECT", "EXAMINE", "CLOSE", "UNSELECT") {
		f.Add(s)
	}
	fuzzSession(f, selectPreamble,
		"a STORE 1:* +FLAGS (\\Deleted x)\r\nb EXPUNGE\r\n",
		"a UID STORE 1,2 FLAGS.SILENT \\Seen\r\nb NOOP\r\n",
		"a CREATE x\r\nb COPY * x\r\nc UID MOVE 1:* x\r\nd CHECK\r\n",
		"a UID EXPUNGE 1:*\r\nb CLOSE\r\nc SELECT INBOX\r\n",
		"a FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY)\r\n",
		"a UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (To Subject)] BODY[1.MIME]<0.10> BINARY.PEEK[1] BINARY.SIZE[2])\r\n",
		"a FETCH 1 ALL\r\nb FETCH 2 FULL\r\nc FETCH 1 (RFC822.HEADER RFC822.TEXT RFC822)\r\n",
		"a SEARCH RETURN (MIN MAX COUNT ALL SAVE) OR SEEN NOT (SUBJECT one BODY hello)\r\nb FETCH $ FLAGS\r\n",
		"a UID SEARCH CHARSET UTF-8 TEXT {5+}\r\nhello SINCE 1-Feb-1994 LARGER 5 KEYWORD kw 1:*\r\n",
		"a SORT RETURN (UPDATE ALL PARTIAL 1:2) (REVERSE SUBJECT DISPLAYFROM DATE) UTF-8 FUZZY (TEXT one) OLDER 5\r\nb STORE 1 +FLAGS x\r\nc CANCELUPDATE \"a\"\r\n",
		"a UID THREAD REFERENCES US-ASCII ALL\r\nb THREAD ORDEREDSUBJECT UTF-8 NOT $\r\nc THREAD REFS UTF-8 1\r\n",
		"a SEARCH RETURN (UPDATE RELEVANCY) FUZZY OR SUBJECT \"o n\" BODY hello\r\nb STORE 1:* +FLAGS.SILENT \\Deleted\r\nc EXPUNGE\r\n",
		"a ESEARCH IN (selected personal subtree (INBOX \"x/y\") inboxes) RETURN (MIN SAVE) UID 1:*\r\n",
		"a SEARCH "+strings.Repeat("NOT ", 60)+"SEEN\r\n", "a SEARCH "+strings.Repeat("(", 60)+"\r\n", "a SEARCH "+strings.Repeat("OR ", 60)+"\r\n",
		"a NOTIFY SET (selected-delayed (MessageNew (FLAGS ENVELOPE BODY[TEXT]<1.5>) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge))\r\nb APPEND INBOX {5+}\r\nhello\r\nc COPY 1 INBOX\r\nd IDLE\r\nDONE\r\n",
		"a UID FETCH 1:* (MODSEQ EMAILID THREADID SAVEDATE PREVIEW (LAZY)) (CHANGEDSINCE 1 PARTIAL 1:2)\r\n",
		"a STORE 1:2 (UNCHANGEDSINCE 2) +FLAGS.SILENT (\\Seen)\r\nb STORE 1 (UNCHANGEDSINCE 0) FLAGS ()\r\nc FETCH 1 PREVIEW (CHANGEDSINCE 9)\r\n",
		"a SEARCH RETURN (ALL MIN) OR MODSEQ \"/flags/\\\\Seen\" all 2 NOT EMAILID M1 SAVEDON 1-Jan-2026 THREADID T1 SAVEDATESUPPORTED\r\n",
		"a STORE 4294967295:*,* -FLAGS ()\r\n", "a COPY 0 INBOX\r\n",
	)
}

// FuzzIdle is a session in IDLE.
func FuzzIdle(f *testing.F) {
	fuzzSession(f, selectPreamble+"i IDLE\r\n",
		"DONE\r\na NOOP\r\n", "done\r\n", "DONE {5+}\r\nhello\r\n", "a NOOP\r\nDONE\r\n", "\r\n", "DONE", strings.Repeat("DONE", 5000)+"\r\na NOOP\r\n",
	)
}

// FuzzContinuation is a client in the middle of an exchange.
func FuzzContinuation(f *testing.F) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, seed := range []string{
		"PLAIN\r\n" + b64("\x00a\x00secret") + "\r\n", "PLAIN\r\n*\r\n", "PLAIN =\r\n", "LOGIN =\r\nx\r\n",
		"LOGIN\r\n" + b64("a") + "\r\n" + b64("secret") + "\r\n",
		"SCRAM-SHA-256 " + b64("n,,n=ann@example.org,r=abc") + "\r\n" + b64("c=biws,r=abc,p=AAAA") + "\r\n",
		"SCRAM-SHA-256\r\n\r\n" + b64("y,a=bob@example.org,n=ann@example.org,r=abc") + "\r\n*\r\n",
		"SCRAM-SHA-256-PLUS\r\n", "EXTERNAL =\r\n", "NONESUCH\r\n",
		"OAUTHBEARER " + b64("n,a=a@b,\x01auth=Bearer x\x01\x01") + "\r\nAQ==\r\n", "OAUTHBEARER\r\n" + b64("n,,\x01auth=\x01\x01") + "\r\n*\r\n",
		"XOAUTH2 " + b64("user=a@b\x01auth=Bearer x\x01\x01") + "\r\n\r\n",
		"PLAIN\r\n{10+}\r\n0123456789\r\n", "PLAIN\r\n" + strings.Repeat("A", 9000) + "\r\n", "PLAIN " + strings.Repeat("A", 9000) + "\r\n",
		"PLAIN\r\nAA\tAA\r\nb NOOP\r\n", "PLAIN\r\nAAAA\x00\r\nb NOOP\r\n",
	} {
		f.Add(seed)
	}
	fuzzSession(f, "a AUTHENTICATE ")
}
