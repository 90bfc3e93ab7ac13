// Package packblob is a blob.Store that keeps blobs behind each other in a few
// large files. Concurrent commits share a write and a sync, so it takes several
// times as many messages a second as a store with a file for each. One process
// uses a folder at a time; to see to that is the caller's.
//
// # Files
//
//	00000001.seg   a segment: records, written once and in order
//	00000001.idx   its index, which can be made again from it
//	large/abcd...  a large blob, named by its hash in hexadecimal
//	*.tmp          what is being made; removed by Open
//
// Numbers are decimal, grow, and are not used again. All integers are
// little-endian, all checksums CRC-32C.
//
// # Segments
//
// A segment begins with a block of 4096 bytes that holds, at 0 and again at 2048,
// "MKPACK1\n", a random tag of 8 bytes, and the checksum of both (4 bytes). Then
// come batches of records, each from the beginning of a block. A record begins at
// a multiple of 8:
//
//	 0  8  tag of the segment
//	 8  1  kind: 1 blob, 2 large blob, 3 touch, 4 delete, 6 compressed blob,
//	       7 compressed large blob
//	 9  1  1 in the first record of a batch, else 0
//	10  2  zero
//	12  4  length of the payload
//	16  8  stamp: when the blob was young, in nanoseconds since 1970
//	24 32  SHA-256 of the blob
//	56  4  checksum of the payload
//	60  4  checksum of the 60 bytes before
//	64     payload
//
// The payload of a blob is its bytes, or its length (8 bytes) and a frame of zstd.
// That of a large blob is its length (8 bytes) and a checksum for each 64 KB of its
// file. The file of a compressed one is "MKLARGE1" and, for each 64 KB of the blob,
// how many bytes it takes here, with the top bit if they are a frame of zstd (4
// bytes), their checksum (4 bytes), and the bytes; its payload is its length (8
// bytes) and these 8 bytes of each. A touch has no payload. That of a delete is
// the segment (4 bytes) and the offset divided by 8 (4 bytes) of the record that
// is void; so a delete never concerns a blob that was written again. Room behind
// a batch, up to the next block, and behind the last batch is zero. A batch is at
// most 1 MiB, and is begun when the one before is durable.
//
// # Indexes
//
// An index is a row of chunks. A chunk is "MKINDEX2", the tag, the offsets in the
// segment from and to which it tells all (8 bytes each), the number of notes (4
// bytes), 1 or 0 for the last chunk of a complete segment or another (4 bytes), the
// checksum of the notes (4 bytes), the checksum of the 44 bytes before (4 bytes),
// and the notes, 56 bytes each:
//
//	 0  1  kind, as above, or 5: damaged
//	 1  3  size of the record, divided by 8
//	 4  4  offset of the record, divided by 8
//	 8  8  length of the blob; of a delete its payload
//	16  8  stamp
//	24 32  SHA-256
//
// The segment that is written gets a chunk every 4 MiB and at Close, so that a
// start reads indexes and scans little.
//
// # What is kept when
//
// A write or sync that fails ends its segment, and its batch was never there. A
// start takes what it finds whole; an unfinished batch at the end is cut off. It is
// known by the sectors that it lacks, so a bit that is wrong is damage there too; only
// a last batch after a crash of which the disk made zeros looks like one that nobody was
// told was done, and is told of by who compares rows with blobs.
// Records whose checksums do not match are parked: their segment is kept, their blobs
// are ErrDamaged, and writing the same bytes again heals them. What the disk does not
// give (EIO) is not damage: the blob stays, is blob.ErrUnreadable for who asks, and is
// read again for the next one; its segment is kept too. An index file that cannot be
// read or is wrong is made again from its segment, when all of that can be read, and a
// large blob without a record gets one. Ages are
// noted with a slack of five minutes; after a start a blob may look that much
// younger than it is, and never older. Segments of which less than half is needed
// are copied to the end of the log in the background and then removed.
//
// # Looking for damage
//
// Damaged lists what is known without reading, CheckAll reads everything, and Repair
// also makes wrong indexes again; each Damage has a State that says what becomes of
// it. Check reads one blob. Discard gives up damaged blobs that nobody needs.
package packblob

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// Options for Open. The zero value is good.
type Options struct {
	FS     vfs.FS         // nil means that of the machine
	Clock  mailkeel.Clock // nil means real time
	Logger *slog.Logger   // nil means none
	// SegmentSize is the most room, in bytes, that a segment is given; a small
	// store or a full disk has smaller ones. Zero means 256 MiB, which is also
	// the most; the least is 64 KiB.
	SegmentSize int64
	// LargeSize is from how many bytes on a blob gets a file of its own, and so
	// what a Writer holds in memory. Zero means 128 KiB; the most is 512 KiB.
	LargeSize int
	// Compress compresses with zstd what becomes smaller by a tenth at least. What is
	// there can be read with and without it. 10 KB of text take about 35 microseconds
	// of a processor, and what cannot be compressed takes one: see BenchmarkCompress.
	Compress bool
	// RewriteRate bounds the copying in the background, in bytes a second. Zero
	// means 32 MiB; less means no bound.
	RewriteRate int64
	// MinFree is how many bytes of the disk are left to others, such as the
	// database that names the blobs and must be able to forget them; zero means
	// 16 MB, negative none. Where FS is a vfs.Freer, new blobs fail with
	// syscall.ENOSPC when they would take of it, and when half of it is gone.
	MinFree int64
}

