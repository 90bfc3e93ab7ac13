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

// retain adds a user. It is called by one who is sure that there is another.
func (m *memory) retain() { m.refs.Add(1) }

func (m *memory) release() {
	if m.refs.Add(-1) == 0 && cap(m.buf) <= 64<<10 {
		m.buf = m.buf[:0]
		m.s.memories.Put(m)
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
