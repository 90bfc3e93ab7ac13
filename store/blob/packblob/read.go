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
	"slices"
	"syscall"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// smallRead is up to where a blob is read in one piece; a larger one is read once
// to check it and then again.
const smallRead = 112 << 10

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
	if d, ok := s.unread[h]; ok { // a large one without a record
		s.wake()
		return &unreadableError{d, nil}
	}
	for _, d := range s.lost { // it may be there
		s.wake()
		d.Ref = h.ref()
		return &unreadableError{d, nil}
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
	if isLarge(p.kind) {
		defer s.release(g)
		return s.openLarge(f, g, h, p, off, n)
	}
	if !isPacked(p.kind) && p.size() <= smallRead {
		defer s.release(g)
		m := s.memoryFor(p.record)
		payload, err := s.payloadIn(m, f, g.tag, h, p, true)
		if err != nil {
			m.release()
			return nil, s.readError(h, p, err)
		}
		s.wasRead(h)
		return &memoryReader{*bytes.NewReader(payload[off : off+n]), m}, nil
	}
	var payload []byte
	if isPacked(p.kind) {
		payload, err = s.payload(f, g.tag, h, p, true)
	} else {
		m := s.memory()
		_, err = s.payloadIn(m, f, g.tag, h, p, false)
		m.release()
	}
	if err == nil && isPacked(p.kind) {
		payload, err = s.unpackSmall(payload, p)
	}
	if err == nil {
		s.wasRead(h)
	}
	if err == nil && payload != nil {
		s.release(g)
		return io.NopCloser(bytes.NewReader(payload[off : off+n])), nil
	}
	if err != nil {
		s.release(g)
		return nil, s.readError(h, p, err)
	}
	return &segmentReader{io.NewSectionReader(f, p.off()+headerSize+off, n), s, g, h, p}, nil
}

// Append reads a blob without opening it. Of a small one nothing is made.
func (s *Store) Append(ctx context.Context, buf []byte, ref blob.Ref, off, n int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return buf, err
	}
	h, p, g, err := s.hold(ref)
	if err != nil {
		return buf, err
	}
	if isLarge(p.kind) || isPacked(p.kind) || p.size() > smallRead {
		s.release(g)
		return s.appendOpened(ctx, buf, ref, off, n)
	}
	defer s.release(g)
	f, err := g.file()
	if err != nil {
		return buf, fmt.Errorf("packblob: %w", err)
	}
	w := s.stretch()
	defer s.stretches.Put(w)
	payload, err := w.payload(f, g, h, p)
	if err != nil {
		return buf, s.readError(h, p, err)
	}
	s.wasRead(h)
	payload = payload[min(max(off, 0), p.size()):]
	if n >= 0 {
		payload = payload[:min(n, int64(len(payload)))]
	}
	return append(buf, payload...), nil
}

// appendOpened is Append for those blobs that are read in pieces.
func (s *Store) appendOpened(ctx context.Context, buf []byte, ref blob.Ref, off, n int64) ([]byte, error) {
	rc, err := s.Open(ctx, ref, off, n)
	if err != nil {
		return buf, err
	}
	defer rc.Close()
	b := bytes.NewBuffer(buf)
	_, err = b.ReadFrom(rc)
	return b.Bytes(), err
}

// unpackSmall takes the payload of a packed blob.
func (s *Store) unpackSmall(payload []byte, p place) ([]byte, error) {
	if len(payload) < 8 || leUint64(payload) != uint64(p.size()) {
		return nil, errWrong
	}
	b, err := s.codec.unpack(make([]byte, 0, p.size()), payload[8:])
	if err == nil && int64(len(b)) != p.size() {
		err = errWrong
	}
	return b, err
}

// segmentReader keeps its segment.
type segmentReader struct {
	*io.SectionReader
	s *Store
	g *segment
	h hash
	p place
}

func (r *segmentReader) Read(b []byte) (int, error) {
	n, err := r.SectionReader.Read(b)
	if err != nil && err != io.EOF {
		err = r.s.readError(r.h, r.p, err)
	}
	return n, err
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
	return s.payloadIn(new(memory), f, t, h, p, wanted)
}