// Store is a blob.Store in a folder.
type Store struct {
	dir         string
	fs          vfs.FS
	clock       mailkeel.Clock
	log         *slog.Logger
	segmentSize int64
	threshold   int
	compress    bool
	codec       codec
	rate        int64
	minFree     int64
	space       sync.Mutex // held while bytes of the disk are counted and taken
	memories    sync.Pool  // of *memory, for small blobs
	stretches   sync.Pool  // of *stretch
	large       sync.Pool  // of *memory, for those near smallRead

	opened, rewritten atomic.Int64
	syncs             atomic.Int64
	stop              chan struct{} // closed by Close
	work              chan struct{} // holds a token when the keeper has work
	wg                sync.WaitGroup

	// The locks, in the order in which one goroutine takes them.
	keeping sync.Mutex // a round of the keeper
	flush   sync.Mutex // the writing of batches
	largeMu sync.Mutex // the names in large
	mu      sync.Mutex // what follows below it

	copied int64 // bytes since the last pause; under keeping

	// Under flush.
	active  *segment
	spare   *spare
	lastID  uint32
	scratch []byte

	// Under mu.
	index   index
	segs    map[uint32]*segment
	batches []*batch // to be written, in order
	pending map[hash]*item
	toSeal  []*segment
	damaged map[hash]Damage
	unread  map[hash]Damage   // there, and the disk gave an error
	lost    map[uint32]Damage // segments of which not all could be looked at
	reports []Damage          // without a name
	torn    int
	closed  bool

	failing atomic.Int32 // len(unread)

	// Under keeping, and for Open.
	orphans []hash // large blobs without a record
	again   time.Time
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Appending = (*Store)(nil)
)

// Open makes the folder if it is missing, and finds out what is in it. It reads
// about 56 bytes for each blob, and up to 7 MB more after a crash.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{
		dir: dir, fs: o.FS, clock: mailkeel.ClockOr(o.Clock), log: o.Logger, segmentSize: o.SegmentSize, threshold: o.LargeSize, rate: o.RewriteRate, compress: o.Compress,
		stop: make(chan struct{}), work: make(chan struct{}, 1),
		segs: map[uint32]*segment{}, pending: map[hash]*item{}, damaged: map[hash]Damage{},
		unread: map[hash]Damage{}, lost: map[uint32]Damage{},
	}
	if s.fs == nil {
		s.fs = vfs.OS{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.segmentSize == 0 {
		s.segmentSize = 256 << 20
	}
	s.segmentSize = min(max(s.segmentSize, 64<<10), 256<<20)
	if s.threshold == 0 {
		s.threshold = 128 << 10
	}
	s.threshold = min(max(s.threshold, 1), maxSmall)
	if s.minFree = o.MinFree; s.minFree == 0 {
		s.minFree = 16 << 20
	}
	s.minFree = max(s.minFree, 0)
	if s.rate == 0 {
		s.rate = 32 << 20
	}
	for _, d := range []string{dir, filepath.Join(dir, "large")} {
		if err := vfs.MkdirDurably(s.fs, d, 0o700); err != nil {
			return nil, fmt.Errorf("packblob: %w", err)
		}
	}
	if err := s.load(); err != nil {
		for _, g := range s.segs {
			g.book.close()
			g.closeFile()
		}
		return nil, fmt.Errorf("packblob: %w", err)
	}
	s.adoptOrphans()
	s.again = s.clock.Now().Add(rereadAfter)
	s.wg.Go(s.keep)
	s.wake()
	return s, nil
}

// Close writes what is staged, ends the work in the background and notes the end
// of the log. Blobs that are being read stay readable.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.wg.Wait()
	s.flush.Lock()
	defer s.flush.Unlock()
	s.writeUpTo(nil)
	if sp := s.spare; sp != nil {
		<-sp.done
		s.discard(sp)
		s.spare = nil
	}
	if g := s.active; g != nil {
		s.mu.Lock()
		end := g.end
		s.mu.Unlock()
		if end > g.book.upTo {
			if err := g.book.write(end, false); err != nil {
				s.log.Warn("packblob: an index was not written; a start will scan", "segment", g.id, "err", err)
			}
		}
		g.book.close()
		s.active = nil
		s.release(g)
	}
	s.closeFiles()
	return nil // what is not on disk was said to who waited
}

// closeFiles closes what nobody reads.
func (s *Store) closeFiles() {
	s.mu.Lock()
	var idle []*segment
	for _, g := range s.toSeal {
		g.users--
		g.book.close()
	}
	s.toSeal = nil
	for _, g := range s.segs {
		if g.users == 0 {
			idle = append(idle, g)
		}
	}
	s.mu.Unlock()
	for _, g := range idle {
		g.closeFile()
	}
}

// Rewrite does now what the Store does by itself in the background: it completes
// segments and rewrites those of which less than half is needed.
func (s *Store) Rewrite(ctx context.Context) error {
	if err := s.upkeep(ctx, true); err != nil {
		return fmt.Errorf("packblob: %w", err)
	}
	return nil
}

// Stat says ErrNotFound of a damaged blob too.
func (s *Store) Stat(ctx context.Context, ref blob.Ref) (blob.Info, error) {
	if err := ctx.Err(); err != nil {
		return blob.Info{}, err
	}
	h, p, g, err := s.hold(ref)
	if err != nil {
		return blob.Info{}, err
	}
	s.release(g)
	return p.info(h), nil
}

func (p place) info(h hash) blob.Info {
	return blob.Info{Ref: h.ref(), Size: p.size(), Young: time.Unix(0, p.young)}
}
