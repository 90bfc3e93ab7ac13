package mailview

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
)

// Limits of what is looked for at once.
const (
	maxSearch = 1000 // bytes
	maxTerms  = 20
)

// A term is one thing that is looked for. All terms of a search must hold.
type term struct {
	not    bool
	needle textfold.Needle // set if fields or body is
	text   string          // of needle, folded
	fields []string        // header fields to look in, in lower case
	body   bool            // look below the header
	// flag asks for a flag, or one of several names of it; attached for
	// attachments.
	flag     []string
	attached bool
	// since and before bound when it was received, larger and smaller its size.
	since, before   time.Time
	larger, smaller int64
}

// textual reports whether the term looks for a text.
func (t *term) textual() bool { return t.fields != nil || t.body }

// everywhere are the fields in which a word is looked for.
var everywhere = []string{"subject", "from", "to", "cc", "bcc"}

// parseSearch reads what a person typed. Nothing is an error: what is no operator is
// looked for as it stands.
func parseSearch(s string) (terms []term) {
	if len(s) > maxSearch {
		for s = s[:maxSearch]; !utf8.ValidString(s) && len(s) > maxSearch-utf8.UTFMax; {
			s = s[:len(s)-1]
		}
	}
	for len(terms) < maxTerms {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		if s == "" {
			return terms
		}
		var t term
		if len(s) > 1 && s[0] == '-' && s[1] != ' ' && s[1] != '-' {
			t.not, s = true, s[1:]
		}
		op := operator(s)
		s = s[len(op):]
		var value string
		var quoted bool
		value, quoted, s = searchWord(s)
		ok := op != "" && value != "" && t.narrow(strings.ToLower(op[:len(op)-1]), value)
		if !ok {
			if !quoted || op == "" {
				value = op + value
			}
			t.fields, t.body = everywhere, true
		}
		if t.textual() {
			t.text = textfold.String(value)
			if strings.TrimSpace(t.text) == "" {
				continue
			}
			t.needle = textfold.NewNeedle(t.text)
		}
		terms = append(terms, t)
	}
	return terms
}

// operator returns the name that s begins with, and its colon.
func operator(s string) string {
	for i, r := range s {
		switch {
		case r == ':':
			return s[:i+1]
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
		default:
			return ""
		}
	}
	return ""
}

// searchWord takes one word, or what is in quotes, off s.
func searchWord(s string) (value string, quoted bool, rest string) {
	for _, q := range [...][2]string{{`"`, `"`}, {"„", "“"}, {"“", "”"}} {
		if in, ok := strings.CutPrefix(s, q[0]); ok {
			if value, rest, ok := strings.Cut(in, q[1]); ok {
				return value, true, rest
			}
		}
	}
	if i := strings.IndexFunc(s, unicode.IsSpace); i >= 0 {
		return s[:i], false, s[i:]
	}
	return s, false, ""
}

// narrow makes t what an operator and its value mean, or returns false.
func (t *term) narrow(op, value string) bool {
	switch op {
	case "from", "subject", "bcc":
		t.fields = []string{op}
	case "cc":
		t.fields = []string{"cc", "bcc"}
	case "to":
		t.fields = []string{"to", "cc", "bcc"}
	case "body", "text":
		t.body = true
	case "has":
		switch strings.TrimSuffix(strings.ToLower(value), "s") {
		case "attachment", "file":
			t.attached = true
			return true
		}
		return false
	case "is":
		return t.is(strings.ToLower(value))
	case "before", "after", "since":
		day, _, ok := searchDay(value)
		if !ok {
			return false
		}
		if op == "before" {
			t.before = day
		} else {
			t.since = day
		}
	case "on":
		day, next, ok := searchDay(value)
		if !ok {
			return false
		}
		t.since, t.before = day, next
	case "larger", "smaller":
		n, ok := searchSize(value)
		if !ok {
			return false
		}
		if op == "larger" {
			t.larger = n
		} else {
			t.smaller = n
		}
	default:
		return false
	}
	return true
}

func (t *term) is(value string) bool {
	switch value {
	case "read", "seen":
		t.flag = []string{store.FlagSeen}
	case "unread", "unseen":
		t.flag, t.not = []string{store.FlagSeen}, !t.not
	case "flagged", "starred":
		t.flag = []string{store.FlagFlagged}
	case "unflagged", "unstarred":
		t.flag, t.not = []string{store.FlagFlagged}, !t.not
	case "answered", "replied":
		t.flag = []string{store.FlagAnswered}
	case "unanswered", "unreplied":
		t.flag, t.not = []string{store.FlagAnswered}, !t.not
	case "forwarded":
		t.flag = []string{keyForwarded}
	case "draft":
		t.flag = []string{store.FlagDraft}
	case "junk":
		t.flag = []string{keyJunk, "Junk"}
	default:
		return false
	}
	return true
}

// searchDay reads a day, a month or a year, and returns its first day and the first
// after it.
func searchDay(s string) (first, next time.Time, ok bool) {
	for _, form := range [...]struct {
		layout              string
		years, months, days int
	}{{"2006-1-2", 0, 0, 1}, {"2006/1/2", 0, 0, 1}, {"2.1.2006", 0, 0, 1}, {"2006-1", 0, 1, 0}, {"2006", 1, 0, 0}} {
		if t, err := time.Parse(form.layout, s); err == nil {
			return t, t.AddDate(form.years, form.months, form.days), true
		}
	}
	return first, next, false
}

// searchSize reads a number of bytes, with K or M behind it.
func searchSize(s string) (int64, bool) {
	s = strings.TrimSuffix(strings.ToUpper(s), "B")
	unit := int64(1)
	switch {
	case strings.HasSuffix(s, "K"):
		unit = 1 << 10
	case strings.HasSuffix(s, "M"):
		unit = 1 << 20
	}
	n, err := strconv.ParseInt(strings.TrimRight(s, "KM"), 10, 32)
	return n * unit, err == nil && n >= 0
}
