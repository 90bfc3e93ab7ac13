package store

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSeenSetAgreesWithAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s := &seenSet{chunks: map[UID][]byte{0: {0b1010}}, dirty: map[UID]bool{}}
	read := s.chunks[0]
	want := map[UID]bool{1: true, 3: true}
	for range 20_000 {
		uid := UID(rnd.IntN(3 * seenChunk))
		if rnd.IntN(50) == 0 {
			uid = ^UID(0) - UID(rnd.IntN(10))
		}
		on := rnd.IntN(2) == 0
		s.set(uid, on)
		if want[uid] = on; !on {
			delete(want, uid)
		}
	}
	if s.count() != len(want) {
		t.Errorf("%d are set, want %d", s.count(), len(want))
	}
	for uid := range UID(3 * seenChunk) {
		if s.has(uid) != want[uid] {
			t.Fatalf("%d is %v", uid, s.has(uid))
		}
	}
	if !slices.Equal(read, []byte{0b1010}) {
		t.Errorf("what was read was changed to %x", read)
	}
	for uid := range want {
		s.set(uid, false)
	}
	for n, c := range s.chunks {
		if len(c) != 0 {
			t.Errorf("chunk %d has %d bytes without a bit", n, len(c))
		}
	}
}
