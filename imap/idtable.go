package imap

// An idTable numbers message IDs. They are hashes already, with a seed that nobody
// knows, so their bits are the place to look first.
type idTable struct {
	ids     []messageID
	numbers []int32
	slots   []uint32 // one more than the place in ids, or zero
}

func newIDTable(n int) *idTable {
	size := 64
	for size < 2*n {
		size *= 2
	}
	return &idTable{make([]messageID, 0, n), make([]int32, 0, n), make([]uint32, size)}
}

// slot returns where id is, or the free slot where it belongs.
func (t *idTable) slot(id messageID) uint64 {
	mask := uint64(len(t.slots)) - 1
	i := id[0] & mask
	for t.slots[i] != 0 && t.ids[t.slots[i]-1] != id {
		i = (i + 1) & mask
	}
	return i
}

// get returns the number of id, or -1.
func (t *idTable) get(id messageID) int32 {
	if i := t.slots[t.slot(id)]; i != 0 {
		return t.numbers[i-1]
	}
	return -1
}

// put gives an id that has no number one.
func (t *idTable) put(id messageID, number int32) {
	if 2*len(t.ids) >= len(t.slots) {
		t.slots = make([]uint32, 2*len(t.slots))
		for i, id := range t.ids {
			t.slots[t.slot(id)] = uint32(i) + 1
		}
	}
	t.ids = append(t.ids, id)
	t.numbers = append(t.numbers, number)
	t.slots[t.slot(id)] = uint32(len(t.ids))
}
