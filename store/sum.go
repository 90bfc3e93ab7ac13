package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// scratch is for sum, which is made for every row that is read.
var scratch = sync.Pool{New: func() any { return new([512]byte) }}

// sealedForm is the first form of envelopes (internal/message) that was never written
// without a Sum: one without it has lost it.
const sealedForm = 3

// seal sets the Sum of the cold row of m.
func (c *Cold) seal(m *Message) { c.Sum = c.sum(m) }

// Check compares a cold row with the message it is of: ErrDamaged if they were not
// written together, or one has changed since. What may change of a message, its
// place, flags and MODSEQ, is not compared.
func (c *Cold) Check(m *Message) error {
	if !c.bare() && c.Sum != c.sum(m) {
		return fmt.Errorf("%w: message %d has a wrong checksum", ErrDamaged, m.ID)
	}
	return nil
}

// bare reports whether a row never had a checksum.
func (c *Cold) bare() bool {
	return c.Sum == 0 && (len(c.Envelope) == 0 || c.Envelope[0] < sealedForm)
}

// sum is never zero. Times count in milliseconds, as backends keep them.
func (c *Cold) sum(m *Message) uint32 {
	buf := scratch.Get().(*[512]byte)
	defer scratch.Put(buf)
	b := buf[:0]
	for _, s := range []string{string(m.Account), string(m.Blob)} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	for _, n := range []int64{int64(m.ID), int64(m.Thread), int64(m.Created), m.Received.UnixMilli(), m.Size} {
		b = binary.AppendVarint(b, n)
	}
	for _, n := range []int{len(c.Prefix), len(c.Envelope), len(c.Structure), len(c.Preview)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	sum := crc32.Update(0, castagnoli, b)
	for _, f := range [...][]byte{c.Prefix, c.Envelope, c.Structure, c.Preview} {
		sum = crc32.Update(sum, castagnoli, f)
	}
	return max(sum, 1)
}
