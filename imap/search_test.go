package imap

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
)

// putAt is put with an internal date.
func putAt(t testing.TB, s *store.Store, received, text string, flags ...string) {
	t.Helper()
	when, err := time.Parse("2006-01-02 15:04 -0700", received)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	w, err := s.Blobs.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, strings.ReplaceAll(text, "\n", "\r\n"))
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	a := s.As("a1")
	f, err := a.Folder(ctx, inbox)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.Append(ctx, f.ID, store.Append{Blob: info, Flags: flags, Received: when}); err != nil {
		t.Fatal(err)
	}
}

// searchable fills ann's INBOX with five messages, of which the fourth is gone: the
// fifth has number 4 and UID 5.
func searchable(t testing.TB) *peer {
	s := &Server{InsecureAuth: true, Store: newStore()}
	addr := start(t, s)
	putAt(t, s.Store, "2024-01-02 10:00 +0000", `From: Ann Smith <ann@example.org>
To: bob@example.org, "Carl, C." <carl@example.net>
Subject: Hello World
Date: Mon, 1 Jan 2024 23:30:00 -0500
Message-ID: <1@x>
X-Spam: No

first body, FEE Straße
`, `\Seen`, `\Answered`)
	putAt(t, s.Store, "2024-01-03 10:00 +0000", `From: =?utf-8?q?J=C3=B6rg?= <j@example.com>
To: friends: ann@example.org;
Cc: dora@example.org
Subject: =?utf-8?b?R3LDvMOfZQ==?=
Date: Tue, 2 Jan 2024 10:00:00 +0000
In-Reply-To: <1@x>
References: <0@x> <1@x>
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<style>p.secret {}</style><p>Sch=C3=B6ne <b>Gr=C3=BC</b>=C3=9Fe &amp; mehr
`, `\Flagged`, `\Deleted`, "$Work")
	putAt(t, s.Store, "2024-01-04 10:00 +0000", `Subject: third
Bcc:
Date: nonsense
Content-Type: multipart/mixed; boundary=A

--A
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: base64

bG9uZyAgcGhyYXNlDQp3cmFwcGVkIPxiZXI=
--A
Content-Type: application/pdf; name="Report.PDF"

first binary
--A
Content-Type: message/rfc822

Subject: =?utf-8?q?ins=C3=AFde?=

attached words
--A
Content-Type: message/delivery-status

Final-Recipient: rfc822; lost@example.org
--A--
`, `\Draft`)
	putAt(t, s.Store, "2024-01-05 10:00 +0000", "Subject: gone\n\nfirst\n")
	putAt(t, s.Store, "2024-01-06 10:00 +0000", "Subject: last "+strings.Repeat("long ", 200)+"\n\nno text\n", `\Seen`)
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	a := s.Store.As("a1")
	f, err := a.Folder(t.Context(), inbox)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Expunge(t.Context(), f.ID, 4); err != nil {
		t.Fatal(err)
	}
	p.ok("SELECT INBOX")
	return p
}

