package mailauth

import (
	"encoding/base64"
	"errors"
	"strings"
)

// tags are those of a tag=value list (RFC 6376, 3.2).
type tags map[string]string

// parseTags reads a list. Each tag is there once.
func parseTags(s string) (tags, error) {
	t := tags{}
	for spec := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(spec, "=")
		if name = trim(name); !ok || name == "" {
			if trim(spec) == "" {
				continue
			}
			return nil, errors.New("it is no list of tags")
		}
		if _, twice := t[name]; twice {
			return nil, errors.New("a tag is there twice")
		}
		t[name] = trim(value)
	}
	return t, nil
}

// trim takes white space off both ends, line ends among it.
func trim(s string) string { return strings.Trim(s, " \t\r\n") }

// squeeze takes all white space out.
func squeeze(s string) string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
}

// list is a value with colons between its elements.
func list(s string) []string {
	all := strings.Split(s, ":")
	for i, v := range all {
		all[i] = squeeze(v)
	}
	return all
}

func decode64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(squeeze(s)) }
