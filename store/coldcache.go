package store

import (
	"encoding/binary"
	"sync"

	"github.com/mailkeel/mailkeel/internal/message"
)

// A coldCache remembers cold rows that were read, as bytes in a few large pieces: one
// more row costs an entry in a map without pointers. The oldest piece goes first. A cold
// row never changes but for being parsed again or repaired, and what stands for that is
// not remembered, or does not pass Check, so that nothing need be forgotten.
type coldCache struct {
	mu     sync.RWMutex
	pieces []coldPiece // the oldest first
	first  uint32      // number of pieces[0]
	at     map[MessageID]coldPlace
}

type coldPiece struct {
	b   []byte
	ids []MessageID
}

type coldPlace struct{ piece, off uint32 }

const (
	coldPieceSize = 256 << 10
	defaultCold   = 64 << 20
)

// coldPieces is how many there are at most.
func (s *Store) coldPieces() int {
	n := s.ColdCache
	if n == 0 {
		n = defaultCold
	}
	return n / coldPieceSize
}

// recall sets those cold rows of ms that are remembered, with bytes in the memory of
// into. The others have Err not nil.
func (s *Store) recall(ms []Parsed, into *Rows) {
	if s.coldPieces() <= 0 {
		return
	}
	k := &s.cold
	k.mu.RLock()
	defer k.mu.RUnlock()
	for i := range ms {
		if p, ok := k.at[ms[i].ID]; ok {
			k.pieces[p.piece-k.first].read(&ms[i], p.off, into, len(ms)-i)
		}
	}
}

// read sets the cold row of p, if the one at off is its, which may be one of so many.
func (k *coldPiece) read(p *Parsed, off uint32, into *Rows, rows int) {
	b := k.b[off:]
	num := func() int {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return int(v)
	}
	sum, account := uint32(num()), num()
	if string(b[:account]) != string(p.Account) {
		return
	}
	b = b[account:]
	prefix, envelope, structure, preview := num(), num(), num(), num()
	c := Cold{Account: p.Account, ID: p.ID, Sum: sum}
	// The caller's own bytes, so that who is slow does not hold the whole piece.
	size := prefix + envelope + structure + preview
	own := into.room(size, rows)
	copy(own, b)
	c.Prefix, own = own[:prefix:prefix], own[prefix:]
	c.Envelope, own = own[:envelope:envelope], own[envelope:]
	c.Structure, c.Preview = own[:structure:structure], own[structure:len(own):len(own)]
	if c.Check(&p.Message) == nil {
		p.Cold, p.Err = c, nil
	}
}

// remember keeps the cold rows of ms.
func (s *Store) remember(ms []Parsed) {
	most := s.coldPieces()
	if most <= 0 {
		return
	}
	k := &s.cold
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range ms {
		p := &ms[i]
		c := &p.Cold
		size := len(c.Prefix) + len(c.Envelope) + len(c.Structure) + len(c.Preview) + len(c.Account) + 6*binary.MaxVarintLen32
		if _, ok := k.at[p.ID]; ok || p.Err != nil || c.Sum == 0 || message.Outdated(c.Envelope) || size > coldPieceSize/16 {
			continue
		}
		if n := len(k.pieces); n == 0 || len(k.pieces[n-1].b)+size > coldPieceSize {
			for len(k.pieces) >= most {
				k.drop()
			}
			k.pieces = append(k.pieces, coldPiece{b: make([]byte, 0, coldPieceSize)})
		}
		last := len(k.pieces) - 1
		piece := &k.pieces[last]
		b := piece.b
		place := coldPlace{k.first + uint32(last), uint32(len(b))}
		b = binary.AppendUvarint(b, uint64(c.Sum))
		b = append(binary.AppendUvarint(b, uint64(len(c.Account))), c.Account...)
		for _, n := range [...]int{len(c.Prefix), len(c.Envelope), len(c.Structure), len(c.Preview)} {
			b = binary.AppendUvarint(b, uint64(n))
		}
		b = append(append(append(append(b, c.Prefix...), c.Envelope...), c.Structure...), c.Preview...)
		piece.b, piece.ids = b, append(piece.ids, p.ID)
		if k.at == nil {
			k.at = make(map[MessageID]coldPlace)
		}
		k.at[p.ID] = place
	}
}

// drop forgets the oldest piece.
func (k *coldCache) drop() {
	for _, id := range k.pieces[0].ids {
		delete(k.at, id)
	}
	k.pieces[0] = coldPiece{}
	k.pieces = k.pieces[1:]
	k.first++
}
