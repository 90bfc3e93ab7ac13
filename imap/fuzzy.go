package imap

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// A FUZZY key (RFC 6203) looks for the words of a text, in any order and with other
// endings. What it does to keys that have no text is nothing. A search for it is done
// with less and less likeness; how much a message has is its relevancy:
//
//	100  the text as it is written
//	 75  its words, in any order
//	 50  words that begin like them
type likeness uint8

const (
	asBeginnings likeness = iota
	asWords
	asWritten
)

var relevancies = [...]uint32{50, 75, 100}

// A fuzzyText is a text to look for in a field, or where BODY or TEXT looks.
type fuzzyText struct {
	key   string // FROM and the like, BODY or TEXT
	field string // of a header
	text  string
}

// takeText adds a key with a text to c.
func (p *searchParser) takeText(c *criteria, key, field, text string) {
	if !p.fuzzy {
		c.addText(key, field, text)
		return
	}
	p.needles += len(strings.Fields(text))
	if p.ok() && p.needles > maxNeedles {
		p.err = no(imap.ResponseCodeLimit, "Too much text to search for")
	}
	c.Fuzzy = append(c.Fuzzy, fuzzyText{key, field, text})
}

func (c *criteria) addText(key, field, text string) {
	switch key {
	case "BODY":
		c.Body = append(c.Body, text)
	case "TEXT":
		c.Text = append(c.Text, text)
	default:
		c.Header = append(c.Header, imap.SearchCriteriaHeaderField{Key: field, Value: text})
	}
}

// at returns criteria without FUZZY, which find what is as like as that.
func (c *criteria) at(l likeness) *criteria {
	out := *c
	out.Fuzzy = nil
	out.Header, out.Body, out.Text = slices.Clip(c.Header), slices.Clip(c.Body), slices.Clip(c.Text)
	for _, f := range c.Fuzzy {
		words := strings.Fields(f.text)
		if l == asWritten || len(words) == 0 {
			words = []string{f.text}
		}
		for _, w := range words {
			if l == asBeginnings {
				w = beginning(w)
			}
			out.addText(f.key, f.field, w)
		}
	}
	out.Not, out.Or = make([]criteria, len(c.Not)), make([][2]criteria, len(c.Or))
	for i := range c.Not {
		out.Not[i] = *c.Not[i].at(l)
	}
	for i := range c.Or {
		out.Or[i] = [2]criteria{*c.Or[i][0].at(l), *c.Or[i][1].at(l)}
	}
	return &out
}

// beginning is a word without what its forms may differ in: nothing of a short one,
// a letter of one of five or six, two of a longer one.
func beginning(word string) string {
	n := utf8.RuneCountInString(word)
	cut := 0
	if n >= 7 {
		cut = 2
	} else if n >= 5 {
		cut = 1
	}
	for ; cut > 0; cut-- {
		_, size := utf8.DecodeLastRuneInString(word)
		word = word[:len(word)-size]
	}
	return word
}

// relevancy returns how relevant the messages are that FUZZY keys found, by sequence
// number.
func (c *conn) relevancy(cmd *command, k *criteria) (func(seq uint32) uint32, error) {
	var found [asWritten + 1]*result
	for l := asWords; l <= asWritten; l++ {
		r, err := c.findLike(cmd, k, l)
		if err != nil {
			return nil, err
		}
		found[l] = r
	}
	return func(seq uint32) uint32 {
		for l := asWritten; l > asBeginnings; l-- {
			if found[l].has(int(seq) - 1) {
				return relevancies[l]
			}
		}
		return relevancies[asBeginnings]
	}, nil
}
