package sqldb

import (
	"context"
	"sync"
)

// maxPending is how many payloads wait for a slow listener before it is told of
// a gap instead.
const maxPending = 1000

type note struct{ topic, payload string }

// hub carries notes between goroutines of one process.
type hub struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	closed    bool
}

type listener struct {
	topic   string
	wake    chan struct{} // holds one; closed with the hub
	pending map[string]struct{}
	gap     bool
}

func (h *hub) tell(notes []note) {
	if len(notes) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for l := range h.listeners {
		for _, n := range notes {
			if n.topic == l.topic {
				l.add(n.payload)
			}
		}
	}
}

func (l *listener) add(payload string) {
	if l.pending == nil {
		l.pending = map[string]struct{}{}
	}
	if l.pending[payload] = struct{}{}; len(l.pending) > maxPending {
		l.pending, l.gap = nil, true
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (h *hub) listen(ctx context.Context, topic string, fn func(string)) error {
	l := &listener{topic: topic, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return ErrClosed
	}
	if h.listeners == nil {
		h.listeners = map[*listener]struct{}{}
	}
	h.listeners[l] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, l)
	}()
	fn("")
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-l.wake:
			if !ok {
				return ErrClosed
			}
		}
		h.mu.Lock()
		pending, gap := l.pending, l.gap
		l.pending, l.gap = nil, false
		h.mu.Unlock()
		if gap {
			fn("")
		}
		for p := range pending {
			fn(p)
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.listeners {
		close(l.wake)
	}
}
