package imap

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// besieged is a server for converse, which fails the test when it logs a panic.
func besieged(t testing.TB) *Server {
	s := &Server{
		Hostname: "h", Store: newStore(), Auth: anyone{}, InsecureAuth: true, MaxAppend: 10_000,
		Clock: new(testclock.Clock), Logger: slog.New(notPanic{t: t}),
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// T14: before login no literal of more than 4 KB is asked for, and no message at all;
// the answer is there without another byte of the client.
func TestT14_LiteralsAreRefusedAtOnce(t *testing.T) {
	s := besieged(t)
	for _, n := range []string{"4097", "2147483648", "4294967296", "9223372036854775808", "99999999999999999999999", "-1", "", "0x10", "1 "} {
		for _, form := range []string{"{%s}", "{%s+}", "~{%s}", "~{%s+}"} {
			for _, cmd := range []string{"LOGIN ", "LOGIN ann ", "ID (\"name\" ", "APPEND INBOX ", "SELECT ", "AUTHENTICATE PLAIN ", "NONESUCH "} {
				in := "a " + cmd + fmt.Sprintf(form, n) + "\r\n"
				out := converse(t, s, in)
				wellFormed(t, in, out)
				if strings.Contains(out, "\r\n+") || !strings.Contains(out, "\r\na BAD ") && !strings.Contains(out, "\r\n* BYE ") {
					t.Errorf("%q: %q", in, out)
				}
			}
		}
	}
	for _, in := range []string{"a APPEND INBOX {10}\r\n", "a APPEND INBOX (\\Seen) {10}\r\n", "a APPEND INBOX {10+}\r\n0123456789\r\n"} {
		if out := converse(t, s, in); !strings.HasSuffix(out, "\r\na BAD Command is not allowed now\r\n") {
			t.Errorf("%q: %q", in, out)
		}
	}
}

// commandNames are those of the command table, read from its source: so a new command
// cannot be forgotten.
func commandNames(t testing.TB) (names []string) {
	src, err := os.ReadFile("command.go")
	if err != nil {
		t.Fatal(err)
	}
	prefix := ""
	for l := range strings.Lines(string(src)) {
		switch {
		case strings.Contains(l, "if cmd.uid {"):
			prefix = "UID "
		case strings.Contains(l, "switch cmd.name {") && len(names) > 0:
			prefix = ""
		case strings.HasPrefix(strings.TrimSpace(l), "case \""):
			for _, m := range regexp.MustCompile(`"([A-Z]+)"`).FindAllStringSubmatch(l, -1) {
				names = append(names, prefix+m[1])
			}
		}
	}
	if len(names) < 35 || !slices.Contains(names, "UID FETCH") || !slices.Contains(names, "FETCH") {
		t.Fatal("the command table was not found:", names)
	}
	return names
}

// T15: whatever is nested or repeated in whatever command, in whatever state, the
// answer is one and the memory that was used small.
func TestT15_EveryCommandIsBounded(t *testing.T) {
	most := uint64(4 << 20) // bytes allocated by one connection in all
	if raceEnabled {
		most *= 8 // pools throw away by chance
	}
	bodies := map[string]string{
		"open":     strings.Repeat("(", 60_000),
		"nested":   strings.Repeat("(", 3000) + strings.Repeat(")", 3000),
		"not":      strings.Repeat("NOT ", 15_000) + "SEEN",
		"or":       strings.Repeat("OR ", 20_000) + "SEEN",
		"spread":   strings.Repeat("OR SEEN ", 7000) + "SEEN",
		"list":     "(" + strings.Repeat("x ", 30_000) + "x)",
		"pairs":    "(" + strings.Repeat(`"k" "v" `, 7000) + ")",
		"word":     strings.Repeat("x", 60_000),
		"quoted":   `"` + strings.Repeat(`\"`, 30_000) + `"`,
		"set":      strings.Repeat("1,", 30_000) + "1",
		"ranges":   strings.Repeat("4294967295:1,", 4600) + "1",
		"sections": "1 (" + strings.Repeat("BODY.PEEK[HEADER.FIELDS (a b c)] ", 1800) + "UID)",
		"parts":    "1 BODY.PEEK[" + strings.Repeat("1.", 30_000) + "1]",
		"patterns": `"" ` + strings.Repeat("*%", 30_000),
		"many":     `"" (` + strings.Repeat("* ", 30_000) + "*)",
		"literals": strings.Repeat("{1+}\r\nx ", 8000),
		"line":     strings.Repeat("x ", 200_000),
	}
	s := besieged(t)
	put(t, s.Store, "a1", inbox, "Subject: one\n\nhello\n")
	n := 0
	for _, name := range commandNames(t) {
		for what, body := range bodies {
			for _, preamble := range []string{"", loginPreamble, selectPreamble} {
				n++
				in := preamble + "t " + name + " " + body + "\r\nz NOOP\r\n"
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				out := converse(t, s, in)
				runtime.ReadMemStats(&after)
				wellFormed(t, in, out)
				if got := strings.Count(out, "\r\nt "); got > 1 || got == 0 && !strings.Contains(out, "\r\n* BYE ") {
					t.Errorf("%q %s %s: %d answers: %.300q", preamble, name, what, got, out)
				}
				if !strings.Contains(out, "\r\nz OK ") && !strings.Contains(out, "\r\n* BYE ") {
					t.Errorf("%q %s %s: what comes next is not answered: %.300q", preamble, name, what, out)
				}
				if used := after.TotalAlloc - before.TotalAlloc; used > most {
					t.Errorf("%q %s %s: %d KB were allocated for %d KB", preamble, name, what, used>>10, len(in)>>10)
				}
			}
		}
	}
	t.Log(n, "commands")
}

// T15: ID has at most 30 fields (RFC 2971, 3.3), and COMPRESS is not offered.
func TestT15_IDAndCOMPRESS(t *testing.T) {
	s := besieged(t)
	out := converse(t, s, "a ID ("+strings.Repeat(`"k" "v" `, 31)+")\r\nb ID ("+strings.TrimSpace(strings.Repeat(`"k" "v" `, 30))+")\r\n"+loginPreamble+"c CAPABILITY\r\nd COMPRESS DEFLATE\r\n")
	if !strings.Contains(out, "\r\na BAD ") || !strings.Contains(out, "\r\nb OK ") || strings.Contains(out, "COMPRESS=") || !strings.Contains(out, "\r\nd NO ") {
		t.Errorf("%q", out)
	}
}

// T18: neither names nor flags nor what stands in a message makes a line of its own.
func TestT18_NothingMakesALineOfItsOwn(t *testing.T) {
	s := besieged(t)
	evil := []string{"x\r\n* BYE evil", "x\n* 99 EXISTS", "x\r* 1 EXPUNGE", `x" "y`, `x\`, "x\x00y", "x\t", "x{3}", "{3}", "x\u2028y", "\xff\xfe", "(x)", "NIL", "* OK", "x]", "&AAo-", "&AA0ACg-* BYE", "\u200b", "x\x1b[31m"}
	for i, e := range evil {
		header := fmt.Sprintf("Subject: =?utf-8?b?%s?=\nFrom: \"a\\\"%s\" <a@b>\nTo: =?utf-8?q?=0D=0A*_BYE?= <c@d>, undisclosed%s: ;\nMessage-ID: <%s>\nIn-Reply-To: %s\nDate: %s\n",
			base64.StdEncoding.EncodeToString([]byte(e)), e, e, e, e, e)
		kind := fmt.Sprintf("Content-Type: multipart/mixed; boundary=b; name=\"%s\"\nContent-Language: %s\nContent-ID: %s\nContent-Disposition: attachment; filename*=utf-8''%%0d%%0a*%%20BYE%%00; f=\"%s\"\nContent-Location: %s\n", e, e, e, e, e)
		put(t, s.Store, "a1", inbox, header+kind+"\n--b\nContent-Type: text/"+e+"; x=\""+e+"\"\nContent-MD5: "+e+"\n\n"+e+"\n--b--\n", fmt.Sprint("k", i))
	}
	var in strings.Builder
	in.WriteString(loginPreamble)
	for i, e := range evil {
		for j, cmd := range []string{"CREATE", "SUBSCRIBE", "SELECT", "STATUS", "RENAME INBOX", "LIST \"\"", "GETACL", "GETQUOTAROOT", "MYRIGHTS"} {
			tail := ""
			if cmd == "STATUS" {
				tail = " (MESSAGES)"
			}
			if cmd == "RENAME INBOX" && i > 0 {
				continue
			}
			fmt.Fprintf(&in, "c%d-%d %s {%d+}\r\n%s%s\r\n", i, j, cmd, len(e), e, tail)
			fmt.Fprintf(&in, "d%d-%d %s \"%s\"%s\r\n", i, j, cmd, strings.NewReplacer("\\", "\\\\", "\"", "\\\"", "\r", "", "\n", "", "\x00", "").Replace(e), tail)
		}
	}
	for i, mode := range []string{"", "ENABLE IMAP4rev2 UTF8=ACCEPT"} {
		if mode != "" {
			fmt.Fprintf(&in, "m%d %s\r\n", i, mode)
		}
		fmt.Fprintf(&in, "l%d LIST \"\" * RETURN (CHILDREN STATUS (MESSAGES))\r\nb%d LSUB \"\" *\r\ns%d EXAMINE INBOX\r\n", i, i, i)
		fmt.Fprintf(&in, "f%d FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[HEADER.FIELDS (Subject From)] BODY.PEEK[1.MIME] PREVIEW)\r\n", i)
		fmt.Fprintf(&in, "u%d UNSELECT\r\n", i)
	}
	out := converse(t, s, in.String())
	wellFormed(t, in.String(), out)
	for l := range strings.SplitSeq(out, "\r\n") {
		if strings.HasPrefix(l, "* BYE") || strings.HasPrefix(l, "* 99 EXISTS") || strings.HasPrefix(l, "* 1 EXPUNGE") {
			t.Errorf("a line that the server did not say: %q", l)
		}
	}
	if !strings.Contains(out, "\r\nf1 OK ") || !strings.Contains(out, "\r\nl1 OK ") {
		t.Errorf("not all was answered: %.300q", out[max(0, len(out)-300):])
	}
	for _, bad := range []string{"x\r\n* BYE evil", "x\x00y", "x\x1b[31m"} {
		if i := slices.Index(evil, bad); !strings.Contains(out, fmt.Sprintf("\r\nc%d-0 BAD", i)) && !strings.Contains(out, fmt.Sprintf("\r\nc%d-0 NO", i)) {
			t.Errorf("CREATE %q was not refused", bad)
		}
	}
}

// T8: whether there is such a user shows neither in the work, which is counted, nor in
// the words, in every mechanism.
func TestT8_SameWorkForKnownAndUnknown(t *testing.T) {
	work := 0
	h := &password.Hasher{Params: password.Params{Memory: 8, Time: 1}}
	phc, err := h.Hash(t.Context(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := h.SCRAM("secret")
	if err != nil {
		t.Fatal(err)
	}
	h.Hashed = func() { work++ }
	for name, d := range map[string]*static.Directory{
		"hashed": {Hasher: h, Accounts: []static.Account{
			{Account: accounts.Account{Address: "ann@example.org"}, Password: phc, SCRAM: keys},
			{Account: accounts.Account{Address: "off@example.org", Disabled: true}, Password: phc, SCRAM: keys},
			{Account: accounts.Account{Address: "mute@example.org"}},
		}},
		"plain": {Hasher: h, Compared: h.Hashed, Accounts: []static.Account{
			{Account: accounts.Account{Address: "ann@example.org"}, Password: "secret"},
			{Account: accounts.Account{Address: "off@example.org", Disabled: true}, Password: "secret"},
		}},
	} {
		s := besieged(t)
		s.Auth = (&accounts.Limiter{KV: &memstore.KV{}, Clock: s.Clock, Free: 1000, FreeNet: 1000, FreeLogin: 1000}).Wrap(d)
		for _, mech := range []string{"LOGIN", "AUTHENTICATE PLAIN", "AUTHENTICATE PLAIN for another", "AUTHENTICATE LOGIN", "AUTHENTICATE SCRAM-SHA-256"} {
			type outcome struct {
				work int
				said string
			}
			var first *outcome
			for range 2 {
				for _, who := range []string{"ann@example.org", "zoe@example.org", "off@example.org", "mute@example.org", "zoe@elsewhere.example", "zoe"} {
					b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
					in := map[string]string{
						"LOGIN":                          "a LOGIN " + who + " wrong\r\n",
						"AUTHENTICATE PLAIN":             "a AUTHENTICATE PLAIN " + b64("\x00"+who+"\x00wrong") + "\r\n",
						"AUTHENTICATE PLAIN for another": "a AUTHENTICATE PLAIN " + b64("ann@example.org\x00"+who+"\x00wrong") + "\r\n",
						"AUTHENTICATE LOGIN":             "a AUTHENTICATE LOGIN " + b64(who) + "\r\n" + b64("wrong") + "\r\n",
						"AUTHENTICATE SCRAM-SHA-256":     "a AUTHENTICATE SCRAM-SHA-256 " + b64("n,,n="+who+",r=abc") + "\r\n" + b64("c=biws,r=abc,p="+b64(strings.Repeat("x", 32))) + "\r\n",
					}[mech]
					before := work
					out := converse(t, s, in)
					got := outcome{work - before, regexp.MustCompile(`\+ [A-Za-z0-9+/=]{60,}`).ReplaceAllString(out, "+ keys")}
					if first == nil {
						first = &got
					}
					if got != *first || !strings.Contains(out, "\r\na NO [AUTHENTICATIONFAILED]") {
						t.Errorf("%s, %s: %s costs %+v, the first %+v", name, mech, who, got, *first)
					}
				}
			}
			if first.work == 0 && !(name == "hashed" && mech == "AUTHENTICATE SCRAM-SHA-256") {
				t.Errorf("%s, %s: no work was counted", name, mech)
			}
		}
	}
}

// T9: guesses over many connections and in every mechanism: ten for one login from one
// network, then growing delays, at most one a second; three end a connection. The owner
// logs in where she has before.
func TestT9_GuessesAreSlowAndTheOwnerIsNotLockedOut(t *testing.T) {
	s := besieged(t)
	clock := s.Clock.(*testclock.Clock)
	looked := 0
	d := users()
	d.Compared = func() { looked++ }
	d.Hasher = &password.Hasher{Hashed: func() {}}
	s.Auth = (&accounts.Limiter{KV: &memstore.KV{Clock: clock}, Clock: clock}).Wrap(d)
	from := func(addr, in string) string { return converseFrom(t, s, netip.MustParseAddr(addr), in) }
	right := "a LOGIN ann@example.org secret\r\n"
	if out := from("198.51.100.7", right); !strings.Contains(out, "\r\na OK ") {
		t.Fatal(out)
	}
	looked = 0
	b64 := base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00wrong"))
	guesses := "a LOGIN ann@example.org wrong\r\nb AUTHENTICATE PLAIN " + b64 + "\r\nc LOGIN Ann@Example.org wrong\r\nd LOGIN ann@example.org secret\r\n"
	for i := range 2000 {
		out := from(fmt.Sprintf("192.0.2.%d", i%256), guesses)
		if !strings.HasSuffix(out, "* BYE Too many failed logins\r\n") || strings.Contains(out, "\r\nd ") || strings.Contains(out, " OK ready\r\na OK") {
			t.Fatalf("three failures do not end a connection: %q", out)
		}
		if i == 4 && !strings.Contains(out, "NO [UNAVAILABLE] Too many failed logins, try again later") {
			t.Errorf("after ten failures: %q", out)
		}
		if i%100 == 0 {
			if out := from("198.51.100.7", right); !strings.Contains(out, "\r\na OK ") {
				t.Fatalf("the owner is locked out: %q", out)
			}
			looked--
		}
		clock.Advance(100e6) // a tenth of a second
	}
	if looked < 10 || looked > 10+10 {
		t.Errorf("%d guesses in 200 seconds were looked at, want 10 and then ever fewer", looked)
	}
	// From everywhere at once it is one a second.
	looked = 0
	for i := range 3000 {
		from(fmt.Sprintf("127.%d.%d.1", i/250, i%250), "a LOGIN ann@example.org wrong\r\n")
		clock.Advance(100e6)
	}
	if looked > 100+300 {
		t.Errorf("%d guesses in 300 seconds from 3,000 networks were looked at", looked)
	}
	if out := from("198.51.100.7", right); !strings.Contains(out, "\r\na OK ") {
		t.Fatalf("the owner is locked out: %q", out)
	}
}
