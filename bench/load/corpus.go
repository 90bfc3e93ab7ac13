package load

import (
	"bytes"
	"fmt"
	"math/rand"
	"time"
)

// vocabulary makes up words; their use follows a Zipf law, so that compressors
// and indexes see something like mail.
func vocabulary(n int) []string {
	r := rand.New(rand.NewSource(1))
	const consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
	words := make([]string, n)
	for i := range words {
		var b []byte
		for range 1 + r.Intn(4) {
			b = append(b, consonants[r.Intn(len(consonants))], vowels[r.Intn(len(vowels))])
		}
		words[i] = string(b)
	}
	return words
}

// Corpus makes test messages. Message i of a Corpus always has the same bytes.
type Corpus struct{ words []string }

// NewCorpus makes the vocabulary.
func NewCorpus() *Corpus { return &Corpus{vocabulary(20_000)} }

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// What searches find: so many of n Stored messages have it.
const (
	// Rare stands in the text of the first of each 1,000 messages.
	Rare = "needlek"
	// NumberField is a header field with the number of the message, at its end.
	NumberField = "X-Load-Number"
)

// Message returns message i with about size bytes, CRLF line ends and no line
// that begins with a dot.
func (c *Corpus) Message(i, size int) []byte { return c.message(i, size, false) }

// Stored is Message as it lies in a mailbox, with more of a header and with words
// to search for.
func (c *Corpus) Stored(i, size int) []byte { return c.message(i, size, true) }

func (c *Corpus) message(i, size int, stored bool) []byte {
	r := rand.New(rand.NewSource(int64(i)*7919 + 17))
	z := rand.NewZipf(r, 1.1, 4, uint64(len(c.words)-1))
	word := func() string { return c.words[z.Uint64()] }
	date := epoch.Add(time.Duration(i) * time.Second).Format(time.RFC1123Z)
	var b bytes.Buffer
	b.Grow(size + 512)
	if stored {
		fmt.Fprintf(&b, "Received: from src%d.example.com by mx.example.org with ESMTP id R%08x; %s\r\n", i%251, i, date)
	}
	fmt.Fprintf(&b, "From: \"%s %s\" <sender%d@example.com>\r\n", word(), word(), i%5003)
	fmt.Fprintf(&b, "To: user <user@example.org>\r\nSubject: topic%d %s %s %s\r\n", i%97, word(), word(), word())
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <load-%d@example.com>\r\n", date, i)
	if stored && i%3 == 2 {
		fmt.Fprintf(&b, "In-Reply-To: <load-%d@example.com>\r\nReferences: <load-%d@example.com> <load-%d@example.com>\r\n", i-1, i-2, i-1)
	}
	if stored {
		fmt.Fprintf(&b, "%s: %d\r\n", NumberField, i)
	}
	fmt.Fprintf(&b, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n")
	if stored {
		b.WriteString("Content-Transfer-Encoding: 7bit\r\n")
	}
	b.WriteString("\r\n")
	if stored && i%1000 == 0 {
		b.WriteString(Rare + " is here\r\n")
	}
	col := 0
	for b.Len() < size-2 {
		s := word()
		if col+len(s)+1 > 72 {
			b.WriteString("\r\n")
			col = 0
		}
		if col > 0 {
			b.WriteByte(' ')
			col++
		}
		b.WriteString(s)
		col += len(s)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
