package imap

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/internal/peers"
)

// enmime is the module whose testdata is read from the module cache:
// go mod download puts it there. Nothing here links it.
const enmime = "github.com/jhillyerd/enmime/v2@v2.3.0"

// A specimen is a message of somebody's tests: real ones, and such as programs have
// stumbled over.
type specimen struct {
	name    string
	content string // with LF
}

// specimens are the test messages of enmime and of Python, and our own.
func specimens(t *testing.T) (out []specimen) {
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	add := func(where, pattern string) {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			peers.Missing(t, "no test messages of "+where)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, specimen{where + "/" + filepath.Base(p), strings.ReplaceAll(string(b), "\r\n", "\n")})
		}
	}
	dir := filepath.Join(strings.TrimSpace(string(cache)), enmime)
	add("enmime", filepath.Join(dir, "testdata", "*", "*.raw"))
	add("enmime", filepath.Join(dir, "dsn", "testdata", "*.raw"))
	add("python", "/usr/lib/python3*/test/test_email/data/msg_*.txt")
	for i, s := range sober {
		out = append(out, specimen{fmt.Sprint("own/", i), s})
	}
	return out
}

// Why we and Dovecot differ about a specimen: the sentence that decides it, or what
// we make of what no sentence allows.
const (
	noField = "RFC 5322, 2.2: a field is a name and a colon. Another line ends the header and stays readable, in the body; " +
		"Dovecot passes over it, and nobody sees it"
	twice = "RFC 2045, 5: fields and parameters of one name stand once. The first counts; Dovecot lists each, " +
		"and lets the last field count"
	noType  = "RFC 2045, 5.2: what cannot be parsed is text/plain, or the type that is still told; Dovecot says that it has none"
	noParts = "RFC 2046, 5.1.1: a multipart has parts. Without a delimiter all of it is one, so that people can read it; " +
		"Dovecot shows an empty one"
	lineEnd   = "RFC 2046, 5.1.1: the CRLF before a delimiter belongs to it; Dovecot counts it to a multipart inside"
	unlike    = "RFC 2046, 5.1.1: a delimiter may have more behind it. We want the whole line, for boundaries that begin like others are in real mail (similar-boundary.raw)"
	charsets  = "RFC 2231, 4 and 5: what is encoded is told as what it means, in ASCII if it must be; Dovecot tells raw bytes"
	specials  = "RFC 2045, 5.1: such values must be quoted. All up to the next semicolon is taken; Dovecot cuts at the special"
	unfolded  = "RFC 5322, 2.2.3: to unfold is to take away the CRLF; Dovecot makes a space of the tab after it"
	inside    = "RFC 9051, 6.4.4: BODY looks into the body, and the header of a message inside is part of it; Dovecot passes over it"
	blankLine = "RFC 9051, 6.4.5.1: MIME holds the blank line; Dovecot leaves it out where the part has no body"
)

// explained are the specimens about which we and Dovecot differ.
var explained = map[string]string{
	"enmime/bad-header-start.raw":                         noField,
	"enmime/bad-header-wrap.raw":                          noField,
	"enmime/barren-content-type.raw":                      noType,
	"enmime/ctype-invalid-characters.raw":                 noType,
	"enmime/dsn_with_multipart_alternative.raw":           noField,
	"enmime/empty-ctype-bad-content.raw":                  noType,
	"enmime/epilogue-sample.raw":                          unlike,
	"enmime/erroneous.raw":                                noField,
	"enmime/inlinemultipart.raw":                          twice,
	"enmime/malformed-multiple-address-header-values.raw": twice + ". Of From all are told, so that no sender is hidden",
	"enmime/mime-bad-8bit-filename.raw":                   charsets,
	"enmime/mime-bad-content-type.raw":                    noType,
	"enmime/mime-blank-media-name.raw":                    noType,
	"enmime/mime-duplicate-param.raw":                     twice,
	"enmime/mime-mixed-related.raw":                       lineEnd,
	"enmime/mime-signed.raw":                              lineEnd,
	"enmime/mime-unquoted-tspecials-param.raw":            specials,
	"enmime/missing-closing-param-quote.raw":              specials,
	"enmime/multi-malformed.raw":                          noField,
	"enmime/multi_recipient_dsn.raw":                      noField,
	"enmime/multipart-wo-boundary.raw":                    noParts,
	"enmime/nestedmulti.raw":                              lineEnd,
	"enmime/qp-utf8-header-no-break.raw":                  noField,
	"enmime/similar-boundary.raw":                         lineEnd,
	"enmime/simple_dsn.raw":                               noField,
	"enmime/simple_dsn_with_html.raw":                     noField,
	"enmime/unquoted-ctype-param-special.raw":             specials,
	"python/msg_12.txt":                                   blankLine,
	"python/msg_14.txt":                                   noType,
	"python/msg_17.txt":                                   noParts,
	"python/msg_19.txt":                                   noField,
	"python/msg_25.txt":                                   noParts,
	"python/msg_27.txt":                                   unfolded,
	"python/msg_29.txt":                                   charsets,
	"python/msg_31.txt":                                   noParts,
	"python/msg_32.txt":                                   charsets,
	"python/msg_33.txt":                                   charsets + "; its boundary is one",
	"python/msg_35.txt":                                   noField,
	"python/msg_38.txt":                                   noField,
	"python/msg_41.txt":                                   noParts,
	"python/msg_42.txt":                                   noParts,
}

