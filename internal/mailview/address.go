package mailview

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/message"
)

// An Address is who wrote or receives a message.
type Address struct {
	Name string // decoded, on one line; may be empty
	// Addr is the address: its domain in Unicode if each label is of one script, and
	// else in A-labels ("xn--..."). Empty for the name of a group.
	Addr string
	// Suspicious says that it may be made to look like another: letters of scripts that
	// look alike in one word, characters that are not seen or turn the text round, or
	// a name that is itself the address of somebody else. Then show Addr beside Name.
	Suspicious bool
}

// String returns the address as it is typed into a field: Ann Smith <ann@example.org>.
func (a Address) String() string {
	switch {
	case a.Addr == "":
		return ""
	case a.Name == "":
		return a.Addr
	}
	if strings.ContainsAny(a.Name, `()<>[]:;@\,."`) {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.Name) + `" <` + a.Addr + ">"
	}
	return a.Name + " <" + a.Addr + ">"
}

const (
	maxShownAddresses = 1000 // of one field of a message
	maxRowAddresses   = 20
	maxShownName      = 300 // bytes
	maxShownAddr      = 400
	maxShownSubject   = 2000
)

// addresses returns up to max of a list as people read it.
func addresses(list []message.Address, max int) (out []Address) {
	for _, a := range list {
		if len(out) == max {
			break
		}
		if a.Host == "" && a.Mailbox == "" { // the end of a group
			continue
		}
		out = append(out, addressOf(a))
	}
	return out
}

func addressOf(a message.Address) (out Address) {
	if a.Host == "" { // the name of a group
		out.Name, out.Suspicious = shownName(message.DecodeHeader(a.Mailbox))
		return out
	}
	out.Name, out.Suspicious = shownName(message.DecodeHeader(a.Name))
	var odd bool
	if out.Addr, odd = shownAddr(a); odd {
		out.Suspicious = true
	}
	if namesAnother(out.Name, out.Addr, a) {
		out.Suspicious = true
	}
	if strings.EqualFold(out.Name, out.Addr) {
		out.Name = "" // once is enough
	}
	return out
}

// shownName makes a name fit to be shown, and reports whether it hides something.
func shownName(s string) (name string, odd bool) {
	name, odd = line(s, maxShownName)
	return name, odd || mixedWord(name)
}

// line puts a text that was decoded on one line: white space is one space, and what
// is not seen, or turns the text round, is left out, which odd reports.
func line(s string, max int) (text string, odd bool) {
	var b strings.Builder
	gap := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			gap = b.Len() > 0
			continue
		case r == 0x200e || r == 0x200f || r == 0x61c: // marks that Hebrew and Arabic use
			continue
		case deceiving(r):
			odd = true
			continue
		}
		if b.Len()+utf8.RuneLen(r)+2 > max {
			b.WriteString("…")
			break
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String(), odd
}

// deceiving reports whether r is not seen, or changes how its neighbours are.
// Joiners (U+200C, U+200D) are needed by several scripts and by pictures.
func deceiving(r rune) bool {
	switch {
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // bidirectional embeddings, overrides, isolates
		return true
	case r == 0x200b, r >= 0x2060 && r <= 0x2065, r >= 0x206a && r <= 0x206f, r == 0xfeff, r == 0xad, r == 0x180e, r == 0x34f:
		return true
	case r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x2800: // blank letters
		return true
	case r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe0fff, r == utf8.RuneError:
		return true
	}
	return false
}

// shownAddr returns an address as it is shown.
func shownAddr(a message.Address) (s string, odd bool) {
	local := a.Mailbox
	if local == message.MissingMailbox {
		local = ""
	}
	if a.Host == message.MissingDomain {
		s, odd = line(local, maxShownAddr)
		return s, odd || mixedWord(s)
	}
	clean, hidden := line(local, maxShownAddr/2)
	odd = hidden || mixedWord(clean) || strings.ContainsAny(clean, "@") || joiner(clean)
	domain, bad := shownDomain(a.Host)
	return addr.Quote(clean) + "@" + domain, odd || bad
}

