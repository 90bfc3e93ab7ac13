package filter

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel"
)

// The most that a verdict may hold.
const (
	maxWhy    = 300       // bytes; the rest is cut off
	maxPrefix = 64 << 10  // bytes
	maxLine   = 998       // RFC 5322, 2.1.1
	maxScore  = 1_000_000 // either way, so that sums stay numbers
)

// add joins v to sum, as one of the same group.
func (sum *Verdict) add(v Verdict) {
	if sum.Refuse == nil {
		sum.Refuse = v.Refuse
	}
	sum.Discard = sum.Discard || v.Discard
	sum.Junk = sum.Junk || v.Junk
	sum.Score += v.Score
	if v.Why != "" && sum.Why != "" {
		sum.Why += "; "
	}
	sum.Why += v.Why
	sum.Prefix = slices.Concat(sum.Prefix, v.Prefix)
	sum.Results = slices.Concat(sum.Results, v.Results)
	if v.Rewrite != nil {
		sum.Rewrite = v.Rewrite
	}
	for i, r := range v.Rcpts {
		if sum.Rcpts == nil {
			sum.Rcpts = map[int]Verdict{}
		}
		one := sum.Rcpts[i]
		one.add(r)
		sum.Rcpts[i] = one
	}
}

// above joins v, of a later group: its header fields stand above those before.
func (sum *Verdict) above(v Verdict) {
	v.Prefix, sum.Prefix = slices.Concat(v.Prefix, sum.Prefix), nil
	if len(v.Rcpts) > 0 && len(sum.Rcpts) > 0 {
		all := map[int]Verdict{}
		for i, r := range v.Rcpts {
			r.Prefix = slices.Concat(r.Prefix, sum.Rcpts[i].Prefix)
			all[i] = r
		}
		v.Rcpts = all
		for i, r := range sum.Rcpts {
			if _, ok := all[i]; ok {
				r.Prefix = nil
				sum.Rcpts[i] = r
			}
		}
	}
	sum.add(v)
}

// tidy makes a verdict fit to act on, or says what cannot be. s and rcpts are the
// stage and how many recipients there are.
func (v Verdict) tidy(s Stage, rcpts int) (Verdict, error) {
	if math.IsNaN(v.Score) || math.Abs(v.Score) > maxScore {
		return Verdict{}, fmt.Errorf("filter: score of %v", v.Score)
	}
	if err := CheckPrefix(v.Prefix); err != nil {
		return Verdict{}, err
	}
	v.Refuse = reply(v.Refuse)
	v.Why = oneLine(v.Why)
	switch {
	case s == Conn:
		v.Discard = false // of what?
		fallthrough
	case s != Rcpt:
		v.Rewrite = nil
	case v.Rewrite != nil && v.Rewrite.Addr == "":
		return Verdict{}, errors.New("filter: rewrite to no address")
	}
	if s != Message {
		v.Rcpts = nil
	}
	if len(v.Rcpts) == 0 {
		return v, nil
	}
	all := make(map[int]Verdict, len(v.Rcpts))
	for i, r := range v.Rcpts {
		if i < 0 || i >= rcpts {
			return Verdict{}, fmt.Errorf("filter: verdict for recipient %d of %d", i, rcpts)
		}
		one, err := Verdict{Refuse: r.Refuse, Discard: r.Discard, Junk: r.Junk, Score: r.Score, Prefix: r.Prefix}.tidy(s, 0)
		if err != nil {
			return Verdict{}, err
		}
		all[i] = one
	}
	v.Rcpts = all
	return v, nil
}

// reply makes an error one that a peer can be sent as a refusal.
func reply(e *mailkeel.Error) *mailkeel.Error {
	if e == nil {
		return nil
	}
	n := *e
	if n.Code/100 != 4 && n.Code/100 != 5 {
		n.Code = 550
	}
	if n.Enhanced[0] != n.Code/100 {
		n.Enhanced = [3]int{n.Code / 100, 7, 1}
	}
	if n.Message = oneLine(n.Message); n.Message == "" {
		n.Message = "refused"
	}
	if n.Code == e.Code && n.Enhanced == e.Enhanced && n.Message == e.Message {
		return e
	}
	return &n
}

// oneLine makes a text that a filter may have copied from anywhere safe to log and
// to write into a header field.
func oneLine(s string) string {
	if len(s) > maxWhy {
		s = strings.ToValidUTF8(s[:maxWhy], "")
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s))
}

// CheckPrefix returns what is wrong with header fields as Verdict.Prefix has them:
// each is a name, a colon and a body (RFC 5322, 2.2), with lines of at most 998
// bytes that end in CRLF, further lines of a body beginning with white space and
// having more than that, and no other control characters.
func CheckPrefix(p []byte) error {
	if len(p) > maxPrefix {
		return fmt.Errorf("filter: prefix of %d bytes", len(p))
	}
	if !utf8.Valid(p) {
		return errors.New("filter: prefix is not UTF-8")
	}
	for first := true; len(p) > 0; first = false {
		line, rest, ok := bytes.Cut(p, []byte("\r\n"))
		if p = rest; !ok {
			return errors.New("filter: prefix does not end in CRLF")
		}
		switch name, _, colon := bytes.Cut(line, []byte(":")); {
		case len(line) > maxLine:
			return fmt.Errorf("filter: prefix line of %d bytes", len(line))
		case bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return fmt.Errorf("filter: control character in prefix line %.80q", line)
		case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
			if first || len(bytes.TrimSpace(line)) == 0 {
				return fmt.Errorf("filter: folded prefix line %.80q", line)
			}
		case !colon || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			return fmt.Errorf("filter: prefix line %.80q is no header field", line)
		}
	}
	return nil
}
