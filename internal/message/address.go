package message

import "strings"

// What stands for the part of an address that the sender left out, so that it is
// not taken for the beginning or end of a group. Other servers say the same.
const (
	MissingMailbox = "MISSING_MAILBOX"
	MissingDomain  = "MISSING_DOMAIN"
)

// ParseAddresses reads the unfolded value of a field with addresses (RFC 5322,
// 3.4 and 4.4). It keeps what it can make sense of, and words without an address as
// a Name. It returns 10,000 entries at most.
func ParseAddresses(s string) []Address {
	var steps int64
	return parseAddresses(s, &steps)
}

func parseAddresses(s string, steps *int64) []Address {
	p := addressParser{scanner: scanner{s: s, steps: steps}}
	p.lastQuote = strings.LastIndexByte(s, '"')
	p.list()
	return p.found
}

type addressParser struct {
	scanner
	found     []Address
	group     bool
	lastQuote int // a quote after this is not closed
}

// maxWords bounds the words of one address; more are passed over.
const maxWords = 1000

// A word of a phrase or an address.
type word struct {
	text   string
	quoted bool
	spaced bool // there was a space before it
	at     bool // it is the @ that splits an address
}

func (p *addressParser) list() {
	for p.more() && len(p.found) < maxAddrs-1 {
		p.address()
	}
	if p.group {
		p.found = append(p.found, Address{})
	}
}

// address reads up to the next separator.
func (p *addressParser) address() {
	var words []word
	var comment string
	spaced := false
	for p.more() {
		*p.steps++
		switch c := p.s[p.pos]; {
		case space(c):
			p.pos++
			spaced = true
			continue
		case c == ',' || c == ';':
			p.pos++
			p.bare(words, comment)
			if c == ';' && p.group {
				p.group = false
				p.found = append(p.found, Address{})
			}
			return
		case c == ':':
			p.pos++
			p.begin(words)
			return
		case c == '<':
			p.pos++
			mailbox, host := p.angle()
			if name := phrase(words); name != "" {
				comment = name
			}
			p.put(comment, mailbox, host)
			p.rest()
			return
		case c == '(':
			if text, ok := p.comment(); ok {
				comment = text
				spaced = true
				continue
			}
		case c == '"' && p.pos < p.lastQuote:
			words = add(words, word{text: p.quoted(), quoted: true, spaced: spaced})
			spaced = false
			continue
		case c == '@':
			p.pos++
			words = add(words, word{text: "@", at: true, spaced: spaced})
			spaced = false
			continue
		}
		words = add(words, word{text: p.atom(), spaced: spaced})
		spaced = false
	}
	p.bare(words, comment)
}

func add(words []word, w word) []word {
	if len(words) == maxWords {
		return words
	}
	return append(words, w)
}

// atom reads at least one byte that means nothing here, and all that follow.
func (p *addressParser) atom() string {
	from := p.pos
	if p.s[p.pos] == '[' { // a domain literal
		end := from + 1
		for end < len(p.s) && !space(p.s[end]) && strings.IndexByte(`[],;<>()@"`, p.s[end]) < 0 {
			end++
		}
		*p.steps += int64(end - from)
		if end < len(p.s) && p.s[end] == ']' {
			p.pos = end + 1
			return p.s[from:p.pos]
		}
	}
	p.pos++
	for p.more() && !space(p.s[p.pos]) && strings.IndexByte(`,;:<("@`, p.s[p.pos]) < 0 {
		*p.steps++
		p.pos++
	}
	return p.s[from:p.pos]
}

// rest skips what stands between an address in angle brackets and a separator.
func (p *addressParser) rest() {
	for p.more() {
		p.gap()
		switch p.peek() {
		case ',', 0:
			p.pos++
			return
		case ';':
			p.pos++
			if p.group {
				p.group = false
				p.found = append(p.found, Address{})
			}
			return
		case '"':
			if p.pos < p.lastQuote {
				p.quoted()
				continue
			}
		case '<': // the comma is missing
			return
		}
		p.pos++
		*p.steps++
	}
}

