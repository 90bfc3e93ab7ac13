package packblob

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"time"
)

// slack is how much younger a blob may be in memory than on disk. Making blobs
// young that were noted within it costs no record, and a start adds it to every
// stamp: a blob may then look younger than it is, never older.
const slack = 5 * time.Minute

// A place is where a blob lies.
type place struct {
	spot
	kind   byte   // of its record
	length uint32 // of the blob
	record int64  // size of the record
	noted  uint32 // the stamp on disk, in seconds
	young  int64  // nanoseconds
}

const maxBlob = 1<<31 - 1

func (p place) size() int64 { return int64(p.length) }

func seconds(stamp int64) uint32 { return uint32(stamp / int64(time.Second)) }

// An index finds blobs. It has a part for each first byte of a hash, so that
// listing in order needs to sort only a part at a time. It takes 69 to 86 bytes a
// blob.
type index struct {
	parts [256]table
	seed  [2]uint64
	n     int
	bytes int64
	large int
}

// reserve makes room for about n blobs.
func (x *index) reserve(n int) {
	for i := range x.parts {
		// The parts differ by chance; the rest grow once.
		x.parts[i].grow(x, n/len(x.parts)*8/7+n/len(x.parts)/16)
	}
}

func (x *index) get(h hash) (place, bool) {
	t := &x.parts[h[0]]
	if i, _, ok := t.find(x, &h); ok {
		return t.slots[i].place(), true
	}
	return place{}, false
}

// set returns what it replaces.
func (x *index) set(h hash, p place) (old place, replaced bool) {
	return x.update(h, func(was place, there bool) place {
		old, replaced = was, there
		return p
	})
}

// update calls fn with what is there and keeps what it returns.
func (x *index) update(h hash, fn func(old place, there bool) place) (old place, there bool) {
	t := &x.parts[h[0]]
	t.room(x)
	i, far, there := t.find(x, &h)
	if there {
		old = t.slots[i].place()
		x.count(old, -1)
	}
	p := fn(old, there)
	x.count(p, 1)
	if there {
		t.slots[i] = newSlot(h, p)
	} else {
		t.put(x, newSlot(h, p), i, far)
	}
	return old, there
}

func (x *index) remove(h hash) {
	t := &x.parts[h[0]]
	if i, _, ok := t.find(x, &h); ok {
		x.count(t.slots[i].place(), -1)
		t.remove(x, i)
	}
}

func (x *index) count(p place, by int) {
	x.n += by
	x.bytes += int64(by) * p.size()
	if isLarge(p.kind) {
		x.large += by
	}
}

// mix spreads hashes. They are spread already, but a sender of mail can choose some
// bits of them; the seed is not known outside.
func (x *index) mix(h *hash) uint64 {
	for x.seed[0] == 0 {
		x.seed = [2]uint64{rand.Uint64(), rand.Uint64() | 1}
	}
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(h[8:])^x.seed[0], binary.LittleEndian.Uint64(h[16:])^x.seed[1])
	return hi ^ lo
}

// A slot is a hash and its place in 60 bytes. It is empty if what is 0.
type slot struct {
	hash            hash
	seg, at, length uint32
	what            uint32 // the size of the record in steps of 8, and the kind in the low byte
	noted           uint32
	young           [2]uint32 // halves, so that there is no padding
}

func newSlot(h hash, p place) slot {
	return slot{
		h, p.seg, p.at, p.length, uint32(p.record/8)<<8 | uint32(p.kind), p.noted,
		[2]uint32{uint32(p.young), uint32(uint64(p.young) >> 32)},
	}
}

func (e *slot) place() place {
	return place{
		spot{e.seg, e.at}, byte(e.what), e.length, int64(e.what>>8) * 8, e.noted,
		int64(uint64(e.young[0]) | uint64(e.young[1])<<32),
	}
}

// A table is a hash table with open addressing in which an entry that is further
// from its home goes first ("Robin Hood"), so that it can be seven eighths full.
// A map of Go takes more, and grows by doubling.
type table struct {
	slots []slot
	n     int
}

func (t *table) home(x *index, h *hash) int {
	at, _ := bits.Mul64(x.mix(h), uint64(len(t.slots)))
	return int(at)
}

// far is how far an entry at i is from its home.
func (t *table) far(x *index, i int) int {
	d := i - t.home(x, &t.slots[i].hash)
	if d < 0 {
		d += len(t.slots)
	}
	return d
}

func (t *table) next(i int) int {
	if i++; i == len(t.slots) {
		return 0
	}
	return i
}

// find returns where an entry is, or where it belongs, and how far that is from its
// home. It is good until the next put or remove.
func (t *table) find(x *index, h *hash) (i, far int, ok bool) {
	if len(t.slots) == 0 {
		return 0, 0, false
	}
	for i = t.home(x, h); ; i, far = t.next(i), far+1 {
		e := &t.slots[i]
		if e.hash == *h && e.what != 0 {
			return i, far, true
		}
		if e.what == 0 || t.far(x, i) < far {
			return i, far, false
		}
	}
}

// room makes some for one more.
func (t *table) room(x *index) {
	if t.n+1 > len(t.slots)/8*7 {
		t.grow(x, len(t.slots)/4*5+16)
	}
}

// put takes an entry that is not there, and where find said it belongs.
func (t *table) put(x *index, e slot, i, far int) {
	t.n++
	for ; ; i, far = t.next(i), far+1 {
		at := &t.slots[i]
		if at.what == 0 {
			*at = e
			return
		}
		if f := t.far(x, i); f < far {
			*at, e, far = e, *at, f
		}
	}
}

func (t *table) grow(x *index, size int) {
	if size <= len(t.slots) {
		return
	}
	old := t.slots
	t.slots, t.n = make([]slot, size), 0
	for j := range old {
		if old[j].what != 0 {
			i, far, _ := t.find(x, &old[j].hash)
			t.put(x, old[j], i, far)
		}
	}
}

// remove empties a slot, and moves what comes after it nearer home.
func (t *table) remove(x *index, i int) {
	t.n--
	for {
		j := t.next(i)
		if t.slots[j].what == 0 || t.far(x, j) == 0 {
			t.slots[i] = slot{}
			return
		}
		t.slots[i] = t.slots[j]
		i = j
	}
}

// all returns the entries, in no order.
func (t *table) all() []slot {
	list := make([]slot, 0, t.n)
	for i := range t.slots {
		if t.slots[i].what != 0 {
			list = append(list, t.slots[i])
		}
	}
	return list
}
