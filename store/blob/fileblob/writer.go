package fileblob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// bufferSize is how much of a blob is kept in memory. A smaller one is written in
// one piece when its name is known, and not at all if it is there already.
const bufferSize = 64 << 10

var (
	errClosed = errors.New("fileblob: writer is closed")
	errFailed = errors.New("fileblob: an earlier write failed")
	errDoubt  = errors.New("a sync of the folder failed meanwhile")
)

type writer struct {
	s    *Store
	ctx  context.Context
	hash hash.Hash
	size int64
	buf  []byte
	temp *temp // nil while all is in buf
	err  error // why it is of no more use
}

var _ blob.Writer = (*writer)(nil)

func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &writer{s: s, ctx: ctx, hash: sha256.New()}, nil
}

func (w *writer) Write(p []byte) (n int, err error) {
	if w.err != nil {
		return 0, w.err
	}
	for len(p) > 0 {
		if len(w.buf) == bufferSize {
			if err := w.spill(); err != nil {
				w.err = errFailed
				return n, fmt.Errorf("fileblob: %w", err)
			}
		}
		k := min(len(p), bufferSize-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		w.hash.Write(p[:k])
		w.size += int64(k)
		n, p = n+k, p[k:]
	}
	return n, nil
}

// spill writes what is in memory to the file.
func (w *writer) spill() error {
	if err := w.s.room(); err != nil {
		return err
	}
	if w.temp == nil {
		t, err := w.s.newTemp()
		if err != nil {
			return err
		}
		w.temp = t
	}
	_, err := w.temp.f.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

func (w *writer) Commit() (blob.Info, error) {
	if w.err != nil {
		return blob.Info{}, w.err
	}
	defer w.Close()
	if err := w.ctx.Err(); err != nil {
		return blob.Info{}, err
	}
	i := blob.Info{Ref: name(w.hash.Sum(nil)), Size: w.size, Young: w.s.clock.Now()}
	p, err := w.s.place(i.Ref)
	if err != nil {
		return blob.Info{}, err
	}
	there, doubt, err := w.s.renew(p, i)
	if err == nil && !there {
		err = w.write(p, i.Young)
	}
	if err == nil {
		// Also if it was there: the writer before may not have come so far.
		err = w.s.syncDir(w.ctx, p, doubt)
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("fileblob: %w", err)
	}
	return i, nil
}

// write makes the bytes durable and gives them their name.
func (w *writer) write(p place, young time.Time) error {
	if err := w.spill(); err != nil {
		return err
	}
	t := w.temp
	if err := w.s.fs.Chtimes(t.path, young); err != nil {
		return err
	}
	if err := t.f.Sync(); err != nil {
		return err
	}
	if err := t.close(); err != nil {
		return err
	}
	if err := w.s.hold(p.shard); err != nil {
		return err
	}
	defer w.s.release(p.shard)
	if err := w.s.makeDir(p); err != nil {
		return err
	}
	if err := w.s.fs.Rename(t.path, p.path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			p.shard.made = false // another process took the folder away, see makeDir
		}
		return err
	}
	t.path = ""
	return nil
}

// makeDir makes the folder of a place. The caller holds its shard.
func (s *Store) makeDir(p place) error {
	if p.shard.made {
		return nil
	}
	if err := s.fs.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		// Made anew the next time, unless there are blobs in it and it was
		// durable before.
		_ = s.fs.Remove(p.dir)
		return err
	}
	p.shard.made = true
	return nil
}

// renew makes a blob young that is there already. One of the wrong size is
// written again, and so is one whose name may not be durable. doubt is for syncDir.
func (s *Store) renew(p place, i blob.Info) (there bool, doubt int, err error) {
	if err := s.hold(p.shard); err != nil {
		return false, 0, err
	}
	defer s.release(p.shard)
	doubt = p.shard.doubt
	if doubt > 0 {
		return false, doubt, nil
	}
	fi, err := s.fs.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, doubt, nil
	}
	if err != nil || fi.Size() != i.Size {
		return false, doubt, err
	}
	return true, doubt, s.fs.Chtimes(p.path, i.Young)
}

// room says ENOSPC before there is none.
func (s *Store) room() error {
	if s.free == nil || s.least < 0 {
		return nil
	}
	if n, ok := s.free.Free(s.dir); ok && n < s.least {
		return fmt.Errorf("%d bytes are free, of which none are for blobs: %w", n, syscall.ENOSPC)
	}
	return nil
}

// Close removes what is not committed.
func (w *writer) Close() error {
	if w.err == nil || w.err == errFailed {
		w.err = errClosed
	}
	w.buf = nil
	if w.temp != nil {
		w.temp.remove()
		w.temp = nil
	}
	return nil
}

// A temp is a file in tmp.
type temp struct {
	s    *Store
	f    vfs.File // nil once closed
	path string   // empty once renamed
}

func (s *Store) newTemp() (*temp, error) {
	path := filepath.Join(s.dir, "tmp", s.own+strconv.FormatUint(s.temps.Add(1), 10))
	f, err := s.fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &temp{s, f, path}, nil
}

func (t *temp) close() error {
	f := t.f
	t.f = nil
	return f.Close()
}

// remove does what it can; Open removes the rest.
func (t *temp) remove() {
	if t.f != nil {
		_ = t.close()
	}
	if t.path != "" {
		_ = t.s.fs.Remove(t.path)
	}
}
