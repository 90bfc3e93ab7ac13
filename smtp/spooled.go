package smtp

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/mailkeel/mailkeel/store/blob"
)

// spooled is a message that was received whole. It is stored when somebody wants to
// name it, so what is refused or only read costs no sync; and it is durable when who
// names it has waited for it, together with others. Where the store cannot do that,
// it is durable from the beginning.
type spooled struct {
	store blob.Store
	w     blob.Stager // nil if it is durable
	size  int64

	durable atomic.Bool
	mu      sync.Mutex
	staged  bool
	info    blob.Info // when staged
	err     error     // of staging
}

// newSpooled ends the writing of a blob of n bytes.
func newSpooled(s blob.Store, w blob.Writer, n int64) (*spooled, error) {
	if st, ok := w.(blob.Stager); ok {
		return &spooled{store: s, w: st, size: n}, nil
	}
	info, err := w.Commit()
	if err != nil {
		return nil, err
	}
	return &spooled{store: s, size: info.Size, staged: true, info: info}, nil
}

// stage names the blob. wait is nil if it is durable.
func (p *spooled) stage() (info blob.Info, wait func() error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.staged {
		p.staged = true
		p.info, p.err = p.w.Stage()
	}
	if p.err == nil && p.w != nil && !p.durable.Load() {
		wait = p.wait
	}
	return p.info, wait, p.err
}

func (p *spooled) wait() error {
	err := p.w.Wait()
	if err == nil {
		p.durable.Store(true)
	}
	return err
}

// open reads the blob, also when it is not in the store yet, and from there when the
// transaction is over.
func (p *spooled) open(ctx context.Context) (io.ReadCloser, error) {
	var err error
	if p.w != nil {
		var rc io.ReadCloser
		if rc, err = p.w.Open(); err == nil {
			return rc, nil
		}
	}
	p.mu.Lock()
	info := p.info
	p.mu.Unlock()
	if info.Ref == "" {
		return nil, err
	}
	return p.store.Open(ctx, info.Ref, 0, -1)
}
