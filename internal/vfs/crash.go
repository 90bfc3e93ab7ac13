package vfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// A write is a change to the bytes of a file: it has size bytes after it.
type write struct {
	size int64
	off  int64
	data []byte
}

// on returns b with the change made.
func (w write) on(b []byte) []byte {
	if w.size <= int64(len(b)) {
		b = b[:w.size:w.size]
	} else {
		b = append(b, make([]byte, w.size-int64(len(b)))...)
	}
	copy(b[min(w.off, w.size):], w.data)
	return b
}

func (n *node) apply(w write) {
	n.data = w.on(n.data)
	n.writes = append(n.writes, w)
}

// A change is one to the names in a folder: it takes from away and puts node at
// to. Either may be empty.
type change struct {
	from, to string
	node     *node
}

func (c change) on(names map[string]*node) {
	delete(names, c.from)
	if c.to != "" {
		names[c.to] = c.node
	}
}

func (n *node) change(c change) {
	c.on(n.names)
	n.changes = append(n.changes, c)
}

// used is how many bytes the files below have.
func (n *node) used() int64 {
	sum := int64(len(n.data))
	for _, at := range n.names {
		sum += at.used()
	}
	return sum
}

// Free returns what fits yet.
func (m *Mem) Free(string) (int64, bool) {
	root, unlock := m.lock()
	defer unlock()
	return max(0, m.Capacity-root.used()), m.Capacity > 0
}

// A Loss is what a power cut does to what was not synced.
type Loss int

const (
	// LoseAll keeps what was synced and nothing else.
	LoseAll Loss = iota
	// LoseHalf keeps each block of 4 KB of each write, each change of a length
	// and each change of a name or not, by chance.
	LoseHalf
	// LoseTail keeps all but the last change of names of each folder and the
	// last write to each file, of which it keeps a part from the front, of any
	// length.
	LoseTail
)

// Crash returns what a power cut would leave: names that were synced with their
// folder, with the bytes that were synced. m itself goes on.
func (m *Mem) Crash() *Mem { return m.CrashWith(LoseAll, 0) }

// CrashWith is Crash in other ways. The same seed makes the same choices.
func (m *Mem) CrashWith(loss Loss, seed uint64) *Mem {
	root, unlock := m.lock()
	defer unlock()
	c := &crash{loss, rand.New(rand.NewPCG(seed, 1)), map[*node]*node{}}
	return &Mem{Capacity: m.Capacity, root: c.node(root)}
}

type crash struct {
	loss Loss
	rnd  *rand.Rand
	seen map[*node]*node // one file may have two names
}

func (c *crash) node(n *node) *node {
	if left := c.seen[n]; left != nil {
		return left
	}
	left := &node{dir: n.dir, perm: n.perm, mtime: n.mtime}
	c.seen[n] = left
	if !n.dir {
		left.data = c.bytes(n)
		left.synced = bytes.Clone(left.data)
		return left
	}
	names := maps.Clone(n.durable)
	for i, ch := range n.changes {
		if c.loss == LoseHalf && c.rnd.IntN(2) == 0 || c.loss == LoseTail && i < len(n.changes)-1 {
			ch.on(names)
		}
	}
	left.names = map[string]*node{}
	for _, base := range slices.Sorted(maps.Keys(names)) {
		left.names[base] = c.node(names[base])
	}
	left.durable = maps.Clone(left.names)
	return left
}

func (c *crash) bytes(n *node) []byte {
	b := bytes.Clone(n.synced)
	for i, w := range n.writes {
		switch {
		case c.loss == LoseTail && i < len(n.writes)-1:
			b = w.on(b)
		case c.loss == LoseTail && len(w.data) > 0:
			w.data = w.data[:c.rnd.IntN(len(w.data))]
			w.size = max(int64(len(b)), w.off+int64(len(w.data)))
			b = w.on(b)
		case c.loss == LoseHalf && len(w.data) == 0 && c.rnd.IntN(2) == 0:
			b = w.on(b)
		case c.loss == LoseHalf:
			b = c.blocks(b, w)
		}
	}
	return b
}

// blocks makes a part of a write.
func (c *crash) blocks(b []byte, w write) []byte {
	for off, rest := w.off, w.data; len(rest) > 0; {
		n := min(4096-off%4096, int64(len(rest)))
		if c.rnd.IntN(2) == 0 {
			b = write{max(int64(len(b)), off+n), off, rest[:n]}.on(b)
		}
		off, rest = off+n, rest[n:]
	}
	return b
}
