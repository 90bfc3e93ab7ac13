package packblob

import "time"

// slack is how much younger a blob may be in memory than on disk. Making blobs
// young that were noted within it costs no record, and a start adds it to every
// stamp: a blob may then look younger than it is, never older.
const slack = 5 * time.Minute

// A place is where a blob lies, in 24 bytes.
type place struct {
	spot
	length uint32 // of the blob; the top bit is set for one in a file of its own
	noted  uint32 // the stamp on disk, in seconds
	young  int64  // nanoseconds
}

const (
	largeBit = 1 << 31
	maxBlob  = largeBit - 1
)

func (p place) size() int64 { return int64(p.length &^ largeBit) }
func (p place) large() bool { return p.length&largeBit != 0 }

func seconds(stamp int64) uint32 { return uint32(stamp / int64(time.Second)) }

// record is the size of the record.
func (p place) record() int64 {
	if p.large() {
		return recordSize(largePayload(p.size()))
	}
	return recordSize(p.size())
}

// An index finds blobs. It has a part for each first byte of a hash, so that
// listing in order needs to sort only a part at a time. With the map's own room
// to grow it takes about 90 bytes a blob.
type index struct {
	parts [256]map[hash]place
	hint  int // how many there will be
	n     int
	bytes int64
	large int
}

func (x *index) get(h hash) (place, bool) {
	p, ok := x.parts[h[0]][h]
	return p, ok
}

// set returns what it replaces.
func (x *index) set(h hash, p place) (old place, replaced bool) {
	m := x.parts[h[0]]
	if m == nil {
		m = make(map[hash]place, x.hint/len(x.parts))
		x.parts[h[0]] = m
	}
	if old, replaced = m[h]; replaced {
		x.count(old, -1)
	}
	m[h] = p
	x.count(p, 1)
	return old, replaced
}

func (x *index) remove(h hash) {
	if p, ok := x.get(h); ok {
		delete(x.parts[h[0]], h)
		x.count(p, -1)
	}
}

func (x *index) count(p place, by int) {
	x.n += by
	x.bytes += int64(by) * p.size()
	if p.large() {
		x.large += by
	}
}
