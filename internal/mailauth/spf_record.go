package mailauth

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A record is read here by the grammar of RFC 7208, 12, and its macros are expanded,
// before go/spf evaluates it: that finds errors only as far as it comes, and knows
// no %{p} and no slash in a name.

// wrongRecord stands for one that is wrong: its only term does not exist, which is a
// permerror.
const wrongRecord = "v=spf1 wrong"

// Characters that may be in a name and would mean something else in a record.
var hide, unhide = strings.NewReplacer("/", "\x01", "%", "\x02", " ", "\x03"), strings.NewReplacer("\x01", "/", "\x02", "%", "\x03", " ")

// macros are what a record may ask for (RFC 7208, 7.2).
type macros struct {
	sender, domain, helo string
	ip                   netip.Addr
	names                func(domain string) string // %{p}
}

// isSPF reports whether a TXT record is one of SPF (RFC 7208, 4.5).
func isSPF(txt string) bool {
	const v = "v=spf1"
	return len(txt) >= len(v) && strings.EqualFold(txt[:len(v)], v) && (len(txt) == len(v) || txt[len(v)] == ' ')
}

// plainRecord returns a record without macros and without what is not asked for, or
// wrongRecord.
func plainRecord(txt string, m macros) string {
	var out strings.Builder
	out.WriteString("v=spf1")
	seen := map[string]bool{}
	for term := range strings.SplitSeq(txt[out.Len():], " ") {
		if term == "" {
			continue
		}
		plain, modifier, ok := plainTerm(term, m)
		if !ok || (modifier == "redirect" || modifier == "exp") && seen[modifier] {
			return wrongRecord
		}
		seen[modifier] = true
		if plain != "" {
			out.WriteString(" " + plain)
		}
	}
	return out.String()
}

// maxExpanded bounds what a domain with macros may come to before it is cut off.
const maxExpanded = 16 << 10

var (
	modifierTerm  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]*)=(.*)$`)
	mechanismTerm = regexp.MustCompile(`^([-+?~]?)([A-Za-z][A-Za-z0-9._-]*)(.*)$`)
	// The prefix lengths at the end of a and mx.
	dualLength = regexp.MustCompile(`^(.*?)(/(?:0|[1-9][0-9]?))?(//(?:0|[1-9][0-9]{0,2}))?$`)
	topLabel   = regexp.MustCompile(`^(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])$`)
	macro      = regexp.MustCompile(`^%\{([slodipvhSLODIPVH])([0-9]*)([rR]?)([-.+,/_=]*)\}`)
)

// plainTerm reads a directive or a modifier (RFC 7208, 4.6.1). Modifiers but redirect
// give an empty term.
func plainTerm(term string, m macros) (plain, modifier string, ok bool) {
	if f := modifierTerm.FindStringSubmatch(term); f != nil {
		if !strings.EqualFold(f[1], "redirect") {
			m.names = func(string) string { return "" } // nobody is asked for what is not used
		}
		switch name := strings.ToLower(f[1]); name {
		case "redirect":
			domain, ok := domainSpec(f[2], m)
			return "redirect=" + domain, name, ok
		case "exp":
			_, ok := domainSpec(f[2], m)
			return "", name, ok
		}
		_, _, ok := expand(f[2], m)
		return "", "", ok
	}
	f := mechanismTerm.FindStringSubmatch(term)
	if f == nil {
		return "", "", false
	}
	name, rest := strings.ToLower(f[2]), f[3]
	plain = f[1] + name
	switch name {
	case "all":
		return plain, "", rest == ""
	case "include", "exists":
		domain, ok := domainSpec(strings.TrimPrefix(rest, ":"), m)
		return plain + ":" + domain, "", ok && rest[0] == ':'
	case "ptr":
		if rest == "" {
			rest = ":" + hide.Replace(m.domain)
			return plain + rest, "", true
		}
		domain, ok := domainSpec(strings.TrimPrefix(rest, ":"), m)
		return plain + ":" + domain, "", ok && rest[0] == ':'
	case "a", "mx":
		l := dualLength.FindStringSubmatch(rest)
		if n, _ := strconv.Atoi(strings.TrimPrefix(l[2], "/")); n > 32 {
			return "", "", false
		}
		if n, _ := strconv.Atoi(strings.TrimPrefix(l[3], "//")); n > 128 {
			return "", "", false
		}
		if l[1] == "" {
			return plain + l[2] + l[3], "", true
		}
		domain, ok := domainSpec(strings.TrimPrefix(l[1], ":"), m)
		return plain + ":" + domain + l[2] + l[3], "", ok && l[1][0] == ':'
	case "ip4", "ip6":
		net, ok := network(strings.TrimPrefix(rest, ":"), name == "ip4")
		return plain + ":" + net, "", ok && rest[0] == ':'
	}
	return "", "", false
}

