package packblob

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	stdhash "hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// largeBlock is how much of a large blob has a checksum of its own, so that parts
// of it can be read and checked.
const largeBlock = 64 << 10

// largePayload is the size of the payload of the record of a large blob.
func largePayload(kind byte, size int64) int64 {
	blocks := (size + largeBlock - 1) / largeBlock
	if isPacked(kind) {
		return 8 + 8*blocks
	}
	return 8 + 4*blocks
}

func (s *Store) largePath(h hash) string {
	return filepath.Join(s.dir, "large", string(h.ref()[len("sha256-"):]))
}

// A largeWriter streams a blob into a file.
type largeWriter struct {
	s    *Store
	f    vfs.File
	path string
	hash stdhash.Hash
	size int64
	buf  []byte // less than a block
	sums []byte

	packed bool   // the file is one of compressed blocks
	out    []byte // a block of it
}

// A file of compressed blocks says by itself where they are, in case that the record
// is lost: after the magic comes, for each block, how many bytes it takes and their
// checksum, 4 bytes each, and the bytes. packedBlock is added to the number if they
// are compressed. The record has the same numbers and checksums.
const (
	largeMagic  = "MKLARGE1"
	packedBlock = 1 << 31
)

func (s *Store) newLarge() (*largeWriter, error) {
	dir := filepath.Join(s.dir, "large")
	path := filepath.Join(dir, fmt.Sprintf("%016x.tmp", rand.Uint64()))
	f, err := s.fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &largeWriter{s: s, f: f, path: path, hash: sha256.New(), buf: make([]byte, 0, largeBlock)}, nil
}

func (w *largeWriter) Write(p []byte) (n int, err error) {
	if w.size+int64(len(p)) > maxBlob {
		return 0, ErrTooLarge
	}
	for len(p) > 0 {
		k := min(len(p), largeBlock-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		n, p = n+k, p[k:]
		w.size += int64(k)
		if len(w.buf) == largeBlock {
			if err := w.block(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// block writes what is in buf. The first block decides whether compressing pays.
func (w *largeWriter) block() error {
	w.hash.Write(w.buf)
	out := w.buf
	if w.s.compress && (w.packed || len(w.sums) == 0) {
		w.out = append(w.out[:0], largeMagic...)
		if w.packed {
			w.out = w.out[:0]
		}
		at := len(w.out)
		body, ok, err := w.s.codec.pack(append(w.out, make([]byte, 8)...), w.buf)
		if err != nil {
			return err
		}
		if ok || w.packed {
			n := uint32(len(body)-at-8) | packedBlock
			if !ok {
				body = append(body, w.buf...)
				n = uint32(len(w.buf))
			}
			w.packed, w.out, out = true, body, body
			binary.LittleEndian.PutUint32(body[at:], n)
			binary.LittleEndian.PutUint32(body[at+4:], checksum(body[at+8:]))
			w.sums = append(w.sums, body[at:at+8]...)
		}
	}
	if !w.packed {
		w.sums = binary.LittleEndian.AppendUint32(w.sums, checksum(w.buf))
	}
	err := w.s.take(int64(len(out)), func() error {
		_, err := w.f.Write(out)
		return err
	})
	w.buf = w.buf[:0]
	return err
}

// flush writes what is still in memory. No Write follows.
func (w *largeWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	return w.block()
}

// open reads what was written, after flush, at the path that it has now.
func (w *largeWriter) open(path string, h hash) (io.ReadCloser, error) {
	f, err := w.s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("packblob: %w", err)
	}
	p := place{kind: kindLarge, length: uint32(w.size)}
	if w.packed {
		p.kind = kindPackedLarge
	}
	return w.s.newLargeReader(f, h, p, w.sums, 0, w.size), nil
}

// finish makes the bytes durable. It returns the record; the file is closed.
func (w *largeWriter) finish(young time.Time) (*item, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	err := w.f.Sync()
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	w.f, w.buf, w.out = nil, nil, nil
	if err != nil {
		return nil, err
	}
	return largeItem(hash256(w.hash), w.size, w.sums, w.packed, young), nil
}

func hash256(h stdhash.Hash) (sum [32]byte) { h.Sum(sum[:0]); return sum }

func largeItem(h hash, size int64, sums []byte, packed bool, young time.Time) *item {
	payload := append(binary.LittleEndian.AppendUint64(nil, uint64(size)), sums...)
	kind := byte(kindLarge)
	if packed {
		kind = kindPackedLarge
	}
	return &item{kind: kind, hash: h, size: size, payload: payload, sum: checksum(payload), young: young.UnixNano()}
}

func (w *largeWriter) discard() {
	if w.f != nil {
		_ = w.f.Close()
		w.f = nil
	}
	if w.path != "" {
		_ = w.s.fs.Remove(w.path)
		w.path = ""
	}
}

// adopt gives a large blob its name and queues its record. Names in large are
// given and taken under largeMu, so that who deletes a blob does not take the file
// of one who writes it again.
func (s *Store) adopt(w *largeWriter, now time.Time) (info blob.Info, b *batch, err error) {
	defer w.discard()
	it, err := w.finish(now)
	if err != nil {
		return info, nil, err
	}
	info = blob.Info{Ref: it.hash.ref(), Size: it.size, Young: now}
	s.largeMu.Lock()
	defer s.largeMu.Unlock()
	wanted, err := s.adopted(it)
	if err != nil {
		return info, nil, err
	}
	if !wanted {
		it.fresh = true
		if err := s.fs.Rename(w.path, s.largePath(it.hash)); err != nil {
			return info, nil, err
		}
		w.path = ""
		if err := s.fs.SyncDir(filepath.Join(s.dir, "large")); err != nil {
			if !s.wanted(it.hash, true) {
				_ = s.fs.Remove(s.largePath(it.hash))
			}
			return info, nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err = s.stage(it)
	return info, b, err
}

// adopted says whether a large blob is there or on its way, so that its new file is not
// needed. That of one that the disk does not give is, and takes the place of the old one;
// so it must be what the record of that tells about.
func (s *Store) adopted(it *item) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, there := s.index.get(it.hash)
	d, fails := s.unread[it.hash]
	if there && fails && isLarge(p.kind) && p.kind != it.kind {
		return false, &unreadableError{d, nil}
	}
	return there && !fails || s.pending[it.hash] != nil, nil
}

// wanted says whether a blob is there or on its way; if large, in a file.
func (s *Store) wanted(h hash, large bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.index.get(h)
	return ok && (isLarge(p.kind) || !large) || s.pending[h] != nil
}

// removeLarge removes the file of a large blob that was deleted.
func (s *Store) removeLarge(h hash) {
	s.largeMu.Lock()
	defer s.largeMu.Unlock()
	if s.wanted(h, true) {
		return
	}
	if err := s.fs.Remove(s.largePath(h)); ignoreMissing(err) != nil {
		s.log.Warn("packblob: the file of a deleted blob was not removed", "blob", h.ref(), "err", err)
	}
}
