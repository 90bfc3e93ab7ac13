package packblob

import (
	"bytes"
	"hash/crc32"
	"io"
	"slices"
)

// found is what a scan of a segment says.
type found struct {
	end  int64 // of the last good record, in whole blocks
	keep int64 // of the last byte that is not zero, in whole blocks
	torn bool  // something stands behind end: a batch that was never finished
	lost bool  // some of it cannot be read; then nothing is taken for torn
}

// How much a scan believes to be there.
const (
	scanTail  = iota // records end somewhere, behind which it is not searched far
	scanAll          // records end somewhere
	scanWhole        // the end is known, and all damage is told
)

// scan reads a segment from an offset on and calls fn for each record. Bytes that
// are no good record are damage if a later batch stands behind them, because a batch
// is begun when the one before is durable. If none does they may be of a batch
// that nobody was told was done; but such a one lacks whole sectors, or its end,
// which are zeros then, and what lacks nothing is damage too. A last batch that was
// done and of which a disk made zeros cannot be told from one that was not. With
// scanTail it stops where no batch can stand any more; room that was never written
// reads as zeros.
func scan(f io.ReaderAt, t tag, from, size int64, how int, fn func(note)) (found, error) {
	w := &window{f: f, size: size, buf: make([]byte, min(zeroStep, max(0, size-from)))}
	r := found{end: from, keep: from}
	var held []note // from the first that is damaged, unless the end is torn
	inStretch := false
	behind := from // the last record, whole or not
	endStretch := func() (err error) {
		if inStretch {
			d := &held[len(held)-1]
			// Behind zeros it is what is left of a record that lacks its header.
			if at := int64(d.at) * 8; at == behind || at == align(behind, blockSize) {
				d.solid, err = w.solidBytes(at, r.keep)
			}
		}
		inStretch = false
		return err
	}
	good := from
	for pos := from; pos+headerSize <= size; {
		if how == scanTail && pos-good > 2*maxBatch {
			break
		}
		head, err := w.at(pos, headerSize)
		if err != nil {
			return r, err
		}
		rec, ok := decodeRecord(head, t)
		end := pos + recordSize(int64(rec.length))
		if !ok || end > align(size, 8) {
			next, zero, err := w.skip(pos, t)
			if err != nil {
				return r, err
			}
			if zero {
				err = endStretch()
			} else {
				if !inStretch { // the name of what was here is lost
					held = append(held, note{kind: kindDamaged, at: uint32(pos / 8)})
				}
				inStretch = true
				if w.misses(pos, next) {
					held[len(held)-1].unread = true
				}
				r.keep = next
			}
			if err != nil {
				return r, err
			}
			pos = next
			continue
		}
		if err := endStretch(); err != nil {
			return r, err
		}
		x, err := w.note(rec, pos)
		if err != nil {
			return r, err
		}
		if x.kind == kindDamaged {
			x.unread = w.misses(pos, end)
			if x.solid, err = w.solidRecord(rec, pos); err != nil {
				return r, err
			}
			held = append(held, x)
			pos, r.keep, behind = end, end, end
			continue
		}
		if rec.first && pos%blockSize == 0 || w.lost {
			for _, d := range held {
				fn(d)
			}
			held = nil
		}
		if held == nil {
			fn(x)
		} else {
			held = append(held, x)
		}
		pos, good, behind, r.end, r.keep = end, end, end, end, end
	}
	if err := endStretch(); err != nil {
		return r, err
	}
	r.lost = w.lost
	r.torn = !r.lost && slices.ContainsFunc(held, func(x note) bool { return x.kind == kindDamaged && !x.solid })
	for _, x := range held {
		if x.kind != kindDamaged || !r.torn || how == scanWhole {
			fn(x)
		}
	}
	r.end, r.keep = align(r.end, blockSize), align(r.keep, blockSize)
	return r, nil
}

// A window reads a file in large pieces.
type window struct {
	f    io.ReaderAt
	size int64
	buf  []byte
	off  int64
	n    int
	lost bool           // some bytes could not be read
	bad  map[int64]bool // blocks that could not
}

// misses says whether some of what is between two offsets could not be read.
func (w *window) misses(from, to int64) bool {
	for b := from / blockSize; w.lost && b*blockSize < to; b++ {
		if w.bad[b] {
			return true
		}
	}
	return false
}