// angle reads an address up to its > or, if that is missing, the separator.
func (p *addressParser) angle() (mailbox, host string) {
	var words []word
	p.gap()
	if p.peek() == '@' { // a route (RFC 5322, 4.4)
		route := p.pos
		for p.more() && strings.IndexByte(":<>", p.s[p.pos]) < 0 {
			*p.steps++
			p.pos++
		}
		if p.peek() == ':' {
			p.pos++
		} else {
			p.pos = route
		}
	}
	for p.more() {
		*p.steps++
		switch c := p.s[p.pos]; {
		case space(c):
			p.pos++
			continue
		case c == '>':
			p.pos++
			return split(words)
		case c == ',' || c == '<':
			return split(words)
		case c == '(':
			if _, ok := p.comment(); ok {
				continue
			}
		case c == '"' && p.pos < p.lastQuote:
			words = add(words, word{text: p.quoted(), quoted: true})
			continue
		case c == '@':
			p.pos++
			words = add(words, word{text: "@", at: true})
			continue
		}
		from := p.pos
		p.pos++
		for p.more() && !space(p.s[p.pos]) && strings.IndexByte(`,<>("@`, p.s[p.pos]) < 0 {
			*p.steps++
			p.pos++
		}
		words = add(words, word{text: p.s[from:p.pos]})
	}
	return split(words)
}

// split makes an address of words. The last @ splits it.
func split(words []word) (mailbox, host string) {
	at := len(words)
	for i, w := range words {
		if w.at {
			at = i
		}
	}
	mailbox = glue(words[:at])
	if at < len(words) {
		host = glue(words[at+1:])
	}
	return mailbox, host
}

func glue(words []word) string {
	if len(words) == 1 {
		return words[0].text
	}
	var b strings.Builder
	for _, w := range words {
		b.WriteString(w.text)
	}
	return b.String()
}

// phrase joins words with the spaces between them.
func phrase(words []word) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 && w.spaced {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return strings.Trim(b.String(), " \t")
}

// begin begins a group.
func (p *addressParser) begin(words []word) {
	name := phrase(words)
	if name == "" {
		return
	}
	if p.group {
		p.found = append(p.found, Address{})
	}
	p.group = true
	p.found = append(p.found, Address{Mailbox: name})
}

// bare takes words that no angle bracket followed: an address, a name and an
// address, or only words.
func (p *addressParser) bare(words []word, comment string) {
	if len(words) == 0 {
		return
	}
	at := -1
	for i, w := range words {
		if w.at {
			at = i
		}
	}
	if at < 0 {
		if len(words) == 1 && !words[0].quoted {
			p.put(comment, words[0].text, "")
			return
		}
		p.put(phrase(words), "", "")
		return
	}
	// The address begins where the words before the @ are not parted by a
	// space, dots and the @ itself excepted, and ends likewise.
	from, to := at, at+1
	for from > 0 && (!words[from].spaced || from == at || dotted(words[from-1].text, words[from].text)) {
		from--
	}
	for to < len(words) && (!words[to].spaced || to == at+1 || dotted(words[to-1].text, words[to].text)) {
		to++
	}
	name := phrase(words[:from])
	if tail := phrase(words[to:]); tail != "" {
		name = strings.TrimLeft(name+" "+tail, " ")
	}
	if name == "" {
		name = comment
	}
	mailbox, host := split(words[from:to])
	p.put(name, mailbox, host)
}

// dotted reports whether a dot joins two words.
func dotted(a, b string) bool { return strings.HasSuffix(a, ".") || strings.HasPrefix(b, ".") }

func (p *addressParser) put(name, mailbox, host string) {
	if mailbox == "" {
		mailbox = MissingMailbox
	}
	if host == "" {
		host = MissingDomain
	}
	p.found = append(p.found, Address{strings.Clone(name), strings.Clone(mailbox), strings.Clone(host)})
}
