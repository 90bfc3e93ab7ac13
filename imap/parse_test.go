package imap

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"pgregory.net/rapid"
)

// parse returns a parser of one line.
func parse(line string) *parser {
	return &parser{line: []byte(line), lit: findLiteral([]byte(line)), left: maxCommand, in: &input{authed: true}}
}

func TestFindLiteral(t *testing.T) {
	for line, want := range map[string]literal{
		"a {5}":                               {set: true, size: 5, mark: 3},
		"{0}":                                 {set: true, mark: 3},
		"a {12+}":                             {set: true, size: 12, nonSyn: true, mark: 5},
		"a ~{7}":                              {set: true, size: 7, binary: true, mark: 4},
		"~{7+}":                               {set: true, size: 7, binary: true, nonSyn: true, mark: 5},
		"{007}":                               {set: true, size: 7, mark: 5},
		"{5} ":                                {},
		"{}":                                  {},
		"{+}":                                 {},
		"{-1}":                                {},
		"{5-}":                                {},
		"5}":                                  {},
		"{ 5}":                                {},
		"{0x5}":                               {},
		"}":                                   {},
		"":                                    {},
		"{5++}":                               {},
		"a {12}}":                             {},
		"{" + strings.Repeat("0", 100) + "9}": {set: true, size: 9, mark: 103},
		"{9223372036854775807}":               {set: true, size: math.MaxInt64, mark: 21},
		"{9223372036854775808}":               {set: true, size: math.MaxInt64, mark: 21},
		"{99999999999999999999999999}":        {set: true, size: math.MaxInt64, mark: 28},
		"{10000000000000000000000000+}":       {set: true, size: math.MaxInt64, nonSyn: true, mark: 29},
	} {
		if got := findLiteral([]byte(line)); got != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}

func TestStrings(t *testing.T) {
	for line, want := range map[string]string{
		`atom`:          "atom",
		`at]om x`:       "at]om",
		`"quoted"`:      "quoted",
		`""`:            "",
		`"a\"b\\c"`:     `a"b\c`,
		`"(){%*]"`:      "(){%*]",
		"\"\xc3\xbc\"":  "ü",
		"\xc3\xbc":      "ü",
		`"a" "b"`:       "a",
		`~tilde`:        "~tilde",
		`+plus`:         "+plus",
		"\"tab\there\"": "tab\there",
	} {
		p := parse(line)
		if got := p.astring(); got != want || p.err != nil {
			t.Errorf("%s: %q, %v", line, got, p.err)
		}
	}
	for _, line := range []string{``, ` a`, `(`, `"open`, `"open\"`, `"open\`, `"a\b"`, "\"a\rb\"", "\"a\x00\"", `{3`, `{3} x`, `~{3}`, `\a`, `*`, "\x7f", "\x01"} {
		p := parse(line)
		if got := p.astring(); p.err == nil {
			t.Errorf("%q is no astring: %q", line, got)
		}
	}
	if s, ok := parse("nil").nstring(); s != "" || ok {
		t.Error("nil is NIL", s, ok)
	}
	if s, ok := parse(`"NIL"`).nstring(); s != "NIL" || !ok {
		t.Error(`"NIL" is a string`, s, ok)
	}
	if p := parse("nilx"); true {
		if _, ok := p.nstring(); ok || p.err == nil {
			t.Error("nilx is nothing")
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, s := range []string{"", "-1", "x", "4294967296", "99999999999999999999999999999"} {
		p := parse(s)
		if n := p.number(); p.err == nil {
			t.Errorf("%q: %d", s, n)
		}
	}
	for s, want := range map[string]int64{"0": 0, "00012": 12, "9223372036854775807": math.MaxInt64} {
		p := parse(s)
		if n := p.number64(); n != want || p.err != nil {
			t.Errorf("%q: %d, %v", s, n, p.err)
		}
	}
	for _, s := range []string{"9223372036854775808", "18446744073709551616"} {
		if p := parse(s); p.number64() != 0 || p.err == nil {
			t.Errorf("%q is too large", s)
		}
	}
	if p := parse("0"); p.nzNumber() != 0 || p.err == nil {
		t.Error("zero is no nz-number")
	}
}

func TestSets(t *testing.T) {
	for s, want := range map[string]string{
		"1":                   "1",
		"2,4:7,9,12:*":        "2,4:7,9,12:*",
		"*:4,5:7":             "4:*",
		"7:2,3":               "2:7",
		"1,2,3":               "1:3",
		"3,2,1,5":             "1:3,5",
		"*":                   "*",
		"*,*":                 "*",
		"5,*":                 "5,*",
		"4294967295":          "4294967295",
		"4294967295,*":        "4294967295,*",
		"1:4294967295,3":      "1:4294967295",
		"5:*,1:*":             "1:*",
		"*:*":                 "*",
		"10:20,15:25,26,28:*": "10:26,28:*",
	} {
		p := parse(s)
		got := p.seqSet()
		if p.err != nil || got.String() != want || len(p.line) != 0 {
			t.Errorf("%q: %v, %v", s, got, p.err)
		}
	}
	for _, s := range []string{"", "0", "1:0", "1,", "1:", ",1", "a", "1::2", "4294967296", "1:2:3", "-1"} {
		p := parse(s)
		p.uidSet()
		if p.end() == nil {
			t.Errorf("%q is no set", s)
		}
	}
	if p := parse("$ X"); !imap.IsSearchRes(p.seqSet()) || p.err != nil || string(p.line) != " X" {
		t.Error("$ is the saved result")
	}
}

// A set means the same however it is spelled.
func TestSetsAreWhatTheirRangesAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spelled []string
		in := func(n, size uint32) bool { return false }
		for range rapid.IntRange(1, 8).Draw(t, "ranges") {
			num := rapid.OneOf(rapid.Just("*"), rapid.Map(rapid.Uint32Range(1, 12), func(n uint32) string { return numString(n) }))
			a, b := num.Draw(t, "a"), num.Draw(t, "b")
			spelled = append(spelled, a+":"+b)
			before := in
			in = func(n, size uint32) bool {
				lo, hi := starIs(a, size), starIs(b, size)
				return before(n, size) || n >= min(lo, hi) && n <= max(lo, hi)
			}
		}
		p := parse(strings.Join(spelled, ","))
		set := p.uidSet()
		if p.err != nil {
			t.Fatal(p.err)
		}
		size := rapid.Uint32Range(1, 15).Draw(t, "size")
		snap := numbered(int(size))
		got := map[uint32]bool{}
		for seq := range snap.all(snap.uidSpans(set)) {
			if got[seq] {
				t.Fatal("twice:", seq)
			}
			got[seq] = true
		}
		for n := uint32(1); n <= size; n++ {
			if got[n] != in(n, size) {
				t.Fatalf("%v in a mailbox of %d: %v, %d", spelled, size, got, n)
			}
		}
	})
}

func TestNestingIsBounded(t *testing.T) {
	p := parse(strings.Repeat("(", 60000))
	var nest func()
	deepest := 0
	nest = func() { deepest = max(deepest, p.depth); p.list(nest) }
	p.list(nest)
	if p.err == nil || deepest > maxDepth {
		t.Errorf("%d deep, %v", deepest, p.err)
	}
	p = parse(strings.Repeat("(", maxDepth) + strings.Repeat(")", maxDepth))
	p.list(nest)
	if err := p.end(); err != nil {
		t.Error(err)
	}
}

func TestLists(t *testing.T) {
	for line, want := range map[string]string{"()": "", "(a)": "a", "(a b)": "a b", "( a  b )": "a b"} {
		p := parse(line)
		var got []string
		p.list(func() { got = append(got, p.atom()) })
		if err := p.end(); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "(", "(a", "(a b", "a)", "(a b))"} {
		p := parse(line)
		p.list(func() { p.atom() })
		if p.end() == nil {
			t.Errorf("%q is no list", line)
		}
	}
}

func TestFlags(t *testing.T) {
	p := parse(`(\seen \SEEN Junk junk \Recent $Forwarded)`)
	if got := p.flags(); !reflect.DeepEqual(got, []string{`\Seen`, "Junk", "$Forwarded"}) || p.err != nil {
		t.Error(got, p.err)
	}
	for _, line := range []string{`(\)`, `(\Foo)`, `(\*)`, `(a"b)`, `("a")`, "(" + strings.Repeat("x", 65) + ")", "(" + strings.Repeat("x ", 101) + ")"} {
		p := parse(line)
		p.flags()
		if p.end() == nil {
			t.Errorf("%.20q are no flags", line)
		}
	}
}

func TestDates(t *testing.T) {
	for line, want := range map[string]string{"1-Feb-1994": "1994-02-01", `"01-feb-1994"`: "1994-02-01", `" 1-FEB-1994"`: "1994-02-01", "31-Dec-9999": "9999-12-31"} {
		p := parse(line)
		if got := p.date().Format(time.DateOnly); got != want || p.err != nil {
			t.Errorf("%q: %s, %v", line, got, p.err)
		}
	}
	for _, line := range []string{"", "1994-02-01", "30-Feb-1994", "1-Foo-1994", "1-Feb-94", `"1-Feb-1994`} {
		p := parse(line)
		p.date()
		if p.end() == nil {
			t.Errorf("%q is no date", line)
		}
	}
	p := parse(`"17-Jul-1996 02:44:25 -0700"`)
	if got := p.dateTime().UTC().Format(time.RFC3339); got != "1996-07-17T09:44:25Z" || p.err != nil {
		t.Error(got, p.err)
	}
	for _, line := range []string{"", "NIL", `"17-Jul-1996"`, `"17-Jul-1996 25:44:25 -0700"`, `"17-Jul-1996 02:44:25 MST"`} {
		p := parse(line)
		p.dateTime()
		if p.end() == nil {
			t.Errorf("%q is no date-time", line)
		}
	}
}

func TestSections(t *testing.T) {
	for line, want := range map[string]imap.FetchItemBodySection{
		"[]":                         {},
		"[1]":                        {Part: []int{1}},
		"[1.2.3]<0.100>":             {Part: []int{1, 2, 3}, Partial: &imap.SectionPartial{Size: 100}},
		"[HEADER]":                   {Specifier: imap.PartSpecifierHeader},
		"[text]<7.8>":                {Specifier: imap.PartSpecifierText, Partial: &imap.SectionPartial{Offset: 7, Size: 8}},
		"[4.2.MIME]":                 {Part: []int{4, 2}, Specifier: imap.PartSpecifierMIME},
		"[HEADER.FIELDS (To \"x\")]": {Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"To", "x"}},
		"[3.HEADER.FIELDS.NOT (A)]":  {Part: []int{3}, Specifier: imap.PartSpecifierHeader, HeaderFieldsNot: []string{"A"}},
	} {
		p := parse(line)
		got := p.section()
		if err := p.end(); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{
		"", "[", "[1", "[0]", "[1.]", "[.1]", "[1..2]", "[MIME]", "[FOO]", "[1.FOO]", "[HEADER.FIELDS]", "[HEADER.FIELDS ()]",
		"[HEADER.FIELDS (a:b)]", "[HEADER.FIELDS (\"\")]", "[]<1>", "[]<1.0>", "[]<a.b>", "[]<1.2", "[]<-1.2>", "[4294967296]",
		"[" + strings.Repeat("1.", 200) + "1]",
	} {
		p := parse(line)
		p.section()
		if p.end() == nil {
			t.Errorf("%.30q is no section", line)
		}
	}
	p := parse("[1.2]<3.4>")
	if s := p.binarySection(); p.end() != nil || s.Partial.Offset != 3 || len(s.Part) != 2 {
		t.Error(s, p.err)
	}
	if p = parse("[1.HEADER]"); p.binarySize() == nil || p.end() == nil {
		t.Error("BINARY.SIZE takes parts only")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"(a (b \"c\"))", "1:*,3 x", "[1.2.HEADER.FIELDS (a b)]<1.2>", `"17-Jul-1996 02:44:25 -0700"`, "&U,BTFw-", `(\Seen x)`, "~{3+}", "(1 2 3:4 (5 6))", "-1:-2", "(UNCHANGEDSINCE 7)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\n") {
			return
		}
		for _, read := range []func(p *parser){
			func(p *parser) { p.flags() },
			func(p *parser) { p.seqSet() },
			func(p *parser) { p.section() },
			func(p *parser) { p.date() },
			func(p *parser) { p.dateTime() },
			func(p *parser) { p.statusItems() },
			func(p *parser) { p.listReturn(&listOptions{}) },
			func(p *parser) { p.listSelect(&listOptions{}) },
			func(p *parser) { p.storeOp(); p.sp(); p.storeFlags() },
			func(p *parser) { p.resync() },
			func(p *parser) { p.unchangedSince() },
			func(p *parser) { p.partialRange() },
			func(p *parser) { p.base64(true) },
			func(p *parser) {
				if p.lit.set {
					return
				}
				p.listMailbox()
			},
		} {
			p := parse(s)
			if p.lit.set { // nobody sends it
				p.lit = literal{}
			}
			read(p)
			p.end()
		}
	})
}

// A space at the end of a line is forgiven, also where an argument could follow.
func TestSpacesAtTheEnd(t *testing.T) {
	p := dial(t, start(t, &Server{InsecureAuth: true}))
	for _, command := range []string{
		"NOOP ", "LOGIN ann@example.org secret  ", "ENABLE IMAP4rev2 ", `LIST "" "" `, "CREATE a  ", "SELECT a ", "UID STORE 1 FLAGS \\Seen ", "SEARCH ALL  ", "CLOSE ",
	} {
		p.ok("%s", command)
	}
}
