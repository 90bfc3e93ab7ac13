package packblob

import (
	"bytes"
	"io"
	"sync/atomic"
)

// memory is the bytes of a small blob. They are used again when nobody has use for
// them: the writer, the batch that they are in, and those who read them.
type memory struct {
	s    *Store
	buf  []byte
	refs atomic.Int32
}

// memory returns some that is empty, for one user.
func (s *Store) memory() *memory {
	m, _ := s.memories.Get().(*memory)
	if m == nil {
		m = &memory{s: s, buf: make([]byte, 0, 16<<10)}
	}
	m.refs.Store(1)
	return m
}

// memoryFor returns some for reading a record.
func (s *Store) memoryFor(record int64) *memory {
	if record <= keptMemory {
		return s.memory()
	}
	m, _ := s.large.Get().(*memory)
	if m == nil {
		m = &memory{s: s, buf: make([]byte, 0, recordSize(smallRead))}
	}
	m.refs.Store(1)
	return m
}

// keptMemory is how large memory may be that writers use again.
const keptMemory = 64 << 10

// retain adds a user. It is called by one who is sure that there is another.
func (m *memory) retain() { m.refs.Add(1) }

func (m *memory) release() {
	if m.refs.Add(-1) > 0 {
		return
	}
	switch n := cap(m.buf); {
	case n <= keptMemory:
		m.buf = m.buf[:0]
		m.s.memories.Put(m)
	case int64(n) == recordSize(smallRead):
		m.buf = m.buf[:0]
		m.s.large.Put(m)
	}
}

func (m *memory) open() io.ReadCloser {
	m.retain()
	return &memoryReader{*bytes.NewReader(m.buf), m}
}

type memoryReader struct {
	bytes.Reader
	m *memory
}

func (r *memoryReader) Close() error {
	if r.m != nil {
		r.Reset(nil)
		r.m.release()
		r.m = nil
	}
	return nil
}
