package packblob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

var (
	// ErrClosed is returned by what was called after Close.
	ErrClosed = errors.New("packblob: closed")
	// ErrTooLarge is returned by a Writer for a blob of more than 2 GiB.
	ErrTooLarge = errors.New("packblob: blob is larger than 2 GiB")

	errWriterClosed = errors.New("packblob: writer is closed")
	errWriterFailed = errors.New("packblob: an earlier write failed")
	errStaged       = errors.New("packblob: blob is staged already")
	errNotStaged    = errors.New("packblob: blob is not staged")
)

// writer holds a small blob in memory, and a part of a large one.
type writer struct {
	s     *Store
	ctx   context.Context
	buf   []byte
	large *largeWriter // nil while all is in buf
	err   error        // why it takes no more
	batch *batch       // of a staged blob; nil if it is durable
	ready bool         // staged
}

var _ blob.Stager = (*writer)(nil)

// Create starts a blob. Its Writer is a blob.Stager.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &writer{s: s, ctx: ctx}, nil
}

func (w *writer) Write(p []byte) (n int, err error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.large == nil && len(w.buf)+len(p) <= w.s.threshold {
		if w.buf == nil {
			w.buf = w.s.buffer()
		}
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if w.large == nil {
		w.large, err = w.s.newLarge()
		if err == nil {
			_, err = w.large.Write(w.buf)
		}
		w.s.recycle(w.buf)
		w.buf = nil
	}
	if err == nil {
		n, err = w.large.Write(p)
	}
	if err != nil {
		w.err = errWriterFailed
		return n, fmt.Errorf("packblob: %w", err)
	}
	return n, nil
}

func (w *writer) Stage() (info blob.Info, err error) {
	if w.err != nil {
		return info, w.err
	}
	if err := w.ctx.Err(); err != nil {
		return info, err
	}
	now := w.s.clock.Now()
	w.err = errStaged
	if w.large != nil {
		info, w.batch, err = w.s.adopt(w.large, now)
		w.large = nil
	} else {
		info, w.batch, err = w.stageSmall(now)
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("packblob: %w", err)
	}
	w.ready = true
	return info, nil
}

func (w *writer) stageSmall(now time.Time) (blob.Info, *batch, error) {
	it := &item{
		kind: kindBlob, hash: sha256.Sum256(w.buf), size: int64(len(w.buf)), payload: w.buf,
		sum: checksum(w.buf), young: now.UnixNano(), pooled: true,
	}
	info := blob.Info{Ref: it.hash.ref(), Size: it.size, Young: now}
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.stage(it)
	if it.batch != nil { // it is the batch's now
		w.buf = nil
	}
	return info, b, err
}

// stage queues a new blob, unless it is there or on its way. It returns what to
// wait for. The caller holds mu.
func (s *Store) stage(it *item) (*batch, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if p, ok := s.index.get(it.hash); ok {
		return s.renew(it.hash, p, it.young), nil
	}
	if on := s.pending[it.hash]; on != nil && !on.taken {
		on.young = max(on.young, it.young)
		return on.batch, nil
	}
	s.pending[it.hash] = it
	return s.queue(it), nil
}

func (w *writer) Wait() error {
	if !w.ready {
		return errNotStaged
	}
	return w.s.wait(w.batch)
}

func (w *writer) Commit() (blob.Info, error) {
	defer w.Close()
	info, err := w.Stage()
	if err == nil {
		err = w.Wait()
	}
	if err != nil {
		return blob.Info{}, err
	}
	return info, nil
}

// Close discards what is not staged.
func (w *writer) Close() error {
	w.err = errWriterClosed
	if w.buf != nil {
		w.s.recycle(w.buf)
		w.buf = nil
	}
	if w.large != nil {
		w.large.discard()
		w.large = nil
	}
	return nil
}

// buffer returns memory for a small blob.
func (s *Store) buffer() []byte {
	if b, _ := s.buffers.Get().(*[]byte); b != nil {
		return (*b)[:0]
	}
	return make([]byte, 0, 16<<10)
}

func (s *Store) recycle(b []byte) {
	if cap(b) >= 16<<10 && cap(b) <= 64<<10 {
		s.buffers.Put(&b)
	}
}
