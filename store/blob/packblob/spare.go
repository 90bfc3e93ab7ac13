package packblob

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

const (
	firstSegment = 4 << 20
	zeroStep     = 256 << 10
	zeroPace     = 8 * time.Millisecond // for each step: 32 MB/s
)

// A spare is the next segment, made while the one before is written. Room that a
// file system only promised makes every sync wait for its journal, two to three
// times as long as in room that was written once; so zeros are written, slowly,
// because they compete with mail. Who needs the segment takes it as it is.
type spare struct {
	hurry chan struct{} // closed by who needs it now
	done  chan struct{} // closed when seg or err is set
	f     vfs.File
	tag   tag
	size  int64
	err   error
}

// prepare begins to make a spare. The caller holds flush.
func (s *Store) prepare() {
	if s.spare != nil {
		return
	}
	select {
	case <-s.stop:
		return
	default:
	}
	sp := &spare{hurry: make(chan struct{}), done: make(chan struct{})}
	s.spare = sp
	size := s.nextSize()
	s.wg.Go(func() {
		defer close(sp.done)
		sp.err = s.take(size, func() error { return s.allocate(sp, "spare.tmp", size, 0) })
		if sp.err == nil {
			sp.err = s.fillZeros(sp)
		}
	})
}

// nextSize grows with the store and leaves most of the disk free.
func (s *Store) nextSize() int64 {
	s.mu.Lock()
	total := int64(0)
	for _, g := range s.segs {
		total += g.end
	}
	s.mu.Unlock()
	size := min(s.segmentSize, max(total/4, firstSegment))
	if free, ok := vfs.Free(s.fs, s.dir); ok {
		size = min(size, max(0, free-s.minFree)/8)
	}
	return align(max(size, 64<<10), blockSize)
}

// allocate makes a file with a head and room for size bytes, or for less if the
// disk is full, but at least for need bytes of records.
func (s *Store) allocate(sp *spare, name string, size, need int64) (err error) {
	least := align(need, blockSize) + blockSize
	path := filepath.Join(s.dir, name)
	f, err := s.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = s.fs.Remove(path)
		}
	}()
	if _, err := rand.Read(sp.tag[:]); err != nil {
		return err
	}
	for size = max(size, least); ; size = max(size/2/blockSize*blockSize, least) {
		if err = vfs.Allocate(f, size); err == nil {
			break
		}
		if !noSpace(err) || size == least {
			return err
		}
		if err = f.Truncate(0); err != nil {
			return err
		}
	}
	if _, err = f.WriteAt(encodeSegmentHead(sp.tag), 0); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	sp.f, sp.size = f, size
	return nil
}

// fillZeros fills the room. That it fails to is no reason not to use it.
func (s *Store) fillZeros(sp *spare) error {
	if free, ok := vfs.Free(s.fs, s.dir); ok && free < sp.size {
		return nil
	}
	zeros := make([]byte, zeroStep)
	for off := int64(blockSize); off < sp.size; off += zeroStep {
		timer := s.clock.NewTimer(zeroPace)
		select {
		case <-timer.C():
		case <-sp.hurry:
			timer.Stop()
			return nil
		case <-s.stop:
			timer.Stop()
			return nil
		}
		_, err := sp.f.WriteAt(zeros[:min(zeroStep, sp.size-off)], off)
		if err == nil {
			err = vfs.SyncData(sp.f)
		}
		if err != nil { // such a file is not to be trusted
			s.discard(sp)
			return err
		}
	}
	return nil
}

func (s *Store) discard(sp *spare) {
	if sp.f != nil {
		_ = sp.f.Close()
		_ = s.fs.Remove(filepath.Join(s.dir, "spare.tmp"))
		sp.f = nil
	}
}

// takeSpare returns the spare if it has room, at once.
func (s *Store) takeSpare(need int64) *spare {
	sp := s.spare
	if sp == nil {
		return nil
	}
	s.spare = nil
	close(sp.hurry)
	<-sp.done
	if sp.f != nil && sp.size-blockSize < need {
		s.discard(sp)
	}
	if sp.err != nil || sp.f == nil {
		return nil
	}
	return sp
}

// left is how many bytes of the disk are there for blobs, and false if nobody knows
// or none are left to others.
func (s *Store) left() (int64, bool) {
	if s.minFree == 0 {
		return 0, false
	}
	free, ok := vfs.Free(s.fs, s.dir)
	return max(0, free-s.minFree), ok
}

// scarce says ENOSPC when others have less than half of what is left to them. New
// blobs could still go into room that was set aside, but the rows that name them take
// the last of the disk, and then nothing can be forgotten any more.
func (s *Store) scarce() error {
	if s.minFree == 0 {
		return nil
	}
	if free, ok := vfs.Free(s.fs, s.dir); ok && free < s.minFree/2 {
		return fmt.Errorf("%d bytes are free, of %d that are left to others: %w", free, s.minFree, syscall.ENOSPC)
	}
	return nil
}

// take calls use, which takes up to n bytes of the disk, or says ENOSPC before they
// are those that are left to others. One at a time, so that two do not see the same
// bytes free.
func (s *Store) take(n int64, use func() error) error {
	s.space.Lock()
	defer s.space.Unlock()
	if left, ok := s.left(); ok && left < n {
		return fmt.Errorf("%d bytes are free, beside %d that are left for forgetting and for others: %w", max(left, 0), s.minFree, syscall.ENOSPC)
	}
	return use()
}

// rotate makes the next segment the active one. What is to be deleted or copied
// may take the room that is not for new blobs. The caller holds flush.
func (s *Store) rotate(need int64, fresh bool) error {
	name, sp := "spare.tmp", s.takeSpare(need)
	if sp == nil {
		name, sp = "next.tmp", new(spare)
		size := s.nextSize()
		allocate := func() error { return s.allocate(sp, name, size, need) }
		var err error
		if fresh {
			if left, ok := s.left(); ok { // a small segment is better than none
				size = min(size, left/blockSize*blockSize)
			}
			err = s.take(max(size, align(need, blockSize)+blockSize), allocate)
		} else {
			err = allocate()
		}
		if err != nil {
			return err
		}
	}
	// A number whose name could not be made durable is not used again.
	s.lastID++
	g := s.newSegment(s.lastID, sp.tag, sp.size)
	g.f, g.keep = sp.f, 0
	s.opened.Add(1)
	from := filepath.Join(s.dir, name)
	err := s.fs.Rename(from, g.path)
	if err == nil {
		from = g.path
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		g.closeFile()
		_ = s.fs.Remove(from)
		return err
	}
	s.mu.Lock()
	s.segs[g.id] = g
	g.users++ // the writer
	s.mu.Unlock()
	s.retire()
	s.active = g
	return nil
}

// retire ends the writing of the active segment and leaves the rest to the
// keeper. The caller holds flush.
func (s *Store) retire() {
	if s.active == nil {
		return
	}
	s.mu.Lock()
	s.toSeal = append(s.toSeal, s.active)
	s.mu.Unlock()
	s.active = nil
	s.wake()
}
