package imap

import (
	"strings"

	"github.com/mailkeel/mailkeel/internal/message"
)

// baseSubject returns what a subject, as it stands in the header, has in common with
// those of replies and forwards (RFC 5256, 2.1), and whether it is one of a reply or
// forward. It takes linear time, whatever the subject is.
func baseSubject(subject string) (base string, reply bool) {
	// Step 1. White space that is not ASCII is text.
	s := oneSpace(message.DecodeHeader(subject))
	for {
		// Step 2: trailers. There is one space at most.
		for {
			t := strings.TrimSuffix(s, " ")
			if n := len(t) - len("(fwd)"); n >= 0 && strings.EqualFold(t[n:], "(fwd)") {
				t, reply = t[:n], true
			}
			if t == s {
				break
			}
			s = t
		}
		// Steps 3 to 5: leaders, and "[blobs]" that leave something. If no
		// "re:" follows the blobs that there are, none follows fewer of them.
		for {
			s = strings.TrimPrefix(s, " ")
			rest, last := s, s
			for {
				after, ok := cutBlob(rest)
				if !ok {
					break
				}
				last, rest = rest, after
			}
			if after, ok := cutRefwd(rest); ok {
				s, reply = after, true
				continue
			}
			if s = rest; rest == "" {
				s = last // the last blob is the base then
			}
			break
		}
		// Step 6.
		const header, trailer = "[fwd:", "]"
		if len(s) < len(header)+len(trailer) || !strings.EqualFold(s[:len(header)], header) || !strings.HasSuffix(s, trailer) {
			return s, reply
		}
		s, reply = s[len(header):len(s)-len(trailer)], true
	}
}

// oneSpace makes one space of each run of white space.
func oneSpace(s string) string {
	if !strings.ContainsAny(s, "\t\r\n") && !strings.Contains(s, "  ") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			b = append(b, c)
		case len(b) == 0 || b[len(b)-1] != ' ':
			b = append(b, ' ')
		}
	}
	return string(b)
}

// cutBlob takes "[...]" and the space after it away.
func cutBlob(s string) (after string, ok bool) {
	if s == "" || s[0] != '[' {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] == '[' {
		return s, false
	}
	return strings.TrimPrefix(s[i+2:], " "), true
}

// cutRefwd takes "re:", "fw:" or "fwd:" away, with a blob before the colon.
func cutRefwd(s string) (after string, ok bool) {
	switch {
	case len(s) >= 2 && strings.EqualFold(s[:2], "re"):
		after = s[2:]
	case len(s) >= 3 && strings.EqualFold(s[:3], "fwd"):
		after = s[3:]
	case len(s) >= 2 && strings.EqualFold(s[:2], "fw"):
		after = s[2:]
	default:
		return s, false
	}
	after = strings.TrimPrefix(after, " ")
	after, _ = cutBlob(after)
	if after, ok = strings.CutPrefix(after, ":"); ok {
		return after, true
	}
	return s, false
}