// network reads an address with or without a prefix length (RFC 7208, 5.6).
func network(s string, v4 bool) (string, bool) {
	text, length, cut := strings.Cut(s, "/")
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Is4() != v4 || ip.Zone() != "" {
		return "", false
	}
	if cut {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > ip.BitLen() || strconv.Itoa(n) != length {
			return "", false
		}
	}
	return s, true
}

// domainSpec reads a name with macros and returns what it comes to, with what would be
// misunderstood hidden. A name that is too long loses labels from the left (RFC 7208,
// 7.3).
func domainSpec(s string, m macros) (string, bool) {
	name, last, ok := expand(s, m)
	if !ok || s == "" {
		return "", false
	}
	if !last { // it ends in a dot and a label of a top-level domain
		text := strings.TrimSuffix(s, ".")
		i := strings.LastIndexByte(text, '.')
		if i < 0 || !topLabel.MatchString(text[i+1:]) {
			return "", false
		}
	}
	name = strings.TrimSuffix(name, ".")
	for len(name) > 253 {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = rest
	}
	return hide.Replace(name), true
}

// expand replaces macros (RFC 7208, 7.1), and reports whether one was at the end.
func expand(s string, m macros) (out string, last, ok bool) {
	var b strings.Builder
	for len(s) > 0 {
		if b.Len() > maxExpanded {
			return "", false, false
		}
		c := s[0]
		if last = c == '%'; !last {
			if c < 0x21 || c > 0x7e {
				return "", false, false
			}
			b.WriteByte(c)
			s = s[1:]
			continue
		}
		if len(s) < 2 {
			return "", false, false
		}
		switch s[1] {
		case '%':
			b.WriteByte('%')
		case '_':
			b.WriteByte(' ')
		case '-':
			b.WriteString("%20")
		default:
			f := macro.FindStringSubmatch(s)
			if f == nil {
				return "", false, false
			}
			text, ok := m.value(f[1], f[2], f[3] != "", f[4])
			if !ok {
				return "", false, false
			}
			b.WriteString(text)
			s = s[len(f[0]):]
			continue
		}
		s = s[2:]
	}
	return b.String(), last, true
}

// value is what a macro comes to.
func (m *macros) value(letter, digits string, reverse bool, delimiters string) (string, bool) {
	local, domain, _ := strings.Cut(m.sender, "@")
	var v string
	switch strings.ToLower(letter) {
	case "s":
		v = m.sender
	case "l":
		v = local
	case "o":
		v = domain
	case "d":
		v = m.domain
	case "i":
		v = dotted(m.ip)
	case "p":
		v = m.names(m.domain)
	case "v":
		v = "in-addr"
		if m.ip.Is6() {
			v = "ip6"
		}
	case "h":
		v = m.helo
	}
	if delimiters == "" {
		delimiters = "."
	}
	parts := strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(delimiters, r) })
	if reverse {
		slices.Reverse(parts)
	}
	if digits != "" {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 {
			return "", false
		}
		parts = parts[max(0, len(parts)-n):]
	}
	v = strings.Join(parts, ".")
	if letter < "a" {
		v = strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
	}
	return v, true
}

// dotted is an address as %{i} has it: for IPv6 its digits with dots between.
func dotted(ip netip.Addr) string {
	if !ip.Is6() {
		return ip.String()
	}
	var b strings.Builder
	for i, c := range strings.ReplaceAll(ip.StringExpanded(), ":", "") {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteRune(c)
	}
	return b.String()
}
