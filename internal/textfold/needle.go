package textfold

import "bytes"

// A Needle is a folded text that is looked for.
type Needle struct {
	text   []byte
	ascii  bool
	anchor int // of the rarest byte; -1 if all are spaces
	lower  byte
	upper  byte // the same as lower if it has no case
}

// NewNeedle returns a Needle for text, which is folded.
func NewNeedle(text string) Needle {
	n := Needle{text: []byte(text), anchor: -1}
	n.ascii = ASCII(n.text)
	best := 0
	for i, c := range n.text {
		if w := rarity(c); w > best {
			n.anchor, best = i, w
		}
	}
	if n.anchor >= 0 {
		n.lower = n.text[n.anchor]
		if n.upper = n.lower; n.lower >= 'a' && n.lower <= 'z' {
			n.upper = n.lower - 'a' + 'A'
		}
	}
	return n
}

// Text is what NewNeedle was given.
func (n *Needle) Text() []byte { return n.text }

// rarity says how seldom mail has a byte; zero for a space.
func rarity(c byte) int {
	const often = " etaoinsrhldcumfpgwybvk.,-=/:x0123456789jqz"
	if c == ' ' || c >= 0x80 {
		return 0
	}
	if i := bytes.IndexByte([]byte(often), c); i >= 0 {
		return i
	}
	return len(often)
}

// In reports whether folded text has n.
func (n *Needle) In(text []byte) bool { return bytes.Contains(text, n.text) }

// InASCII reports whether text, which is ASCII and not folded, has n once it is.
// Nothing is copied, and most of text is passed over at the speed of memory.
func (n *Needle) InASCII(text []byte) bool {
	switch {
	case len(n.text) == 0:
		return true
	case !n.ascii:
		return false
	case n.anchor < 0: // a single space, since it is folded
		return bytes.ContainsFunc(text, func(r rune) bool { return folded[r&0x7f] == ' ' })
	}
	lower := bytes.IndexByte(text, n.lower)
	upper := -1
	if n.upper != n.lower {
		upper = bytes.IndexByte(text, n.upper)
	}
	for lower >= 0 || upper >= 0 {
		if upper < 0 || lower >= 0 && lower < upper {
			if n.at(text, lower) {
				return true
			}
			lower = next(text, lower, n.lower)
		} else {
			if n.at(text, upper) {
				return true
			}
			upper = next(text, upper, n.upper)
		}
	}
	return false
}

func next(text []byte, after int, c byte) int {
	i := bytes.IndexByte(text[after+1:], c)
	if i < 0 {
		return -1
	}
	return after + 1 + i
}

// at reports whether n is in text with its anchor at pos.
func (n *Needle) at(text []byte, pos int) bool {
	j := pos - 1
	for i := n.anchor - 1; i >= 0; i-- {
		if j < 0 || folded[text[j]&0x7f] != n.text[i] {
			return false
		}
		j--
		if n.text[i] == ' ' {
			for j >= 0 && folded[text[j]&0x7f] == ' ' {
				j--
			}
		}
	}
	j = pos + 1
	for _, c := range n.text[n.anchor+1:] {
		if j >= len(text) || folded[text[j]&0x7f] != c {
			return false
		}
		j++
		if c == ' ' {
			for j < len(text) && folded[text[j]&0x7f] == ' ' {
				j++
			}
		}
	}
	return true
}