func TestSearchKeys(t *testing.T) {
	p := searchable(t)
	for _, tt := range []struct{ keys, want string }{
		{"ALL", "1 2 3 4"},
		{"1", "1"}, {"2:3", "2 3"}, {"*", "4"}, {"3:*", "3 4"}, {"*:3", "3 4"}, {"4:2", "2 3 4"}, {"1,3", "1 3"}, {"9", ""}, {"3:99", "3 4"}, {"99:*", "4"},
		{"UID 5", "4"}, {"UID 4", ""}, {"UID 1:2", "1 2"}, {"UID *", "4"}, {"UID 9:*", "4"}, {"1:3 UID 2:9", "2 3"},
		{"SEEN", "1 4"}, {"UNSEEN", "2 3"}, {"ANSWERED", "1"}, {"UNANSWERED", "2 3 4"}, {"FLAGGED", "2"}, {"UNFLAGGED", "1 3 4"},
		{"DELETED", "2"}, {"UNDELETED", "1 3 4"}, {"DRAFT", "3"}, {"UNDRAFT", "1 2 4"}, {"KEYWORD $Work", "2"}, {"KEYWORD $work", "2"}, {"UNKEYWORD $Work", "1 3 4"},
		{"KEYWORD other", ""}, {"RECENT", ""}, {"NEW", ""}, {"OLD", "1 2 3 4"},
		{"seen ANSWERED", "1"}, {"(SEEN ANSWERED)", "1"}, {"(SEEN) (UNANSWERED)", "4"}, {"NOT SEEN", "2 3"}, {"NOT NOT SEEN", "1 4"}, {"NOT (SEEN ANSWERED)", "2 3 4"},
		{"OR SEEN DRAFT", "1 3 4"}, {"OR OR ANSWERED DRAFT FLAGGED", "1 2 3"}, {"OR ANSWERED OR DRAFT FLAGGED", "1 2 3"}, {"OR (SEEN ANSWERED) (DRAFT)", "1 3"}, {"NOT OR SEEN DRAFT", "2"},

		{"SINCE 3-Jan-2024", "2 3 4"}, {"BEFORE 3-Jan-2024", "1"}, {"ON 4-Jan-2024", "3"}, {"NOT ON 4-Jan-2024", "1 2 4"}, {`SINCE "3-Jan-2024" BEFORE 5-Jan-2024`, "2 3"},
		{"SINCE 3-Jan-2024 SINCE 4-Jan-2024", "3 4"}, {"BEFORE 3-Jan-2024 BEFORE 5-Jan-2024", "1"}, {"ON 3-Jan-2024 ON 4-Jan-2024", ""}, {"BEFORE 1-Jan-0001", ""}, {"SINCE 1-Jan-0001", "1 2 3 4"},
		{"SENTON 1-Jan-2024", "1"}, {"SENTSINCE 2-Jan-2024", "2"}, {"SENTBEFORE 2-Jan-2024", "1"}, {"SENTBEFORE 1-Jan-2030", "1 2"}, {"NOT SENTON 1-Jan-2024", "2 3 4"},

		{"LARGER 800", "4"}, {"SMALLER 300", "1"}, {"LARGER 1 LARGER 800", "4"}, {"LARGER 800 LARGER 1", "4"}, {"SMALLER 9999", "1 2 3 4"}, {"SMALLER 0", ""}, {"LARGER 0", "1 2 3 4"},
		{"SMALLER 300 LARGER 1", "1"}, {"NOT LARGER 800", "1 2 3"},

		{"FROM ann", "1"}, {"FROM ANN@EXAMPLE", "1"}, {`FROM "smith <ann"`, "1"}, {"FROM j\u00f6rg", "2"}, {"FROM J\u00d6RG", "2"}, {"FROM nobody", ""}, {"NOT FROM ann", "2 3 4"},
		{"TO bob", "1"}, {`TO "Carl, C."`, "1"}, {"TO ann", "2"}, {"TO friends", "2"}, {"CC dora", "2"}, {"BCC x", ""},
		{"SUBJECT hello", "1"}, {`SUBJECT "hello world"`, "1"}, {"SUBJECT gr\u00fc\u00dfe", "2"}, {"SUBJECT GR\u00dcSSE", "2"}, {`SUBJECT ""`, "1 2 3 4"}, {"SUBJECT =?utf", ""},
		{"HEADER subject hello", "1"}, {"HEADER Message-ID 1@x", "1"}, {"HEADER in-reply-to <1@x>", "2"}, {"HEADER References <0@x>", "2"},
		{`HEADER X-Spam ""`, "1"}, {"HEADER x-spam no", "1"}, {"HEADER x-spam yes", ""}, {`HEADER Bcc ""`, "3"}, {`HEADER From ""`, "1 2"}, {`HEADER Date non`, "3"}, {`HEADER "a b" x`, ""},

		{"BODY first", "1"}, {"BODY FIRST", "1"}, {"BODY fee", "1"}, {"BODY strasse", "1"}, {"BODY sch\u00f6ne", "2"}, {"BODY \"sch\u00f6ne gr\u00fc\u00dfe & mehr\"", "2"}, {"BODY secret", ""}, {"BODY <b>", ""},
		{`BODY "long phrase wrapped"`, "3"}, {"BODY \u00fcber", "3"}, {"BODY \u00dcBER", "3"}, {"BODY u\u0308ber", "3"}, {"BODY report.pdf", "3"}, {"BODY binary", ""}, {"BODY attached", "3"}, {"BODY lost@example.org", "3"}, {"BODY ins\u00efde", "3"},
		{"BODY hello", ""}, {"BODY third", ""}, {`BODY ""`, "1 2 3 4"}, {"NOT BODY first", "2 3 4"},
		{"TEXT hello", "1"}, {"TEXT first", "1"}, {"TEXT x-spam", "1"}, {"TEXT ann", "1 2"}, {"TEXT third", "3"}, {"TEXT j\u00f6rg", "2"}, {"TEXT ins\u00efde", "3"}, {"NOT TEXT a", ""},
		{"OR BODY first BODY attached", "1 3"}, {"BODY first TEXT hello", "1"}, {"BODY first TEXT third", ""}, {"OR SEEN BODY attached", "1 3 4"}, {"UNSEEN BODY first", ""},
		{"OR HEADER X-Spam no SUBJECT third", "1 3"}, {"NOT (OR FROM ann BODY attached)", "2 4"}, {"TEXT long SMALLER 500", "3"},
		{"CHARSET UTF-8 FROM j\u00f6rg", "2"}, {"CHARSET us-ascii FROM ann", "1"}, {"CHARSET ISO-8859-1 FROM j\xf6rg", "2"}, {"FROM j\xf6rg", "2"},
	} {
		lines := p.ok("SEARCH %s", tt.keys)
		if want := strings.TrimRight("* SEARCH "+tt.want, " "); len(lines) != 2 || lines[0] != want {
			t.Errorf("%s: %q, want %q", tt.keys, lines, want)
		}
	}
	// A literal is a string too.
	p.send("t SEARCH SUBJECT {5+}\r\nhello BODY {4+}\r\nbody")
	if l := p.until("t "); l[0] != "* SEARCH 1" {
		t.Errorf("%q", l)
	}
}