// Dovecot says the same about real messages and about torture: envelopes,
// structures, sizes, and the bytes of each section. Where not, it stands above why.
func TestSpecimensLikeDovecot(t *testing.T) {
	all := specimens(t)
	script := "a SELECT INBOX\r\n"
	var with, without []string
	for i, s := range all {
		crlf := strings.ReplaceAll(s.content, "\n", "\r\n")
		with, without = append(with, crlf), append(without, s.content)
		m, err := message.Parse(strings.NewReader(crlf))
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range []string{"ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE"} {
			script += fmt.Sprintf("f FETCH %d %s\r\n", i+1, item)
		}
		for _, section := range sections(&m.Root, "", true) {
			script += fmt.Sprintf("f FETCH %d BODY.PEEK[%s]\r\n", i+1, section)
		}
	}
	script += "z LOGOUT\r\n"
	theirs := responses(t, dovecot(t, with, script))
	mine := responses(t, ours(t, without, script))
	if len(mine) != len(theirs) || len(mine) < 10*len(all) {
		t.Errorf("%d responses, and %d of Dovecot", len(mine), len(theirs))
	}
	differ := map[string]int{}
	for about, want := range theirs {
		var n int
		fmt.Sscan(about, &n)
		name := all[n-1].name
		if got := mine[about]; alike(got) != alike(want) {
			if differ[name]++; explained[name] == "" {
				t.Errorf("%s %s\n   ours %q\ntheirs %q", name, about, got, want)
			}
		}
	}
	for name := range explained {
		if differ[name] == 0 {
			t.Errorf("%s is explained, and there is no difference", name)
		}
	}
	t.Logf("%d messages, %d responses; %d messages with differences, all explained", len(all), len(theirs), len(differ))
}

// found are the specimens that we and Dovecot find by other words.
var found = map[string]string{
	"enmime/bad-header-start.raw":         noField,
	"enmime/ctype-invalid-characters.raw": noType,
	"python/msg_05.txt":                   inside,
	"python/msg_06.txt":                   inside,
	"python/msg_16.txt":                   inside,
	"python/msg_17.txt":                   noParts,
	"python/msg_25.txt":                   noParts,
	"python/msg_34.txt":                   inside,
	"python/msg_42.txt":                   inside,
}

// Dovecot finds the same of them.
func TestFindSpecimensLikeDovecot(t *testing.T) {
	all := specimens(t)
	script := "a SELECT INBOX\r\n"
	var with, without []string
	for _, s := range all {
		with, without = append(with, strings.ReplaceAll(s.content, "\n", "\r\n")), append(without, s.content)
	}
	var keys []string
	// No words that are also in markup or in the headers of parts: we look into what
	// people see, and Dovecot without an index into the source.
	for _, word := range []string{"inbucket", "python", "dom.ain", "section", "Re:", "Andr\u00e9", "Miros\u0142aw", "lorem", "dingus"} {
		for _, key := range []string{"SUBJECT", "FROM", "TO", "CC", "BODY", "TEXT", "HEADER MESSAGE-ID", "HEADER X-MAILER"} {
			keys = append(keys, fmt.Sprintf("%s {%d+}\r\n%s", key, len(word), word))
		}
	}
	for _, word := range []string{"multipart", "html", "test", "utf"} {
		keys = append(keys, "HEADER CONTENT-TYPE "+word, "HEADER CONTENT-TRANSFER-ENCODING "+word, "HEADER X "+word)
	}
	for _, day := range []string{"1-Jan-2000", "2-Jan-2001", "19-Oct-2012", "1-Jan-2015"} {
		keys = append(keys, "SENTON "+day, "SENTSINCE "+day)
	}
	keys = append(keys, "LARGER 1000", "SMALLER 300")
	for i, k := range keys {
		script += fmt.Sprintf("s%d SEARCH CHARSET UTF-8 %s\r\ns%[1]d NOOP\r\n", i, k)
	}
	script += "z LOGOUT\r\n"
	results := func(out string) (all [][]string) {
		for line := range strings.SplitSeq(out, "\r\n") {
			if f := strings.Fields(line); len(f) > 1 && f[1] == "SEARCH" && f[0] == "*" {
				all = append(all, f[2:])
			}
		}
		return all
	}
	theirs, mine := results(dovecot(t, with, script)), results(ours(t, without, script))
	if len(theirs) != len(keys) || len(mine) != len(keys) {
		t.Fatalf("%d answers, %d of Dovecot, to %d", len(mine), len(theirs), len(keys))
	}
	differ := map[string]bool{}
	for i, k := range keys {
		for _, n := range append(mine[i], theirs[i]...) {
			if slices.Contains(mine[i], n) == slices.Contains(theirs[i], n) {
				continue
			}
			var seq int
			fmt.Sscan(n, &seq)
			name := all[seq-1].name
			if differ[name] = true; found[name] == "" {
				t.Errorf("SEARCH %q: %s, ours %v", k, name, slices.Contains(mine[i], n))
			}
		}
	}
	for name := range found {
		if !differ[name] {
			t.Errorf("%s is explained, and there is no difference", name)
		}
	}
	t.Logf("%d searches of %d messages; %d messages with differences, all explained", len(keys), len(all), len(differ))
}
