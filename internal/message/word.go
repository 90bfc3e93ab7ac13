package message

import (
	"strings"

	"github.com/mailkeel/mailkeel/internal/charset"
)

// DecodeHeader returns the text of an unfolded header value: its encoded words
// (RFC 2047) and raw bytes as UTF-8, without control characters. Words that are
// broken stay as they are. Neighbours in one charset are joined before they are
// decoded, for senders that split in the middle of a character.
func DecodeHeader(s string) string {
	if !strings.Contains(s, "=?") {
		return clean(charset.Decode("", []byte(s)))
	}
	var out strings.Builder
	var pending []byte // decoded bytes of words side by side
	var set string     // their charset
	flush := func() {
		if len(pending) > 0 {
			out.WriteString(charset.Decode(set, pending))
			pending = pending[:0]
		}
	}
	afterWord := false
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			i = len(s)
		}
		between := s[:i]
		s = s[i:]
		name, text, rest, ok := encodedWord(s)
		if !ok && s != "" { // not a word: two bytes of text
			between, s = between+s[:2], s[2:]
		}
		if !(ok && afterWord && strings.Trim(between, " \t\r\n") == "") {
			flush()
			out.WriteString(charset.Decode("", []byte(between)))
		}
		afterWord = ok
		if ok {
			if !strings.EqualFold(name, set) {
				flush()
				set = name
			}
			pending = append(pending, text...)
			s = rest
		}
	}
	flush()
	return clean(out.String())
}

// encodedWord decodes the word that s begins with.
func encodedWord(s string) (set string, text []byte, rest string, ok bool) {
	if len(s) < 2 {
		return
	}
	s = s[2:]
	i := strings.IndexByte(s[:min(len(s), 80)], '?')
	if i <= 0 || i+2 >= len(s) || s[i+2] != '?' || strings.ContainsAny(s[:i], " \t=") {
		return
	}
	set, enc := s[:i], s[i+1]
	set, _, _ = strings.Cut(set, "*") // a language (RFC 2231, 5)
	s = s[i+3:]
	end := strings.IndexByte(s, '?')
	if end < 0 || end+1 >= len(s) || s[end+1] != '=' {
		return
	}
	switch rest = s[end+2:]; enc {
	case 'B', 'b':
		text = debase64(s[:end])
	case 'Q', 'q':
		text = deq(s[:end])
	default:
		return
	}
	return set, text, rest, true
}

func debase64(s string) []byte {
	var d unbase64
	return d.flush(d.add(make([]byte, 0, len(s)*3/4+3), []byte(s)))
}

func deq(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			b = append(b, ' ')
			continue
		case s[i] == '=' && i+2 < len(s):
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return b
}

// clean makes spaces of control characters, so that no decoded text can begin a
// line of its own.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
