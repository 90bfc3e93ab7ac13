package dnsbl

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// judge returns what the answers of a list add, and the one that does.
func (l *List) judge(answers []netip.Addr) (score float64, code netip.Addr) {
	for _, a := range answers {
		if a = a.Unmap(); !a.Is4() {
			continue
		}
		s, ok := l.of(a.As4())
		if ok && (!code.IsValid() || math.Abs(s) > math.Abs(score)) {
			score, code = s, a
		}
	}
	return score, code
}

// of returns what one answer adds.
func (l *List) of(a [4]byte) (score float64, ok bool) {
	usual := cmp.Or(l.Score, 3)
	if l.Codes == nil {
		return usual, a[0] == 127 && a != [4]byte{127, 0, 0, 1} && [3]byte(a[:3]) != [3]byte{127, 255, 255}
	}
	for code, s := range l.Codes {
		p, err := parsePattern(code)
		if s = cmp.Or(s, usual); err == nil && p.has(a) && (!ok || math.Abs(s) > math.Abs(score)) {
			score, ok = s, true
		}
	}
	return score, ok
}

// A pattern is the least and the most of each octet.
type pattern [4][2]byte

func (p pattern) has(a [4]byte) bool {
	for i, c := range a {
		if c < p[i][0] || c > p[i][1] {
			return false
		}
	}
	return true
}

func parsePattern(s string) (p pattern, err error) {
	octets := strings.Split(s, ".")
	if len(octets) != len(p) {
		return p, fmt.Errorf("%q is no pattern of an address, such as 127.0.0.2-11", s)
	}
	for i, o := range octets {
		from, to, ranged := strings.Cut(o, "-")
		switch {
		case o == "*":
			from, to = "0", "255"
		case !ranged:
			to = from
		}
		low, err1 := strconv.ParseUint(from, 10, 8)
		high, err2 := strconv.ParseUint(to, 10, 8)
		if err1 != nil || err2 != nil || low > high {
			return p, fmt.Errorf("%q is no octet in %q", o, s)
		}
		p[i] = [2]byte{byte(low), byte(high)}
	}
	return p, nil
}
