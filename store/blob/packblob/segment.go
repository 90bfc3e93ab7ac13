package packblob

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// maxOpen is how many complete segments stay open that nobody reads.
const maxOpen = 128

// A segment is a file of records. Only one is written at a time.
type segment struct {
	s    *Store
	id   uint32
	tag  tag
	path string

	// For who holds Store.flush, and after the segment is complete for the
	// keeper.
	size int64 // of the file
	keep int64 // what the file is cut to when it is complete
	book *notebook

	// Under Store.mu.
	end     int64 // of the last record that was synced; the next batch goes here
	live    int64 // bytes of the records that the index names
	kept    int64 // bytes of other records that are needed; zero if not known
	sealed  bool  // complete, and its index file too
	users   int
	dropped bool

	mu sync.Mutex
	f  vfs.File
}

func segmentName(id uint32) string { return fmt.Sprintf("%08d.seg", id) }

func (s *Store) segmentPath(id uint32) string { return filepath.Join(s.dir, segmentName(id)) }

func indexPath(segment string) string { return strings.TrimSuffix(segment, ".seg") + ".idx" }

// parseName takes the number from a name like 00000001.seg.
func parseName(name, suffix string) (uint32, bool) {
	base, ok := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseUint(base, 10, 32)
	return uint32(n), ok && err == nil && n > 0 && fmt.Sprintf("%08d", n) == base
}

func (s *Store) newSegment(id uint32, t tag, size int64) *segment {
	g := &segment{s: s, id: id, tag: t, path: s.segmentPath(id), size: size, end: blockSize}
	g.book = &notebook{fs: s.fs, path: indexPath(g.path), tag: t, upTo: blockSize}
	return g
}

// file opens the segment's file, if it is not open. Its user holds it by
// Store.hold.
func (g *segment) file() (vfs.File, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.f != nil {
		return g.f, nil
	}
	f, err := g.s.fs.OpenFile(g.path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	g.f = f
	g.s.opened.Add(1)
	return f, nil
}

func (g *segment) closeFile() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.f != nil {
		_ = g.f.Close()
		g.f = nil
		g.s.opened.Add(-1)
	}
}

// release ends a use of the segment. The last one of a dropped segment removes it.
func (s *Store) release(g *segment) {
	s.mu.Lock()
	g.users--
	last := g.users == 0
	remove, closeIt := last && g.dropped, last && (s.closed || g.sealed && s.opened.Load() > maxOpen)
	s.mu.Unlock()
	if remove {
		s.removeSegment(g)
	} else if closeIt {
		g.closeFile()
	}
}

// removeSegment removes the files. What remains of them is found again at a
// start, and holds nothing that is not elsewhere or was deleted.
func (s *Store) removeSegment(g *segment) {
	g.book.close()
	g.closeFile()
	err := errors.Join(s.fs.Remove(g.path), ignoreMissing(s.fs.Remove(indexPath(g.path))), s.fs.SyncDir(s.dir))
	if err != nil {
		s.log.Warn("packblob: a segment that is not needed was not removed", "segment", g.id, "err", err)
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// drop forgets a segment; its files go when nobody reads it.
func (s *Store) drop(g *segment) {
	s.mu.Lock()
	delete(s.segs, g.id)
	g.dropped = true
	unused := g.users == 0
	for _, other := range s.segs {
		other.kept = 0 // deletes that were about g are not needed any more
	}
	s.mu.Unlock()
	if unused {
		s.removeSegment(g)
	}
}

func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
