package packblob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
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
	errOpened       = errors.New("packblob: blob was read and takes no more")
	errNotStaged    = errors.New("packblob: blob is not staged")
)

// writer holds a small blob in memory, and a part of a large one.
type writer struct {
	s     *Store
	ctx   context.Context
	mem   *memory      // nil before the first Write and for a large blob
	large *largeWriter // nil while all is in mem
	// staged is what large was, for Open.
	staged *largeWriter
	err    error     // why it takes no more
	batch  *batch    // of a staged blob; nil if it is durable
	info   blob.Info // of a staged blob

	// Open may be called while another goroutine goes on.
	mu     sync.Mutex
	opened bool // and so complete
	ready  bool // staged
	closed bool
}

var (
	_ blob.Stager  = (*writer)(nil)
	_ blob.Starter = (*writer)(nil)
)

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
	if w.large == nil && len(w.bytes())+len(p) <= w.s.threshold {
		if w.mem == nil {
			w.mem = w.s.memory()
		}
		w.mem.buf = append(w.mem.buf, p...)
		return len(p), nil
	}
	if w.large == nil {
		w.large, err = w.s.newLarge()
		if err == nil {
			_, err = w.large.Write(w.bytes())
		}
		w.forget()
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

// bytes is a small blob as far as it was written.
func (w *writer) bytes() []byte {
	if w.mem == nil {
		return nil
	}
	return w.mem.buf
}

// forget drops the bytes of a small blob. Others may still use them.
func (w *writer) forget() {
	if w.mem != nil {
		w.mem.release()
		w.mem = nil
	}
}

func (w *writer) Open() (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, errWriterClosed
	case w.err != nil && !w.ready && !w.opened:
		return nil, w.err
	case w.large != nil:
		if !w.opened {
			w.opened, w.err = true, errOpened
			if err := w.large.flush(); err != nil {
				w.err = errWriterFailed
				return nil, fmt.Errorf("packblob: %w", err)
			}
		}
		return w.large.open(w.large.path, hash{})
	case w.ready && w.staged != nil:
		// It may have been there already, as a small one or compressed otherwise.
		r, err := w.s.Open(w.ctx, w.info.Ref, 0, -1)
		if errors.Is(err, blob.ErrNotFound) {
			h, _ := parseRef(w.info.Ref)
			return w.staged.open(w.s.largePath(h), h)
		}
		return r, err
	case w.mem == nil:
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	w.opened = true
	return w.mem.open(), nil
}

// maxStaged is how many batches wait to be written at most before Stage does it,
// so that what nobody waits for does not fill the memory.
const maxStaged = 4

func (w *writer) Stage() (info blob.Info, err error) {
	info, crowded, err := w.stage()
	if err == nil && crowded {
		_ = w.Wait() // who asks again hears of an error
	}
	return info, err
}

func (w *writer) stage() (info blob.Info, crowded bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil && w.err != errOpened {
		return info, false, w.err
	}
	if err := w.ctx.Err(); err != nil {
		return info, false, err
	}
	now := w.s.clock.Now()
	w.err = errStaged
	if w.large != nil {
		info, w.batch, err = w.s.adopt(w.large, now)
		w.staged, w.large = w.large, nil
	} else {
		info, w.batch, crowded, err = w.stageSmall(now)
	}
	if err != nil {
		return blob.Info{}, false, fmt.Errorf("packblob: %w", err)
	}
	w.ready, w.info = true, info
	return info, crowded, nil
}

func (w *writer) stageSmall(now time.Time) (blob.Info, *batch, bool, error) {
	s, b := w.s, w.bytes()
	it := &item{kind: kindBlob, hash: sha256.Sum256(b), size: int64(len(b)), payload: b, young: now.UnixNano(), mem: w.mem}
	if s.compress {
		mem := s.memory()
		defer mem.release()
		packed, ok, err := s.codec.pack(binary.LittleEndian.AppendUint64(mem.buf, uint64(len(b))), b)
		if err != nil {
			return blob.Info{}, nil, false, err
		}
		if mem.buf = packed; ok {
			it.kind, it.payload, it.mem = kindPacked, packed, mem
		}
	}
	it.sum = checksum(it.payload)
	info := blob.Info{Ref: it.hash.ref(), Size: it.size, Young: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	batch, err := s.stage(it)
	if it.batch != nil && it.mem != nil {
		it.mem.retain()
	}
	return info, batch, len(s.batches) > maxStaged, err
}

// stage queues a new blob, unless it is there or on its way. It returns what to
// wait for. One that the disk does not give is written again. The caller holds mu.
func (s *Store) stage(it *item) (*batch, error) {
	if s.closed {
		return nil, ErrClosed
	}
	_, fails := s.unread[it.hash]
	if p, ok := s.index.get(it.hash); ok && (!fails || isLarge(it.kind) && !it.fresh) {
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
	w.mu.Lock()
	ready := w.ready
	w.mu.Unlock()
	if !ready {
		return errNotStaged
	}
	return w.s.wait(w.batch)
}

// Start leads in the background if nobody writes.
func (w *writer) Start() {
	w.mu.Lock()
	b := w.batch
	w.mu.Unlock()
	if b == nil || !w.s.flush.TryLock() {
		return
	}
	s := w.s
	s.mu.Lock()
	ended := s.closed
	if !ended {
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if ended || !b.led.CompareAndSwap(false, true) {
		s.flush.Unlock()
		if !ended {
			s.wg.Done()
		}
		return
	}
	go func() {
		defer s.wg.Done()
		defer s.flush.Unlock()
		s.writeUpTo(b)
	}()
}

func (w *writer) Commit() (blob.Info, error) {
	defer w.Close()
	info, _, err := w.stage()
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
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.err = true, errWriterClosed
	w.forget()
	if w.large != nil {
		w.large.discard()
		w.large = nil
	}
	return nil
}
