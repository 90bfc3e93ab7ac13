package packblob

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// smallRead is up to where a blob is read in one piece; a larger one is read once
// to check it and then again.
const smallRead = 64 << 10

// hold finds a blob and keeps its segment, until release.
func (s *Store) hold(ref blob.Ref) (hash, place, *segment, error) {
	h, ok := parseRef(ref)
	if !ok {
		return h, place{}, nil, fmt.Errorf("packblob: %.80q: %w", string(ref), blob.ErrNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return h, place{}, nil, ErrClosed
	}
	p, ok := s.index.get(h)
	if !ok {
		return h, place{}, nil, s.missing(h)
	}
	g := s.segs[p.seg]
	g.users++
	return h, p, g, nil
}

// missing says why a blob is not there. The caller holds mu.
func (s *Store) missing(h hash) error {
	if d, ok := s.damaged[h]; ok {
		return &damagedError{d}
	}
	return fmt.Errorf("packblob: %s: %w", h.ref(), blob.ErrNotFound)
}

// Open reads a blob. What it returns is checked: wrong bytes are ErrDamaged here or
// from Read.
func (s *Store) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h, p, g, err := s.hold(ref)
	if err != nil {
		return nil, err
	}
	off = min(max(off, 0), p.size())
	if n < 0 || n > p.size()-off {
		n = p.size() - off
	}
	f, err := g.file()
	if err != nil {
		s.release(g)
		return nil, fmt.Errorf("packblob: %w", err)
	}
	if p.large() {
		defer s.release(g)
		return s.openLarge(f, g, h, p, off, n)
	}
	payload, err := s.payload(f, g.tag, h, p, p.size() <= smallRead)
	if err == nil && payload != nil {
		s.release(g)
		return io.NopCloser(bytes.NewReader(payload[off : off+n])), nil
	}
	if err != nil {
		s.release(g)
		return nil, s.readError(h, p, err)
	}
	return &segmentReader{io.NewSectionReader(f, p.off()+headerSize+off, n), s, g}, nil
}

// segmentReader keeps its segment.
type segmentReader struct {
	*io.SectionReader
	s *Store
	g *segment
}

func (r *segmentReader) Close() error {
	if r.g != nil {
		r.s.release(r.g)
		r.g, r.SectionReader = nil, io.NewSectionReader(nil, 0, 0)
	}
	return nil
}

// errWrong means that bytes are not what was written.
var errWrong = errors.New("bytes differ from what was written")

// payload checks the record of a blob, and returns its payload if it is wanted.
func (s *Store) payload(f io.ReaderAt, t tag, h hash, p place, wanted bool) ([]byte, error) {
	size := p.record() - headerSize
	buf := make([]byte, headerSize+min(size, smallRead))
	if wanted {
		buf = make([]byte, headerSize+size)
	}
	if err := readFull(f, buf, p.off()); err != nil {
		if eofIsNil(err) == nil {
			err = errWrong
		}
		return nil, err
	}
	rec, ok := decodeRecord(buf, t)
	if !ok || rec.hash != h || recordSize(int64(rec.length)) != p.record() || rec.kind != kindBlob && rec.kind != kindLarge {
		return nil, errWrong
	}
	first := buf[headerSize:][:min(int64(rec.length), int64(len(buf)-headerSize))]
	sum := checksum(first)
	for at := int64(len(first)); at < int64(rec.length); {
		b := buf[:min(int64(len(buf)), int64(rec.length)-at)]
		if err := readFull(f, b, p.off()+headerSize+at); err != nil {
			return nil, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		at += int64(len(b))
	}
	if sum != rec.sum {
		return nil, errWrong
	}
	if wanted {
		return first, nil
	}
	return nil, nil
}

// readError parks a blob whose bytes are wrong.
func (s *Store) readError(h hash, p place, err error) error {
	if !errors.Is(err, errWrong) {
		return fmt.Errorf("packblob: %w", err)
	}
	d := Damage{Ref: h.ref(), Segment: p.seg, Reason: errWrong.Error()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, ok := s.index.get(h); ok && now.spot == p.spot {
		s.forget(h)
		s.damaged[h] = d
		if g := s.segs[p.seg]; g != nil {
			g.parked = true
		}
		s.log.Error("packblob: a blob is damaged", "blob", d.Ref, "segment", p.seg)
	}
	return &damagedError{d}
}

// openLarge reads a blob in a file of its own, block by block.
func (s *Store) openLarge(f io.ReaderAt, g *segment, h hash, p place, off, n int64) (io.ReadCloser, error) {
	sums, err := s.payload(f, g.tag, h, p, true)
	if err == nil && (len(sums) < 8 || leUint64(sums) != uint64(p.size())) {
		err = errWrong
	}
	if err != nil {
		return nil, s.readError(h, p, err)
	}
	file, err := s.fs.OpenFile(s.largePath(h), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		s.mu.Lock()
		now, ok := s.index.get(h)
		s.mu.Unlock()
		if ok && now.spot == p.spot {
			return nil, s.readError(h, p, fmt.Errorf("%w: its file is missing", errWrong))
		}
		return nil, fmt.Errorf("packblob: %s: %w", h.ref(), blob.ErrNotFound) // deleted meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("packblob: %w", err)
	}
	return &largeReader{s: s, f: file, h: h, p: p, sums: sums[8:], off: off, end: off + n}, nil
}

type largeReader struct {
	s        *Store
	f        vfs.File
	h        hash
	p        place
	sums     []byte
	off, end int64
	block    []byte // the checked block that off is in, or empty
	err      error
}

func (r *largeReader) Read(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.off >= r.end {
		return 0, io.EOF
	}
	if len(b) == 0 {
		return 0, nil
	}
	in := r.off % largeBlock
	if len(r.block) == 0 || in == 0 {
		if r.err = r.load(r.off - in); r.err != nil {
			return 0, r.err
		}
	}
	n := copy(b, r.block[in:min(int64(len(r.block)), in+r.end-r.off)])
	r.off += int64(n)
	return n, nil
}

// load reads a block. When the last byte of a block was read off is in the next.
func (r *largeReader) load(at int64) error {
	if r.block == nil {
		r.block = make([]byte, largeBlock)
	}
	r.block = r.block[:min(largeBlock, r.p.size()-at)]
	err := readFull(r.f, r.block, at)
	if err != nil && eofIsNil(err) == nil || err == nil && checksum(r.block) != binary.LittleEndian.Uint32(r.sums[at/largeBlock*4:]) {
		err = errWrong
	}
	if err != nil {
		return r.s.readError(r.h, r.p, err)
	}
	return nil
}

func (r *largeReader) Close() error {
	if r.f == nil {
		return nil
	}
	err := r.f.Close()
	r.f, r.err = nil, os.ErrClosed
	return err
}