func joiner(s string) bool { return strings.ContainsAny(s, "\u200c\u200d") }

// shownDomain returns a domain with its labels in Unicode where that deceives nobody.
func shownDomain(host string) (s string, odd bool) {
	host, odd = line(host, maxShownAddr/2)
	if strings.HasPrefix(host, "[") {
		return host, odd
	}
	if ascii(host) && !strings.Contains(strings.ToLower(host), "xn--") {
		return host, odd
	}
	a, err := addr.Domain(host)
	if err != nil {
		return host, true
	}
	labels := strings.Split(a, ".")
	shown := make([]string, len(labels))
	for i, l := range labels {
		shown[i] = l
		if !strings.HasPrefix(l, "xn--") {
			continue
		}
		u, err := idna.Lookup.ToUnicode(l)
		if err != nil || joiner(u) || !oneScript(u) || likeLatin(u) && ascii(labels[len(labels)-1]) && !strings.HasPrefix(labels[len(labels)-1], "xn--") {
			odd = true
			continue
		}
		shown[i] = u
	}
	s = strings.Join(shown, ".")
	if back, err := addr.Domain(s); err != nil || back != a { // what is shown must lead there
		return a, true
	}
	return s, odd
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// scripts are those whose letters are taken for each other.
var alike = []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic}

// mixedWord reports whether a word has letters of several scripts that look alike.
func mixedWord(s string) bool {
	if ascii(s) {
		return false
	}
	var first *unicode.RangeTable
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsMark(r) {
			if !unicode.IsDigit(r) && !joins(r) {
				first = nil
			}
			continue
		}
		for _, t := range alike {
			if !unicode.Is(t, r) {
				continue
			}
			if first != nil && first != t {
				return true
			}
			first = t
		}
	}
	return false
}

// joins reports whether r stands within names that are one thing.
func joins(r rune) bool { return r == 0x200c || r == 0x200d || r == '\'' || r == '’' }

// east are scripts that are written together.
var east = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo}

// oneScript reports whether the letters of a label are of one script, or of those that
// the languages of East Asia mix, also with Latin.
func oneScript(label string) bool {
	var seen []string
	for _, r := range label {
		if unicode.In(r, unicode.Common, unicode.Inherited) {
			continue
		}
		name := "?"
		if unicode.In(r, east...) {
			name = "east"
		} else {
			for n, t := range unicode.Scripts {
				if unicode.Is(t, r) {
					name = n
					break
				}
			}
		}
		known := false
		for _, s := range seen {
			known = known || s == name
		}
		if !known {
			seen = append(seen, name)
		}
	}
	switch len(seen) {
	case 0, 1:
		return true
	case 2:
		return seen[0] == "east" && seen[1] == "Latin" || seen[0] == "Latin" && seen[1] == "east"
	}
	return false
}

// likeLatin reports whether all of a label could be read as Latin letters.
func likeLatin(label string) bool {
	for _, r := range label {
		if !strings.ContainsRune("асԁеһіјӏорԛѕԝхуъьҽпгѵѡαονρυι-0123456789", r) {
			return false
		}
	}
	return !ascii(label)
}

// namesAnother reports whether a name has an address in it that is not the real one.
func namesAnother(name, shown string, real message.Address) bool {
	name = norm.NFKC.String(name) // also the wide forms of @
	for i := 0; i < len(name); i++ {
		if name[i] != '@' {
			continue
		}
		const around = " \t()<>[]{}\"',;:|"
		from := strings.LastIndexAny(name[:i], around) + 1
		to := len(name)
		if n := strings.IndexAny(name[i:], around); n >= 0 {
			to = i + n
		}
		is := strings.TrimRight(name[from:to], ".")
		if from == i || i+1 >= to || !strings.Contains(name[i+1:to], ".") {
			continue
		}
		if !strings.EqualFold(is, shown) && !strings.EqualFold(is, real.Mailbox+"@"+real.Host) {
			return true
		}
		i = to
	}
	return false
}