func TestSearchThatCannotBe(t *testing.T) {
	p := searchable(t)
	deep := func(n int, s string) string { return strings.Repeat(s, n) }
	for _, tt := range []struct{ keys, want string }{
		{"", "BAD"}, {"()", "BAD"}, {"(", "BAD"}, {"(SEEN", "BAD"}, {"SEEN)", "BAD"}, {"NOT", "BAD"}, {"OR SEEN", "BAD"}, {"OR", "BAD"}, {"NOPE", "BAD"}, {"FROM", "BAD"}, {"HEADER x", "BAD"},
		{"SINCE x", "BAD"}, {"SINCE 32-Jan-2024", "BAD"}, {"LARGER x", "BAD"}, {"LARGER -1", "BAD"}, {"LARGER 99999999999999999999", "BAD"}, {"0", "BAD"}, {"1:0", "BAD"}, {"UID x", "BAD"}, {"KEYWORD", "BAD"},
		{"CHARSET UTF-8", "BAD"}, {"CHARSET x-none FROM a", "NO [BADCHARSET (US-ASCII UTF-8)]"}, {"RETURN (NOPE) ALL", "BAD"}, {"RETURN ALL", "BAD"}, {"RETURN (MIN", "BAD"},
		{deep(51, "NOT ") + "SEEN", "BAD"}, {deep(51, "(") + "SEEN" + deep(51, ")"), "BAD"}, {deep(51, "OR SEEN ") + "SEEN", "BAD"}, {deep(1001, "SEEN ") + "SEEN", "NO [LIMIT]"},
		{deep(65, "BODY x "), "NO [LIMIT]"}, {"BODY " + deep(1001, "x"), "NO [LIMIT]"},
	} {
		lines := p.do("SEARCH %s", tt.keys)
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "t "+tt.want) {
			t.Errorf("%.60s: %q, want %s", tt.keys, lines, tt.want)
		}
		p.ok("NOOP") // so that not too many are bad in a row
	}
	p.ok("SEARCH %s", deep(40, "NOT ")+"SEEN")
}

