package packblob

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// load finds what is in the folder.
func (s *Store) load() error {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	sizes := map[uint32]int64{}
	var ids, indexes []uint32
	hint := 0 // how many blobs there are at most
	for _, e := range entries {
		if id, ok := parseName(e.Name(), ".seg"); ok {
			fi, err := e.Info()
			if err != nil {
				return err
			}
			ids, sizes[id] = append(ids, id), fi.Size()
		} else if id, ok := parseName(e.Name(), ".idx"); ok {
			fi, err := e.Info()
			if err != nil {
				return err
			}
			indexes = append(indexes, id)
			hint += int(fi.Size() / noteSize)
		} else if strings.HasSuffix(e.Name(), ".tmp") && !e.IsDir() {
			if err := s.fs.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	slices.Sort(ids)
	for _, id := range indexes {
		s.lastID = max(s.lastID, id)
		if _, ok := sizes[id]; !ok {
			if err := s.fs.Remove(indexPath(s.segmentPath(id))); err != nil {
				return err
			}
		}
	}
	s.index.reserve(hint)
	heap := newSorted(min(hint, maxSorted))
	for i, id := range ids {
		s.lastID = max(s.lastID, id)
		if err := s.loadSegment(id, sizes[id], i == len(ids)-1, heap); err != nil {
			return fmt.Errorf("%s: %w", segmentName(id), err)
		}
	}
	s.applySorted(heap)
	return s.loadLarge()
}

// loadSegment reads an index, and scans what it does not tell about. The last
// segment goes on to be written if it ends well.
func (s *Store) loadSegment(id uint32, size int64, last bool, heap *sorted) error {
	g := s.newSegment(id, tag{}, size)
	s.segs[id] = g
	sealed, wrong, err := s.loadNotes(g, heap)
	if err != nil || sealed {
		return err
	}
	s.applySorted(heap) // what is scanned comes after it
	f, err := g.file()
	if err != nil {
		return err
	}
	if g.tag == (tag{}) {
		t, ok, err := readTag(f)
		if unreadable(err) {
			g.users++ // the keeper
			s.toSeal = append(s.toSeal, g)
			s.lose(g, err)
			return nil
		}
		if err != nil {
			return err
		}
		if !ok {
			s.report(spot{seg: id}, headLost)
			g.sealed = true
			g.closeFile()
			return nil
		}
		g.tag, g.book.tag = t, t
	}
	from, damaged := g.end, false
	how := scanAll
	if last {
		how = scanTail
	}
	got, err := scan(f, g.tag, g.end, size, how, func(x note) {
		s.apply(g, x)
		g.book.add(x)
		if x.kind == kindDamaged {
			damaged = true
		}
		if to := int64(x.at)*8 + x.record; !wrong && !damaged && g.book.due(to) {
			_ = g.book.write(to, false) // the error stays with book
		}
	})
	if err != nil {
		return err
	}
	// What an index tells about was synced. What else is found is in the system's
	// cache at least, and must be on the disk before somebody relies on it.
	if got.keep > from {
		if err := vfs.SyncData(f); err != nil {
			return err
		}
	}
	g.end, g.keep = got.end, got.keep
	if got.torn {
		s.torn++
		s.log.Info("packblob: the last write to a segment was never finished", "segment", id)
	}
	if wrong {
		s.log.Warn("packblob: an index file is damaged and is made again", "segment", id)
		g.book.err = errIndexWrong
	}
	g.users++ // the writer, or the keeper
	if got.lost {
		g.book.err = errIndexWrong
		s.lose(g, errLost)
	}
	if last && !got.torn && !wrong && !damaged {
		s.active = g
	} else {
		s.toSeal = append(s.toSeal, g)
	}
	return nil
}

const headLost = "its first blocks are damaged; none of its records can be told"

// readTag takes the tag of a segment from its first block, or if that is damaged from
// the first record, which always begins the second.
func readTag(f vfs.File) (t tag, ok bool, err error) {
	b := make([]byte, blockSize)
	for _, at := range []int64{0, blockSize} {
		n, rerr := f.ReadAt(b, at)
		if unreadable(rerr) {
			err = rerr
			continue
		} else if rerr != nil && rerr != io.EOF {
			return t, false, rerr
		}
		if at == 0 {
			t, ok = decodeSegmentHead(b[:n])
		} else if n >= headerSize {
			t = tag(b)
			rec, good := decodeRecord(b[:n], t)
			ok = good && rec.first
		}
		if ok {
			return t, true, nil
		}
	}
	return t, false, err
}

// loadNotes reads the index file of a segment and moves its end to where the index
// ends. It returns whether the segment is complete, and whether the file is wrong.
func (s *Store) loadNotes(g *segment, heap *sorted) (sealed, wrong bool, err error) {
	f, err := s.fs.OpenFile(g.book.path, os.O_RDONLY, 0)
	if unreadable(err) {
		return false, true, nil
	}
	if err != nil {
		return false, false, ignoreMissing(err)
	}
	defer f.Close()
	off := int64(0)
	for !sealed {
		c, notes, ok, err := readChunk(f, off, heap.buf)
		if unreadable(err) {
			wrong = true
			break
		}
		if err != nil {
			return false, false, err
		}
		if !ok || off > 0 && c.tag != g.tag || c.from != g.end || c.to > g.size {
			// At its end stands nothing, or a chunk that was being written.
			fi, err := s.fs.Stat(g.book.path)
			if err != nil {
				return false, false, err
			}
			wrong = fi.Size() > off
			break
		}
		g.tag, g.book.tag = c.tag, c.tag
		heap.buf = notes
		for ; len(notes) > 0; notes = notes[noteSize:] {
			heap.add(g.id, notes[:noteSize])
		}
		if heap.n >= maxSorted {
			s.applySorted(heap)
		}
		off += chunkHead + int64(c.count)*noteSize
		g.end, sealed = c.to, c.sealed
	}
	g.book.off, g.book.upTo = off, g.end
	g.sealed = sealed
	return sealed, wrong, nil
}

// maxSorted is how many notes are sorted at a time.
const maxSorted = 1 << 20

// sorted collects notes by the first byte of their hash. Those of one part of the
// index are applied together, while it is in the processor's cache: that halves the
// time of a start. The order of notes on the same blob stays.
type sorted struct {
	parts [256][]byte // the number of a segment and a note, each
	n     int
	buf   []byte // for a chunk
}

// newSorted has room for n notes, if they are many.
func newSorted(n int) *sorted {
	h := new(sorted)
	if n > 1<<16 {
		for i := range h.parts {
			h.parts[i] = make([]byte, 0, n/len(h.parts)*17/16*(4+noteSize))
		}
	}
	return h
}

func (h *sorted) add(seg uint32, note []byte) {
	part := &h.parts[note[noteHash]]
	*part = append(binary.LittleEndian.AppendUint32(*part, seg), note...)
	h.n++
}

func (s *Store) applySorted(h *sorted) {
	for i, part := range h.parts {
		for rest := part; len(rest) > 0; rest = rest[4+noteSize:] {
			s.apply(s.segs[binary.LittleEndian.Uint32(rest)], decodeNote(rest[4:]))
		}
		h.parts[i] = part[:0]
	}
	h.n = 0
}

// apply does what a record says. Records come in the order of the log. It is what a
// start takes its time for.
func (s *Store) apply(g *segment, x note) {
	young := x.stamp + int64(slack)
	if isBlob(x.kind) {
		old, replaced := s.index.update(x.hash, func(old place, _ bool) place {
			return place{
				spot{g.id, x.at}, x.kind, uint32(x.size), x.record,
				max(seconds(x.stamp), old.noted), max(young, old.young),
			}
		})
		if replaced {
			s.account(old, -1)
		}
		g.live += x.record
		if len(s.damaged) > 0 {
			delete(s.damaged, x.hash)
		}
		return
	}
	old, there := s.index.get(x.hash)
	switch x.kind {
	case kindTouch:
		if there {
			old.noted, old.young = max(old.noted, seconds(x.stamp)), max(old.young, young)
			s.index.set(x.hash, old)
		}
	case kindDelete:
		if there && old.spot == x.void() {
			s.forget(x.hash)
		} else if d, ok := s.damaged[x.hash]; ok && d.Segment == x.void().seg {
			delete(s.damaged, x.hash) // nobody needs it
		}
	case kindDamaged:
		if x.unread { // the segment is among those that are lost for now
			return
		}
		if x.hash == (hash{}) {
			s.report(spot{g.id, x.at}, "there is no good record")
		} else if !there {
			s.park(x.hash, spot{g.id, x.at}, "the checksum of its record does not match")
		}
	}
}

// loadLarge compares the files of large blobs with the index. One without a record
// comes back as an orphan, unless it is not what its name says.
func (s *Store) loadLarge() error {
	dir := filepath.Join(s.dir, "large")
	entries, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	matched := map[hash]bool{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		h, ok := parseRef(blob.Ref("sha256-" + e.Name()))
		p, there := s.index.get(h)
		switch {
		case !ok && strings.HasSuffix(e.Name(), ".tmp"), ok && there && !isLarge(p.kind):
			if err := s.fs.Remove(path); err != nil {
				return err
			}
		case ok && there:
			matched[h] = true
		case ok:
			s.orphans = append(s.orphans, h)
		}
	}
	if len(matched) == s.index.large {
		return nil
	}
	for i := range s.index.parts {
		for _, e := range s.index.parts[i].all() {
			if p := e.place(); isLarge(p.kind) && !matched[e.hash] {
				s.forget(e.hash)
				s.park(e.hash, p.spot, "its file is missing")
			}
		}
	}
	return nil
}
