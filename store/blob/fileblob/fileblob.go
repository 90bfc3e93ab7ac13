// Package fileblob is a blob.Store with one file for each blob.
//
// # Files
//
//	tmp/       blobs that are being written; emptied by Open
//	ab/abcd... a blob, named by the hash of its bytes, in the folder of its first
//	           two digits; its time of change is when it was last made young
//
// A blob is written in tmp, synced, renamed to its name, and then its folder is
// synced. So what stands under a name is whole, and what was committed has a name
// that survives a power cut.
//
// One process uses a folder at a time, or with Options.Shared several do. Then what
// looks at a blob and changes it holds a lock of the file system too, on a file in
// locks/; the file system may be one of the machine, or NFS 4.
package fileblob

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/committer"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// ErrDamaged means that the bytes of a blob are not those it was named after.
var ErrDamaged = errors.New("fileblob: blob is damaged")

// Options for Open. The zero value is good.
type Options struct {
	FS    vfs.FS         // nil means that of the machine
	Clock mailkeel.Clock // nil means real time
	// MinFree is how many bytes of the disk are left to others, such as the
	// database that names the blobs and must be able to forget them; zero means
	// 16 MB, negative none. When less is free, writes fail with syscall.ENOSPC,
	// where FS is a vfs.Freer.
	MinFree int64
	// Shared says that other processes use the folder, all with Shared. It needs
	// a file system with locks: FS is nil then.
	Shared bool
}

// Store is a blob.Store in a folder.
type Store struct {
	dir   string
	fs    vfs.FS
	clock mailkeel.Clock
	free  vfs.Freer // nil if that is not known
	least int64
	temps atomic.Uint64
	own   string // begins the names of our temporary files
	locks string // the folder of locks, if the folder is shared

	shards [256]shard // by the first byte of the hash
}

// A shard is one folder.
type shard struct {
	group committer.Committer // of syncs of the folder

	// mu is held by what looks at a blob and then changes it.
	mu   sync.Mutex
	made bool // the folder is there
	// doubt counts syncs of the folder that failed: that names which were in it
	// then are durable cannot be found out any more, only renaming again helps.
	doubt int
	lock  *os.File // of a shared folder; nil if it was not needed yet

	number byte
}

var _ blob.Store = (*Store)(nil)

// Open makes the folder if it is missing, and removes what was left half written.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, fs: o.FS, clock: mailkeel.ClockOr(o.Clock)}
	if s.fs == nil {
		s.fs = vfs.OS{}
	}
	s.least = cmp.Or(o.MinFree, 16<<20)
	s.free, _ = s.fs.(vfs.Freer)
	for i := range s.shards {
		sh := &s.shards[i]
		sh.number = byte(i)
		sh.group.Target = &dirSync{s, sh, filepath.Join(dir, hex.EncodeToString([]byte{byte(i)}))}
	}
	tmp := filepath.Join(dir, "tmp")
	dirs := []string{dir, tmp}
	if o.Shared {
		if o.FS != nil {
			return nil, errors.New("fileblob: only folders of the machine are shared")
		}
		s.locks, s.own = filepath.Join(dir, "locks"), rand.Text()+"-"
		dirs = append(dirs, s.locks)
	}
	for _, d := range dirs {
		if err := vfs.MkdirDurably(s.fs, d, 0o700); err != nil {
			return nil, fmt.Errorf("fileblob: %w", err)
		}
	}
	entries, err := s.fs.ReadDir(tmp)
	if err != nil {
		return nil, fmt.Errorf("fileblob: %w", err)
	}
	for _, e := range entries {
		if o.Shared && !s.abandoned(e) {
			continue
		}
		if err := s.fs.Remove(filepath.Join(tmp, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("fileblob: %w", err)
		}
	}
	return s, nil
}

// Close waits for commits in progress; later ones fail.
func (s *Store) Close() error {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.group.Close()
		sh.mu.Lock()
		if sh.lock != nil {
			sh.lock.Close()
			sh.lock = nil
		}
		sh.mu.Unlock()
	}
	return nil
}

// place is where a blob lies.
type place struct {
	shard     *shard
	dir, path string
}