func TestSearchResults(t *testing.T) {
	p := searchable(t)
	for _, tt := range []struct{ command, want string }{
		{"UID SEARCH ALL", "* SEARCH 1 2 3 5"},
		{"UID SEARCH DELETED", "* SEARCH 2"},
		{"UID SEARCH KEYWORD none", "* SEARCH"},
		{"SEARCH RETURN () ALL", `* ESEARCH (TAG "t") ALL 1:4`},
		{"SEARCH RETURN (ALL) 1:2,4", `* ESEARCH (TAG "t") ALL 1:2,4`},
		{"UID SEARCH RETURN (ALL) ALL", `* ESEARCH (TAG "t") UID ALL 1:3,5`},
		{"UID SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN", `* ESEARCH (TAG "t") UID MIN 2 MAX 3 COUNT 2 ALL 2:3`},
		{"SEARCH RETURN (MIN) UNSEEN", `* ESEARCH (TAG "t") MIN 2`},
		{"SEARCH RETURN (MAX) ALL", `* ESEARCH (TAG "t") MAX 4`},
		{"UID SEARCH RETURN (MAX) ALL", `* ESEARCH (TAG "t") UID MAX 5`},
		{"SEARCH RETURN (COUNT) ALL", `* ESEARCH (TAG "t") COUNT 4`},
		{"SEARCH RETURN (COUNT) KEYWORD none", `* ESEARCH (TAG "t") COUNT 0`},
		{"SEARCH RETURN (MIN MAX ALL) KEYWORD none", `* ESEARCH (TAG "t")`},
		{"SEARCH RETURN (COUNT) CHARSET UTF-8 FROM ann", `* ESEARCH (TAG "t") COUNT 1`},

		{"SEARCH $", "* SEARCH"},
		{"SEARCH RETURN (SAVE) SEEN", ""},
		{"SEARCH $", "* SEARCH 1 4"},
		{"UID SEARCH $", "* SEARCH 1 5"},
		{"UID SEARCH UID $", "* SEARCH 1 5"},
		{"SEARCH NOT $", "* SEARCH 2 3"},
		{"SEARCH RETURN (COUNT) $ ANSWERED", `* ESEARCH (TAG "t") COUNT 1`},
		{"FETCH $ UID", "* 1 FETCH (UID 1)|* 4 FETCH (UID 5)"},
		{"UID FETCH $ UID", "* 1 FETCH (UID 1)|* 4 FETCH (UID 5)"},
		{"SEARCH RETURN (SAVE MIN) ALL", `* ESEARCH (TAG "t") MIN 1`},
		{"SEARCH $", "* SEARCH 1"},
		{"SEARCH RETURN (SAVE MAX) ALL", `* ESEARCH (TAG "t") MAX 4`},
		{"SEARCH $", "* SEARCH 4"},
		{"SEARCH RETURN (SAVE MIN MAX) ALL", `* ESEARCH (TAG "t") MIN 1 MAX 4`},
		{"SEARCH $", "* SEARCH 1 4"},
		{"SEARCH RETURN (SAVE MIN COUNT) ALL", `* ESEARCH (TAG "t") MIN 1 COUNT 4`},
		{"SEARCH $", "* SEARCH 1 2 3 4"},
		{"SEARCH RETURN (SAVE) KEYWORD none", ""},
		{"SEARCH $", "* SEARCH"},
		{"FETCH $ UID", ""},
	} {
		lines := p.ok("%s", tt.command)
		if got := strings.Join(lines[:len(lines)-1], "|"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.command, got, tt.want)
		}
	}
	// A NO empties what was saved, a BAD does not.
	p.ok("SEARCH RETURN (SAVE) SEEN")
	p.do("SEARCH RETURN (SAVE) NOPE")
	if l := p.ok("SEARCH $"); l[0] != "* SEARCH 1 4" {
		t.Errorf("after BAD: %q", l)
	}
	// rev2 has no other answer than ESEARCH, and UTF8=ACCEPT no CHARSET.
	p.ok("CLOSE")
	p.ok("ENABLE IMAP4rev2 UTF8=ACCEPT")
	p.ok("SELECT INBOX")
	if l := p.ok("UID SEARCH SEEN"); l[0] != `* ESEARCH (TAG "t") UID ALL 1,4` && l[0] != `* ESEARCH (TAG "t") UID ALL 1,5` {
		t.Errorf("%q", l)
	}
	if l := p.do("SEARCH CHARSET UTF-8 ALL"); !strings.HasPrefix(l[0], "t BAD") {
		t.Errorf("%q", l)
	}
}

// A phrase that lies across the pieces in which a text is read is found.
func TestSearchAcrossBuffers(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	addr := start(t, s)
	for _, n := range []int{0, 4000, 8185, 8190, 8192, 8200, 16380, 40_000} {
		put(t, s.Store, "a1", inbox, fmt.Sprintf("Subject: x\n\n%s\u00fc Needle in \u20ac hay %s\n", strings.Repeat("\u00e4 x", n/4), strings.Repeat("y", 20_000)))
	}
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	if l := p.ok("SEARCH BODY \"\u00dc needle IN \u20ac h\""); l[0] != "* SEARCH 1 2 3 4 5 6 7 8" {
		t.Errorf("%q", l)
	}
	if l := p.ok("SEARCH RETURN (COUNT) OR BODY absent BODY \"hay y\""); l[0] != `* ESEARCH (TAG "t") COUNT 8` {
		t.Errorf("%q", l)
	}
}

// However a text comes in pieces, what is found is what is in it.
func FuzzTextSearch(f *testing.F) {
	f.Add("Stra\u00dfe\r\n  nach  U\u0308bersee", "strasse NACH \u00fcb")
	f.Add("\uff26\uff55\uff4c\uff4c \u00ad wide\u200b", "full wide")
	f.Add(strings.Repeat("e\u0301", 3000)+"x", "\u00e9\u00e9x")
	f.Fuzz(func(t *testing.T, text, what string) {
		if !utf8.ValidString(text) || len(what) > maxNeedle || strings.ContainsFunc(text, func(r rune) bool { return r == 0x34f }) {
			return // what is read was decoded before
		}
		want := strings.Contains(textfold.String(text), textfold.String(what))
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text)), nil} {
			q := &query{matcher: &matcher{needles: []int{0}}, needles: []needle{newNeedle(what, false)}}
			var f facts
			f.reset(q)
			s := &textSearch{q: q, f: &f}
			if r == nil {
				s.Text([]byte(text), false)
			} else if err := s.Stream(r); err != nil {
				t.Fatal(err)
			}
			if (f.text[0] == holds) != want && len(what) > 0 {
				t.Errorf("%q in %q: %v, want %v", what, text, f.text[0], want)
			}
		}
	})
}
