package mailview

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// said writes terms down.
func said(terms []term) string {
	var out []string
	for _, t := range terms {
		s := ""
		switch {
		case t.flag != nil:
			s = "flag " + t.flag[0]
		case t.attached:
			s = "attached"
		case !t.since.IsZero() || !t.before.IsZero():
			day := func(t time.Time) string {
				if t.IsZero() {
					return ""
				}
				return t.Format(time.DateOnly)
			}
			s = day(t.since) + ".." + day(t.before)
		case t.larger > 0:
			s = fmt.Sprint(">", t.larger)
		case t.smaller > 0:
			s = fmt.Sprint("<", t.smaller)
		case t.body && t.fields == nil:
			s = "body " + t.text
		case t.body:
			s = t.text
		default:
			s = strings.Join(t.fields, "+") + " " + t.text
		}
		if t.not {
			s = "not " + s
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func TestSearchesAreRead(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"  \t ":                          "",
		"Grüße":                          "gruße", // replaced below
		"two words":                      "two; words",
		`"two words"`:                    "two words",
		`„zwei Worte“`:                   "zwei worte",
		`"no end`:                        `"no; end`,
		"from:ann":                       "from ann",
		`FROM:"Ann Smith" x`:             "from ann smith; x",
		"to:bob":                         "to+cc+bcc bob",
		"subject:x body:y cc:z":          "subject x; body y; cc+bcc z",
		"from:":                          "from:",
		"http://example.org":             "http://example.org",
		"12:30":                          "12:30",
		"has:attachment has:attachments": "attached; attached",
		"has:nothing":                    "has:nothing",
		"is:unread IS:Flagged":           `not flag \Seen; flag \Flagged`,
		"-is:unread -is:draft":           `flag \Seen; not flag \Draft`,
		"is:unknown":                     "is:unknown",
		"-word -from:x - --":             "not word; not from x; -; --",
		"before:2026-01-31":              "..2026-01-31",
		"after:31.1.2026":                "2026-01-31..",
		"after:2026":                     "2026-01-01..",
		"on:2026-02":                     "2026-02-01..2026-03-01",
		"before:yesterday":               "before:yesterday",
		"larger:1M smaller:10KB":         ">1048576; <10240",
		"larger:x":                       "larger:x",
		`""`:                             "",
		strings.Repeat("a ", 100):        strings.TrimSuffix(strings.Repeat("a; ", 20), "; "),
	} {
		if in == "Grüße" {
			want = "grusse"
		}
		if got := said(parseSearch(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzParseSearch(f *testing.F) {
	for _, s := range []string{"", "from:\"a b\" -x is:unread", "\xff:", "before:9999-99-99", "-\"", strings.Repeat("ä", 700), "larger:9999999999999999999M", "„“"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		terms := parseSearch(s)
		if len(terms) > maxTerms {
			t.Fatal(len(terms))
		}
		for _, x := range terms {
			if x.textual() && strings.TrimSpace(x.text) == "" {
				t.Fatalf("%q has an empty term", s)
			}
			n := 0
			for _, is := range []bool{x.flag != nil, x.attached, x.textual(), !x.since.IsZero() || !x.before.IsZero(), x.larger > 0, x.smaller > 0} {
				if is {
					n++
				}
			}
			if n > 1 {
				t.Fatalf("%q: a term is two things: %+v", s, x)
			}
		}
	})
}
