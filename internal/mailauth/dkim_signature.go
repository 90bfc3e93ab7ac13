package mailauth

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/header"
)

// A signature is a DKIM-Signature field (RFC 6376, 3.5) and what is found about it.
type signature struct {
	field         header.Field
	domain        string
	selector      string
	identity      string // the domain of i=
	kind          string // of the key, of a=
	b             string // b= without spaces
	value         []byte // of b=
	bodyHash      []byte // bh=
	names         []string
	relaxedHeader bool
	relaxedBody   bool

	key *publicKey
	err error
}

// readSignature reads a field. What is wrong with it is in err, found before anybody is
// asked.
func readSignature(f header.Field, now time.Time) *signature {
	s := &signature{field: f}
	s.err = s.read(now)
	return s
}

func (s *signature) read(now time.Time) error {
	t, err := parseTags(value(s.field))
	if err != nil {
		return malformed("the signature cannot be read: " + err.Error())
	}
	s.b = squeeze(t["b"])
	s.selector = printable(strings.ToLower(squeeze(t["s"])))
	domain, domainErr := addr.Domain(squeeze(t["d"]))
	if domainErr == nil && !strings.HasPrefix(domain, "[") {
		s.domain = domain
	}
	for _, tag := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if t[tag] == "" {
			return malformed("the signature has no " + tag)
		}
	}
	switch {
	case t["v"] != "1":
		return malformed("the signature is of another version")
	case s.domain == "":
		return malformed("the signature has no domain")
	case !possible(s.selector):
		return malformed("the signature has no selector")
	}
	s.identity = s.domain
	if i, ok := t["i"]; ok {
		_, at := addr.Split(squeeze(i))
		if s.identity, err = addr.Domain(at); err != nil || s.identity != s.domain && !strings.HasSuffix(s.identity, "."+s.domain) {
			return malformed("i= is of another domain")
		}
	}
	if q, ok := t["q"]; ok && !slices.Contains(list(q), "dns/txt") {
		return malformed("the key is not in DNS")
	}
	kind, hash, _ := strings.Cut(strings.ToLower(squeeze(t["a"])), "-")
	switch {
	case hash == "sha1":
		return failed("SHA-1 is too weak")
	case hash != "sha256" || kind != "rsa" && kind != "ed25519":
		return malformed("the algorithm is not known")
	}
	s.kind = kind
	head, body, _ := strings.Cut(strings.ToLower(squeeze(t["c"])), "/")
	for _, c := range []struct {
		text string
		to   *bool
	}{{head, &s.relaxedHeader}, {body, &s.relaxedBody}} {
		switch c.text {
		case "", "simple":
		case "relaxed":
			*c.to = true
		default:
			return malformed("the canonicalization is not known")
		}
	}
	if s.names = list(strings.ToLower(t["h"])); !slices.Contains(s.names, "from") {
		return malformed("From is not signed")
	}
	if s.bodyHash, err = decode64(t["bh"]); err != nil {
		return malformed("bh= cannot be read")
	}
	if s.value, err = decode64(t["b"]); err != nil {
		return malformed("b= cannot be read")
	}
	if _, ok := t["l"]; ok {
		// Anybody could add to the body (RFC 6376, 8.2).
		return failed("only a part of the body is signed")
	}
	signed, over, err := s.times(t)
	switch {
	case err != nil:
		return malformed("the times of the signature cannot be read")
	case over != nil && signed != nil && !over.After(*signed):
		return malformed("the signature is over before it begins")
	case over != nil && now.After(*over):
		return failed("the signature is over")
	}
	return nil
}

// times reads t= and x=; nil if they are not there.
func (s *signature) times(t tags) (signed, over *time.Time, err error) {
	for tag, to := range map[string]**time.Time{"t": &signed, "x": &over} {
		v, ok := t[tag]
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(squeeze(v), 10, 40) // 12 digits (RFC 6376, 3.5)
		if err != nil {
			return nil, nil, err
		}
		at := time.Unix(int64(n), 0)
		*to = &at
	}
	return signed, over, nil
}

// printable is s, or "" if it is not of visible ASCII.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return s
}

// value is what stands after the colon of a field, with its folds.
func value(f header.Field) string {
	_, v, _ := bytes.Cut(f.Raw(), []byte(":"))
	return string(v)
}

// A picker gives fields from the bottom up, each once (RFC 6376, 5.4.2).
type picker struct{ at map[string][]header.Field }

func newPicker(h *header.Header) *picker {
	p := &picker{map[string][]header.Field{}}
	for f := range h.Fields() {
		name := strings.ToLower(f.Name())
		p.at[name] = append(p.at[name], f)
	}
	return p
}

// headerHash is that of the fields that are signed, and of the signature without b=
// (RFC 6376, 3.7).
func (s *signature) headerHash(fields *picker) []byte {
	sum := sha256.New()
	used := map[string]int{}
	var buf []byte
	for _, name := range s.names {
		all := fields.at[name]
		n := len(all) - 1 - used[name]
		if n < 0 {
			continue // one that was not there
		}
		used[name]++
		buf = canonicalField(buf[:0], all[n].Raw(), s.relaxedHeader)
		sum.Write(buf)
	}
	buf = canonicalField(buf[:0], withoutB(s.field.Raw()), s.relaxedHeader)
	sum.Write(bytes.TrimSuffix(buf, crlf))
	return sum.Sum(nil)
}

// withoutB is a DKIM-Signature field in which b= has no value.
func withoutB(raw []byte) []byte {
	start := bytes.IndexByte(raw, ':') + 1
	for at := start; at < len(raw); {
		end := bytes.IndexByte(raw[at:], ';')
		if end < 0 {
			end = len(raw) - at
		}
		name, _, ok := bytes.Cut(raw[at:at+end], []byte("="))
		if ok && trim(string(name)) == "b" {
			return slices.Concat(raw[:at+len(name)+1], raw[at+end:])
		}
		at += end + 1
	}
	return raw
}

var crlf = []byte("\r\n")

// canonicalField appends a field as it is signed (RFC 6376, 3.4.1 and 3.4.2).
func canonicalField(to, raw []byte, relaxed bool) []byte {
	if !relaxed {
		for line := range bytes.Lines(raw) {
			to = append(append(to, bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))...), crlf...)
		}
		return to
	}
	name, v, _ := bytes.Cut(raw, []byte(":"))
	to = append(append(to, bytes.ToLower(bytes.TrimRight(name, " \t"))...), ':')
	begin, space := len(to), false
	for _, c := range v {
		switch c {
		case ' ', '\t', '\r', '\n':
			space = true
		default:
			if space && len(to) > begin {
				to = append(to, ' ')
			}
			space = false
			to = append(to, c)
		}
	}
	return append(to, crlf...)
}