// at returns n bytes from an offset. n is at most the size of buf.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.off || off+int64(n) > w.off+int64(w.n) {
		w.off, w.n = off, int(min(int64(len(w.buf)), w.size-off))
		err := readFull(w.f, w.buf[:w.n], off)
		if unreadable(err) {
			err = w.readBlocks()
		}
		if err != nil {
			w.n = 0
			return nil, err
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// readBlocks reads what can be read of the window. What cannot is no record and not
// zero.
func (w *window) readBlocks() error {
	for b, at := w.buf[:w.n], w.off; len(b) > 0; {
		k := min(int(blockSize-at%blockSize), len(b))
		err := readFull(w.f, b[:k], at)
		if unreadable(err) {
			if w.bad == nil {
				w.bad = map[int64]bool{}
			}
			w.bad[at/blockSize], w.lost, err = true, true, nil
			for i := range b[:k] {
				b[i] = 0xff
			}
		}
		if err != nil {
			return err
		}
		b, at = b[k:], at+int64(k)
	}
	return nil
}

// sector is what a disk writes whole or not at all.
const sector = 512

// solid says that no sector between two offsets is zero.
func (w *window) solid(from, to int64) (bool, error) {
	for at := from / sector * sector; at < min(to, w.size); at += sector {
		b, err := w.at(at, int(min(sector, w.size-at)))
		if err != nil || allZero(b) {
			return false, err
		}
	}
	return true, nil
}

// solidRecord says whether the bytes of a record that is damaged were all written.
func (w *window) solidRecord(rec record, pos int64) (bool, error) {
	end := pos + headerSize + int64(rec.length)
	if end > w.size {
		return false, nil
	}
	last, err := w.at(end-1, 1)
	if err != nil || last[0] == 0 {
		return false, err
	}
	return w.solid(pos, end)
}

// solidBytes says whether bytes that are no record were written as one: if there is
// more than the header that should be there. The last block before to is not zero.
func (w *window) solidBytes(pos, to int64) (bool, error) {
	to = min(to, w.size)
	from := max(pos, (to-1)/blockSize*blockSize)
	b, err := w.at(from, int(to-from))
	if err != nil {
		return false, err
	}
	end := from + int64(len(bytes.TrimRight(b, "\x00")))
	if end <= pos+headerSize {
		return false, nil
	}
	return w.solid(pos, end)
}

// note checks the payload of a record.
func (w *window) note(rec record, pos int64) (note, error) {
	x := note{kind: rec.kind, at: uint32(pos / 8), record: recordSize(int64(rec.length)), size: uint64(rec.length), stamp: rec.stamp, hash: rec.hash}
	sum := uint32(0)
	for off, rest := pos+headerSize, int64(rec.length); rest > 0; {
		b, err := w.at(off, int(min(rest, 64<<10)))
		if err != nil {
			return x, err
		}
		if sum == 0 && off == pos+headerSize {
			switch rec.kind {
			case kindLarge, kindPacked, kindPackedLarge:
				x.size = leUint64(b)
			case kindDelete:
				x.size = decodeSpot(b).pack()
			}
		}
		sum = crc32.Update(sum, castagnoli, b)
		off, rest = off+int64(len(b)), rest-int64(len(b))
	}
	if sum != rec.sum || x.size > maxBlob && rec.kind != kindDelete ||
		isLarge(rec.kind) && largePayload(rec.kind, int64(x.size)) != int64(rec.length) ||
		rec.kind == kindPacked && x.size > maxSmall {
		x.kind = kindDamaged
	}
	return x, nil
}

// skip returns where a record may stand next, behind one that does not, and
// whether there is nothing but zeros until then.
func (w *window) skip(pos int64, t tag) (next int64, zero bool, err error) {
	end := min(align(pos+1, blockSize), w.size)
	b, err := w.at(pos, int(end-pos))
	if err != nil {
		return 0, false, err
	}
	if allZero(b) {
		return end, true, nil
	}
	for i := 8; i+len(t) <= len(b); i += 8 {
		if bytes.Equal(b[i:i+8], t[:]) {
			return pos + int64(i), false, nil
		}
	}
	return end, false, nil
}

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
