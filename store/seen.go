package store

import (
	"fmt"
	"math/bits"
	"strconv"
)

// Flags of a shared mailbox are shared, but for \Seen: the owner's is in the row
// of the message, and what another account has seen is kept as Objects of the
// owner, in bitmaps of seenChunk UIDs. A bit is set only while its message is in
// the mailbox, so that the set bits count what was seen.
const (
	seenChunk = 8192
	seenKind  = "seen/"
)

type seenKey struct {
	box  MailboxID
	user AccountID
}

// A seenSet is what one account has seen in a mailbox of another.
type seenSet struct {
	w      *work // nil in a View
	owner  AccountID
	kind   string
	chunks map[UID][]byte // by UID/seenChunk
	dirty  map[UID]bool
}

func kindSeen(box MailboxID, user AccountID) string {
	return fmt.Sprintf("%s%d/%s", seenKind, box, user)
}

// readSeen reads the whole set.
func readSeen(tx Tx, mb *Mailbox, user AccountID) (*seenSet, error) {
	s := &seenSet{owner: mb.Account, kind: kindSeen(mb.ID, user), chunks: map[UID][]byte{}}
	for o, err := range tx.Objects(mb.Account, ObjectQuery{Kind: s.kind}) {
		if err != nil {
			return nil, err
		}
		if n, err := strconv.ParseUint(o.ID, 16, 32); err == nil {
			s.chunks[UID(n)] = o.Data
		}
	}
	return s, nil
}

// seenBy returns the set of a user that can be changed.
func (w *work) seenBy(mb *workBox, user AccountID) (*seenSet, error) {
	k := seenKey{mb.ID, user}
	if s := w.seen[k]; s != nil {
		return s, nil
	}
	s, err := readSeen(w, &mb.Mailbox, user)
	if err != nil {
		return nil, err
	}
	s.w, s.dirty = w, map[UID]bool{}
	if w.seen == nil {
		w.seen = map[seenKey]*seenSet{}
	}
	w.seen[k] = s
	return s, nil
}

func (s *seenSet) has(uid UID) bool {
	c, bit := s.chunks[uid/seenChunk], uid%seenChunk
	return int(bit/8) < len(c) && c[bit/8]&(1<<(bit%8)) != 0
}

// set changes a bit. Chunks that were read are not changed in place.
func (s *seenSet) set(uid UID, on bool) {
	if s.has(uid) == on {
		return
	}
	n, bit := uid/seenChunk, uid%seenChunk
	old := s.chunks[n]
	c := old
	if !s.dirty[n] || int(bit/8) >= len(old) {
		c = make([]byte, max(len(old), int(bit/8)+1))
		copy(c, old)
	}
	c[bit/8] ^= 1 << (bit % 8)
	for len(c) > 0 && c[len(c)-1] == 0 {
		c = c[:len(c)-1]
	}
	s.chunks[n], s.dirty[n] = c, true
}

// count is how many messages were seen.
func (s *seenSet) count() (n int) {
	for _, c := range s.chunks {
		for _, b := range c {
			n += bits.OnesCount8(b)
		}
	}
	return n
}

// view makes m what the set's user sees.
func (s *seenSet) view(m *Message) { m.Flags = withSeen(m.Flags, s.has(m.UID)) }

func (s *seenSet) flush() error {
	for n := range s.dirty {
		o := Object{Account: s.owner, Kind: s.kind, ID: fmt.Sprintf("%05x", n), Data: s.chunks[n], Deleted: len(s.chunks[n]) == 0}
		if err := s.w.object(o); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets all that the user has seen.
func (s *seenSet) drop() {
	for n := range s.chunks {
		s.chunks[n], s.dirty[n] = nil, true
	}
}