// payloadIn is payload, which it reads into m.
func (s *Store) payloadIn(m *memory, f io.ReaderAt, t tag, h hash, p place, wanted bool) ([]byte, error) {
	size := p.record
	if !wanted {
		size = min(p.record, keptMemory)
	}
	m.buf = slices.Grow(m.buf[:0], int(size))[:size]
	buf := m.buf
	if err := readFull(f, buf, p.off()); err != nil {
		if eofIsNil(err) == nil {
			err = errWrong
		}
		return nil, err
	}
	rec, ok := decodeRecord(buf, t)
	if !ok || !rec.at(h, p) {
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

// at reports whether a record is that of a blob.
func (rec *record) at(h hash, p place) bool {
	return rec.hash == h && recordSize(int64(rec.length)) == p.record && rec.kind == p.kind
}

// unreadable says whether the disk could not give bytes back. It may another time.
func unreadable(err error) bool { return errors.Is(err, syscall.EIO) }

// readError parks a blob whose bytes are wrong, and notes one that cannot be read.
func (s *Store) readError(h hash, p place, err error) error {
	wrong := errors.Is(err, errWrong)
	if !wrong && !unreadable(err) {
		return fmt.Errorf("packblob: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.index.get(h)
	here := ok && now.spot == p.spot
	switch d := (Damage{DamagedBlob, h.ref(), p.seg, p.off(), err.Error()}); {
	case wrong && here:
		s.forget(h)
		return &damagedError{s.park(h, p.spot, err.Error())}
	case wrong:
		return &damagedError{d}
	default:
		d.State = UnreadableBlob
		if here {
			s.fails(h, d)
		}
		return &unreadableError{d, err}
	}
}

// fails notes that a blob could not be read. The caller holds mu.
func (s *Store) fails(h hash, d Damage) {
	if _, known := s.unread[h]; !known {
		s.log.Error("packblob: a blob cannot be read", "blob", d.Ref, "segment", d.Segment, "offset", d.Offset, "reason", d.Reason)
	}
	s.unread[h] = d
	s.failing.Store(int32(len(s.unread)))
}

// readsWell forgets that a blob could not be read. The caller holds mu.
func (s *Store) readsWell(h hash) {
	if len(s.unread) > 0 {
		delete(s.unread, h)
		s.failing.Store(int32(len(s.unread)))
	}
}

// wasRead says that all of a blob was read.
func (s *Store) wasRead(h hash) {
	if s.failing.Load() > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.readsWell(h)
	}
}

// openLarge reads a blob in a file of its own, block by block.
func (s *Store) openLarge(f io.ReaderAt, g *segment, h hash, p place, off, n int64) (io.ReadCloser, error) {
	sums, err := s.payload(f, g.tag, h, p, true)
	if err == nil && (len(sums) < 8 || leUint64(sums) != uint64(p.size()) || int64(len(sums)) != largePayload(p.kind, p.size())) {
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
		return nil, s.readError(h, p, err)
	}
	return s.newLargeReader(file, h, p, sums[8:], off, off+n), nil
}

func (s *Store) newLargeReader(f vfs.File, h hash, p place, sums []byte, off, end int64) *largeReader {
	r := &largeReader{s: s, h: h, p: p, blocks: blockReader{f: f, codec: &s.codec, left: p.size()}, sums: sums, off: off, end: end, whole: off == 0}
	r.skip(off / largeBlock)
	return r
}

// A largeReader reads block after block.
type largeReader struct {
	s        *Store
	h        hash
	p        place
	blocks   blockReader
	sums     []byte // of the blocks to come
	off, end int64
	rest     []byte // of the checked block that off is in
	whole    bool   // from the first byte on
	err      error
}

// skip goes to a block.
func (r *largeReader) skip(blocks int64) {
	r.blocks.left -= blocks * largeBlock
	if !isPacked(r.p.kind) {
		r.blocks.at = blocks * largeBlock
		r.sums = r.sums[blocks*4:]
		return
	}
	r.blocks.at = int64(len(largeMagic))
	for ; blocks > 0; blocks-- {
		r.blocks.at += 8 + int64(binary.LittleEndian.Uint32(r.sums)&^packedBlock)
		r.sums = r.sums[8:]
	}
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
	if len(r.rest) == 0 {
		if r.err = r.load(); r.err != nil {
			return 0, r.err
		}
	}
	n := copy(b[:min(int64(len(b)), r.end-r.off)], r.rest)
	r.rest = r.rest[n:]
	r.off += int64(n)
	return n, nil
}

// load reads the block that off is in.
func (r *largeReader) load() (err error) {
	var plain []byte
	if isPacked(r.p.kind) {
		plain, err = r.blocks.next(r.sums[:8])
		r.sums = r.sums[8:]
	} else {
		plain, err = r.blocks.plain(r.sums)
		r.sums = r.sums[4:]
	}
	if err != nil {
		return r.s.readError(r.h, r.p, err)
	}
	r.rest = plain[r.off%largeBlock:]
	if r.whole && r.blocks.left == 0 {
		r.s.wasRead(r.h)
	}
	return nil
}

func (r *largeReader) Close() error {
	if r.blocks.f == nil {
		return nil
	}
	err := r.blocks.f.Close()
	r.blocks.f, r.err = nil, os.ErrClosed
	return err
}

// A blockReader reads the blocks of a large blob one after the other, and checks them.
type blockReader struct {
	f           vfs.File
	codec       *codec
	at          int64 // where in the file
	left        int64 // how much of the blob is to come; zero if that is not known
	buf, packed []byte
}

// plain returns a block of a file that is not compressed.
func (r *blockReader) plain(sum []byte) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, largeBlock)
	}
	b := r.buf[:min(largeBlock, r.left)]
	if err := r.read(b, r.at, sum); err != nil {
		return nil, err
	}
	r.at += int64(len(b))
	r.left -= int64(len(b))
	return b, nil
}

// next returns a block of a file that is, given its number of bytes and checksum.
func (r *blockReader) next(head []byte) ([]byte, error) {
	word := binary.LittleEndian.Uint32(head)
	n := int(word &^ packedBlock)
	if n > largeBlock {
		return nil, errWrong
	}
	if r.buf == nil {
		r.buf, r.packed = make([]byte, largeBlock), make([]byte, largeBlock)
	}
	b := r.packed[:n]
	err := r.read(b, r.at+8, head[4:])
	if err == nil && word&packedBlock != 0 {
		b, err = r.codec.unpack(r.buf[:0:largeBlock], b)
	}
	if err == nil && r.left > 0 && int64(len(b)) != min(largeBlock, r.left) {
		err = errWrong
	}
	if err != nil {
		return nil, err
	}
	r.at += 8 + int64(n)
	r.left = max(0, r.left-int64(len(b)))
	return b, nil
}

// read fills b and compares it with a checksum.
func (r *blockReader) read(b []byte, at int64, sum []byte) error {
	err := readFull(r.f, b, at)
	if err != nil && eofIsNil(err) == nil || err == nil && checksum(b) != binary.LittleEndian.Uint32(sum) {
		return errWrong
	}
	return err
}
