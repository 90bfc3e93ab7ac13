package webmail

import (
	"html/template"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxQuoteDepth = 8
	maxLinks      = 10_000 // of one text; what follows is text
)

// textHTML is plain text as HTML, for a block that keeps white space: quotes (">") are
// blockquotes, and addresses of the web are links that tell nobody where they were. All
// of the text goes through escape; the tags are ours.
func textHTML(text string) template.HTML {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	depth, links, first := 0, 0, true
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		d, rest := quoteDepth(line)
		if d == depth && !first {
			b.WriteByte('\n')
		}
		for ; depth < d; depth++ {
			b.WriteString("<blockquote>")
		}
		for ; depth > d; depth-- {
			b.WriteString("</blockquote>")
		}
		first = false
		linkify(&b, rest, &links)
	}
	for ; depth > 0; depth-- {
		b.WriteString("</blockquote>")
	}
	return template.HTML(b.String())
}

// quoteDepth counts the marks at the beginning of a line. Deeper ones stay text.
func quoteDepth(line string) (depth int, rest string) {
	for depth < maxQuoteDepth && strings.HasPrefix(line, ">") {
		line = strings.TrimPrefix(line[1:], " ")
		depth++
	}
	return depth, line
}

func escape(b *strings.Builder, s string) {
	template.HTMLEscape(stringWriter{b}, []byte(s))
}

type stringWriter struct{ *strings.Builder }

// linkify writes a line with its links.
func linkify(b *strings.Builder, line string, links *int) {
	pos := 0 // up to which it is written
	colon, www := -2, -2
	for from := 0; *links < maxLinks; {
		// Each search goes on where the last one ended, so that all are linear.
		if colon != -1 && colon < from {
			colon = indexFrom(line, "://", from)
		}
		if www != -1 && www < from {
			www = indexFrom(line, "www.", from)
		}
		start, scheme := -1, ""
		switch {
		case colon < 0 && www < 0:
			escape(b, line[pos:])
			return
		case www < 0 || colon >= 0 && colon < www:
			from = colon + 3
			for _, s := range []string{"https", "http"} {
				if i := colon - len(s); i >= pos && strings.EqualFold(line[i:colon], s) {
					start = i
					break
				}
			}
		default:
			from = www + 4
			start, scheme = www, "https://"
		}
		if start < pos || start > 0 && !boundary(line[:start]) {
			continue
		}
		end := linkEnd(line, start)
		href := scheme + line[start:end]
		if end < from || !goodURL(href) {
			continue
		}
		escape(b, line[pos:start])
		b.WriteString(`<a href="`)
		escape(b, href)
		b.WriteString(`" target="_blank" rel="noopener noreferrer nofollow">`)
		escape(b, line[start:end])
		b.WriteString("</a>")
		*links++
		pos, from = end, end
	}
	escape(b, line[pos:])
}

func indexFrom(s, sub string, from int) int {
	if i := strings.Index(s[from:], sub); i >= 0 {
		return from + i
	}
	return -1
}

// boundary reports whether a link may begin behind s.
func boundary(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '@' && r != '/' && r != '.' && r != '-'
}

// linkEnd is where the link that begins at start ends: before a space or what cannot be
// seen, and before punctuation that is more likely of the sentence.
func linkEnd(s string, start int) int {
	end := start
	open := map[rune]int{}
	for i, r := range s[start:] {
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError || strings.ContainsRune("<>\"`{}|\\^", r) || i > 2000 {
			break
		}
		open[r]++
		end = start + i + utf8.RuneLen(r)
	}
	for end > start {
		r, n := utf8.DecodeLastRuneInString(s[start:end])
		switch {
		case strings.ContainsRune(".,;:!?'*_»”’", r):
		case r == ')' && open[')'] > open['('], r == ']' && open[']'] > open['[']:
		default:
			return end
		}
		open[r]--
		end -= n
	}
	return end
}

func goodURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.User == nil && (strings.EqualFold(u.Scheme, "https") || strings.EqualFold(u.Scheme, "http"))
}
