package trgmindex

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/store/search"
)

// Limits of one row. What is beyond them is read when it is searched.
const (
	maxFields = 64 << 10
	maxHeader = 64 << 10
	maxBody   = 256 << 10
)

// What of a message is not in its row as it is: then nothing is said about it.
const (
	vagueFields = 1 << iota
	vagueHeader
	vagueBody
)

// Fields of a name stand side by side, between a line feed and a colon before and a
// line feed after all of them. Folded text has no such controls.
const (
	line  = "\n"
	again = "\x01"
)

// row is what is kept of a Doc.
type row struct {
	fields, header, body string
	vague                int
}

func newRow(d *search.Doc) (r row) {
	var ok bool
	if r.fields, ok = joined(d.Fields); !ok {
		r.vague |= vagueFields
	}
	if r.header, ok = kept(d.Header, maxHeader); !ok {
		r.vague |= vagueHeader
	}
	if r.body, ok = kept(d.Body, maxBody); !ok || d.Long {
		r.vague |= vagueBody
	}
	if r.vague&vagueBody != 0 {
		r.body = "" // it would be read anyway
	}
	return r
}

// kept returns a text if the database takes it as it is: PostgreSQL has no NUL, and
// only UTF-8.
func kept(text []byte, most int) (string, bool) {
	if len(text) > most || bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return "", false
	}
	return string(text), true
}

// joined puts fields together.
func joined(fields []search.HeaderField) (string, bool) {
	size := 1
	var names []string
	values := map[string][]string{}
	for _, f := range fields {
		if strings.ContainsAny(f.Name, "\x00"+line+again+":") || strings.ContainsAny(f.Text, "\x00"+line+again) || !utf8.ValidString(f.Name) || !utf8.ValidString(f.Text) {
			return "", false
		}
		if size += len(f.Name) + len(f.Text) + 2; size > maxFields {
			return "", false
		}
		if values[f.Name] == nil {
			names = append(names, f.Name)
		}
		values[f.Name] = append(values[f.Name], f.Text)
	}
	var b strings.Builder
	b.WriteString(line)
	for _, n := range names {
		b.WriteString(n + ":" + strings.Join(values[n], again) + line)
	}
	return b.String(), true
}

var escaping = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// pattern is for LIKE.
func pattern(text string) string { return "%" + escaping.Replace(text) + "%" }

// plain reports whether a row can have a text. One that it cannot have may be in a
// message that is vague.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsAny(text, "\x00"+line+again)
}
