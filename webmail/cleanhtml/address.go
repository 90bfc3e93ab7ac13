package cleanhtml

import (
	"strings"
)

// squeezed is how browsers read an address (URL standard, 4.4): without blanks around it, tabs and newlines.
func squeezed(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	return strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
}

// scheme returns the scheme of an address in lower case and what follows the colon.
func scheme(s string) (string, string) {
	i := strings.IndexByte(s, ':')
	if i <= 0 || !letters(s[:1], "") || !letters(s[:i], "0123456789+-.") {
		return "", s
	}
	return strings.ToLower(s[:i]), s[i+1:]
}

const maxAddress = 8192

// link returns an address that a link may have: http, https, mailto, or a place in the message.
func link(s string) (string, bool) {
	s = squeezed(s)
	if strings.HasPrefix(s, "#") {
		id, ok := identifier(s[1:])
		return "#" + id, ok
	}
	switch sch, rest := scheme(s); sch {
	case "mailto":
		s = "mailto:" + escaped(rest)
		return s, rest != "" && len(s) <= maxAddress
	case "http", "https":
		return web(sch, rest)
	}
	return "", false
}

// web returns the address of a page or an image in a form that leaves no doubt about its host: browsers
// take a backslash for a slash, and what stands before an @ is no part of it.
func web(scheme, rest string) (string, bool) {
	end := strings.IndexAny(rest, "?#")
	if end < 0 {
		end = len(rest)
	}
	path := strings.TrimLeft(strings.ReplaceAll(rest[:end], `\`, "/"), "/")
	host, path, _ := strings.Cut(path, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	if host == "" || strings.ContainsAny(host, " \"'<>`{}|^") {
		return "", false
	}
	s := scheme + "://" + escaped(host+"/"+path+rest[end:])
	return s, len(s) <= maxAddress
}

// escaped writes the characters that have a meaning in HTML or CSS as in RFC 3986, section 2.1.
func escaped(s string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte("\"'()<>\\`{}|^", c) >= 0 {
			out.WriteByte('%')
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func remote(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// image returns the address of an image that may be shown, and counts those that may not because they are of other hosts.
func (b *builder) image(s string) (string, bool) {
	s = squeezed(s)
	sch, rest := scheme(s)
	if sch == "" && len(s) > 2 && strings.Trim(s[:2], `/\`) == "" {
		sch, rest = "https", s // without a scheme, there is no page whose scheme it could be
	}
	switch sch {
	case "cid":
		if b.o.CID == nil {
			return "", false
		}
		if id := strings.Trim(unescaped(rest), "<> "); id != "" {
			v := b.o.CID(id)
			return v, v != "" && localImage.MatchString(v)
		}
	case "data":
		return b.data(rest)
	case "http", "https":
		v, ok := web(sch, rest)
		if ok && !b.o.Remote {
			b.remote++
			return "", false
		}
		return v, ok
	}
	return "", false
}

// unescaped undoes escaped; what is no escape stays.
func unescaped(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0 {
			out.WriteByte(byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2])))
			i += 2
			continue
		}
		out.WriteByte(s[i])
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD")
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// data accepts images in base64 of kinds that hold nothing but pixels.
func (b *builder) data(s string) (string, bool) {
	if len(s) > b.o.MaxData {
		return "", false
	}
	head, body, ok := strings.Cut(s, ",")
	head = strings.ToLower(strings.ReplaceAll(head, " ", ""))
	body = strings.ReplaceAll(unescaped(body), " ", "")
	switch head {
	case "image/png;base64", "image/jpeg;base64", "image/jpg;base64", "image/gif;base64", "image/webp;base64", "image/avif;base64", "image/bmp;base64":
	default:
		return "", false
	}
	for i := 0; i < len(body); i++ {
		if c := body[i]; !(letters(body[i:i+1], "0123456789+/")) && c != '=' {
			return "", false
		}
	}
	return "data:" + head + "," + body, ok && body != ""
}