// place is ErrNotFound for what is no name of a blob.
func (s *Store) place(ref blob.Ref) (place, error) {
	hash, ok := strings.CutPrefix(string(ref), "sha256-")
	sum, err := hex.DecodeString(hash)
	if !ok || err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != hash {
		return place{}, fmt.Errorf("fileblob: %.80s: %w", ref, blob.ErrNotFound)
	}
	dir := filepath.Join(s.dir, hash[:2])
	return place{&s.shards[sum[0]], dir, filepath.Join(dir, hash)}, nil
}

// missing makes fs.ErrNotExist the error of the interface.
func missing(ref blob.Ref, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("fileblob: %s: %w", ref, blob.ErrNotFound)
	}
	return fmt.Errorf("fileblob: %w", err)
}

func (s *Store) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := s.place(ref)
	if err != nil {
		return nil, err
	}
	f, err := s.fs.OpenFile(p.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, missing(ref, err)
	}
	if n < 0 {
		n = 1<<63 - 1 - off
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, off, n), f}, nil
}

func (s *Store) Stat(ctx context.Context, ref blob.Ref) (blob.Info, error) {
	if err := ctx.Err(); err != nil {
		return blob.Info{}, err
	}
	p, err := s.place(ref)
	if err != nil {
		return blob.Info{}, err
	}
	fi, err := s.fs.Stat(p.path)
	if err != nil {
		return blob.Info{}, missing(ref, err)
	}
	return info(ref, fi), nil
}

func info(ref blob.Ref, fi fs.FileInfo) blob.Info {
	return blob.Info{Ref: ref, Size: fi.Size(), Young: fi.ModTime()}
}

// Check reads a blob and compares it with its name: ErrDamaged if they differ.
func (s *Store) Check(ctx context.Context, ref blob.Ref) error {
	r, err := s.Open(ctx, ref, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	buf := make([]byte, bufferSize)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("fileblob: %w", err)
		}
	}
	if name(h.Sum(nil)) != ref {
		return fmt.Errorf("%w: %s", ErrDamaged, ref)
	}
	return nil
}

func name(sum []byte) blob.Ref { return blob.Ref("sha256-" + hex.EncodeToString(sum)) }

// Touch need not sync: when the process ends, so does what it was about to name.
func (s *Store) Touch(ctx context.Context, refs ...blob.Ref) error {
	now := s.clock.Now()
	for _, ref := range refs {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := s.place(ref)
		if err != nil {
			return err
		}
		if err := s.hold(p.shard); err != nil {
			return fmt.Errorf("fileblob: %w", err)
		}
		err = s.fs.Chtimes(p.path, now)
		s.release(p.shard)
		if err != nil {
			return missing(ref, err)
		}
	}
	return nil
}

// DeleteOlder does not sync either: what a power cut brings back is an orphan.
func (s *Store) DeleteOlder(ctx context.Context, before time.Time, refs ...blob.Ref) (n int, err error) {
	for _, ref := range refs {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		p, err := s.place(ref)
		if err != nil {
			continue // not there
		}
		deleted, err := s.deleteOlder(p, before)
		if err != nil {
			return n, fmt.Errorf("fileblob: %w", err)
		}
		if deleted {
			n++
		}
	}
	return n, nil
}

func (s *Store) deleteOlder(p place, before time.Time) (bool, error) {
	if err := s.hold(p.shard); err != nil {
		return false, err
	}
	defer s.release(p.shard)
	fi, err := s.fs.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !fi.ModTime().Before(before) {
		return false, err
	}
	if err := s.fs.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, nil
}

// List reads one folder at a time.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for i := range s.shards {
			if err := ctx.Err(); err != nil {
				yield(blob.Info{}, err)
				return
			}
			entries, err := s.fs.ReadDir(filepath.Join(s.dir, hex.EncodeToString([]byte{byte(i)})))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("fileblob: %w", err))
				return
			}
			for _, e := range entries {
				ref := blob.Ref("sha256-" + e.Name())
				if p, err := s.place(ref); err != nil || p.shard != &s.shards[i] {
					continue // not ours
				}
				fi, err := e.Info()
				if errors.Is(err, fs.ErrNotExist) {
					continue // removed meanwhile
				}
				if err != nil {
					err = fmt.Errorf("fileblob: %w", err)
				}
				if err != nil && !yield(blob.Info{}, err) || err == nil && !yield(info(ref, fi), nil) {
					return
				}
			}
		}
	}
}
