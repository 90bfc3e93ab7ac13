package packblob

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// An item is a record that waits to be written.
type item struct {
	kind    byte
	hash    hash
	size    int64 // of the blob
	payload []byte
	sum     uint32
	young   int64 // under Store.mu until taken
	batch   *batch
	taken   bool    // under Store.mu: its stamp is settled
	fresh   bool    // of a large blob: its file was put there now
	copyOf  *spot   // of a copy: where the blob lies that is copied
	mem     *memory // that payload is in, if any
	stamp   int64   // as written
}

// A batch is the records that share a write and a sync.
type batch struct {
	items []*item
	bytes int64
	led   atomic.Bool
	done  chan struct{} // closed when err is set
	err   error
}

// queue puts a record into the newest batch. The caller holds mu.
func (s *Store) queue(it *item) *batch {
	n := recordSize(int64(len(it.payload)))
	var b *batch
	if len(s.batches) > 0 {
		b = s.batches[len(s.batches)-1]
	}
	if b == nil || b.bytes+n > maxBatch {
		b = &batch{done: make(chan struct{})}
		s.batches = append(s.batches, b)
	}
	b.items = append(b.items, it)
	b.bytes += n
	it.batch = b
	return b
}

// wait makes a batch durable. The first to wait leads: it writes the batch for all
// in its own goroutine, so a lone writer pays for one sync and no hand-over. While
// it waits for its turn, others join.
func (s *Store) wait(b *batch) error {
	if b == nil {
		return nil
	}
	if b.led.CompareAndSwap(false, true) {
		s.flush.Lock()
		s.writeUpTo(b)
		s.flush.Unlock()
	}
	<-b.done
	return b.err
}

// writeUpTo writes batches in their order, to the last one if b is nil. The order
// matters: a touch is of no use in front of its blob. The caller holds flush.
func (s *Store) writeUpTo(b *batch) {
	for {
		if b != nil {
			select {
			case <-b.done:
				return
			default:
			}
		}
		s.mu.Lock()
		if len(s.batches) == 0 {
			s.mu.Unlock()
			return
		}
		next := s.batches[0]
		s.batches = s.batches[1:]
		for _, it := range next.items {
			it.taken = true
			if p, ok := s.index.get(it.hash); ok && it.copyOf != nil {
				it.young = max(it.young, p.young)
			}
			it.stamp = it.young
		}
		s.mu.Unlock()
		at, err := s.write(next)
		s.settle(next, at, err)
	}
}

// write appends a batch and syncs it, and returns where it stands.
func (s *Store) write(b *batch) (int64, error) {
	need := align(b.bytes, blockSize)
	fresh := slices.ContainsFunc(b.items, func(it *item) bool { return it.copyOf == nil && isBlob(it.kind) })
	if fresh {
		if err := s.scarce(); err != nil {
			return 0, err
		}
	}
	if s.active == nil || s.active.end+need > s.active.size {
		if err := s.rotate(need, fresh); err != nil {
			return 0, err
		}
	}
	g := s.active
	buf := s.scratch[:0]
	for i, it := range b.items {
		r := record{it.kind, i == 0, uint32(len(it.payload)), it.stamp, it.hash, it.sum}
		var head [headerSize]byte
		r.encode(head[:], g.tag)
		buf = append(append(buf, head[:]...), it.payload...)
		buf = append(buf, zeros[:align(int64(len(buf)), 8)-int64(len(buf))]...)
	}
	buf = append(buf, zeros[:need-int64(len(buf))]...)
	s.scratch = buf[:0]
	if _, err := g.f.WriteAt(buf, g.end); err != nil {
		s.retire()
		return 0, err
	}
	s.syncs.Add(1)
	if err := vfs.SyncData(g.f); err != nil {
		// Nobody knows now what is on the disk, and a second sync would lie.
		// The segment ends before this batch.
		s.retire()
		return 0, err
	}
	return g.end, nil
}

var zeros [blockSize]byte

// settle makes a batch visible, or forgets it.
func (s *Store) settle(b *batch, at int64, err error) {
	g := s.active
	s.mu.Lock()
	for _, it := range b.items {
		if s.pending[it.hash] == it {
			delete(s.pending, it.hash)
		}
		if err == nil {
			s.place(g, it, at)
			at += recordSize(int64(len(it.payload)))
		}
	}
	if err == nil {
		g.end = align(at, blockSize)
	} else {
		b.err = fmt.Errorf("packblob: %w", err)
	}
	s.mu.Unlock()
	for _, it := range b.items {
		if it.mem != nil {
			it.mem.release()
			it.mem = nil
		}
		it.payload = nil
		if err != nil && isLarge(it.kind) && it.copyOf == nil {
			s.removeLarge(it.hash)
		}
	}
	close(b.done)
	if err != nil {
		return
	}
	if g.book.due(g.end) {
		if err := g.book.write(g.end, false); err != nil {
			s.log.Warn("packblob: an index was not written; a start will scan", "segment", g.id, "err", err)
		}
	}
	if g.end > g.size/2 {
		s.prepare()
	}
}

// place notes where a record of a good batch stands. The caller holds mu.
func (s *Store) place(g *segment, it *item, at int64) {
	x := note{it.kind, uint32(at / 8), recordSize(int64(len(it.payload))), uint64(it.size), it.stamp, it.hash, false, false}
	to := spot{g.id, x.at}
	old, there := s.index.get(it.hash)
	switch it.kind {
	case kindBlob, kindLarge, kindPacked, kindPackedLarge:
		p := place{to, it.kind, uint32(it.size), x.record, seconds(it.stamp), it.young}
		switch {
		case it.copyOf == nil:
			s.put(it.hash, p)
		case there && old.spot == *it.copyOf:
			p.young = max(p.young, old.young)
			p.noted = max(p.noted, old.noted)
			s.put(it.hash, p)
		default: // it was deleted meanwhile, and so the copy must be
			s.queue(deleteItem(it.hash, to))
		}
	case kindTouch:
		if there {
			old.noted = max(old.noted, seconds(it.stamp))
			s.index.set(it.hash, old)
		}
	case kindDelete:
		x.size = decodeSpot(it.payload).pack()
	}
	g.book.add(x)
}

// put gives a blob its place and keeps account of the segments. The caller holds
// mu.
func (s *Store) put(h hash, p place) {
	if old, replaced := s.index.set(h, p); replaced {
		s.account(old, -1)
	}
	s.account(p, 1)
	if len(s.damaged) > 0 {
		delete(s.damaged, h)
	}
	s.readsWell(h)
}

// account adds the record of a blob to its segment's live bytes, or takes it off.
func (s *Store) account(p place, by int64) {
	if g := s.segs[p.seg]; g != nil {
		g.live += by * p.record
	}
}

// forget takes a blob from the index. The caller holds mu.
func (s *Store) forget(h hash) {
	if p, ok := s.index.get(h); ok {
		s.index.remove(h)
		s.account(p, -1)
		s.readsWell(h)
	}
}

func deleteItem(h hash, void spot) *item {
	b := void.encode()
	return &item{kind: kindDelete, hash: h, payload: b, sum: checksum(b)}
}
