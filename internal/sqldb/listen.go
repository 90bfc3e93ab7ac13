package sqldb

import (
	"context"
	"sync"
)

// maxPending is how many payloads wait for a slow listener before it is told of
// a gap instead.
const maxPending = 1000

// A Note is what a Conn's Notify says.
type Note struct{ Topic, Payload string }

// A Hub carries notes between goroutines of one process. The zero value is ready.
type Hub struct {
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

// Tell tells those who Listen.
func (h *Hub) Tell(notes ...Note) {
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
			if n.Topic == l.topic {
				l.add(n.Payload)
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

// Listen is that of a DB. It calls fn with an empty payload first.
func (h *Hub) Listen(ctx context.Context, topic string, fn func(string)) error {
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

// Gap tells all who Listen, to whatever, that they may have missed something.
func (h *Hub) Gap() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for l := range h.listeners {
		l.gap = true
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Close ends every Listen with ErrClosed.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for l := range h.listeners {
		close(l.wake)
	}
}
