package webmail

import (
	"context"
	"sync"
	"time"
)

// patience is how long a request waits for others of the same person to end: browsers ask
// for all images of a message at once.
const patience = 10 * time.Second

// queued is how many times as many as may be worked on may wait.
const queued = 8

// slots bound how much is done at once, in all and for each.
type slots struct {
	max, each int
	wait      time.Duration // of each; zero means not at all

	mu    sync.Mutex
	taken int
	of    map[string]*lane
}

// A lane is the places of one.
type lane struct {
	places chan struct{}
	users  int // who have one or wait
}

// enter takes a place in all; it reports false if there is none.
func (s *slots) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.max {
		return false
	}
	s.taken++
	return true
}

func (s *slots) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
}

// enterAs takes a place of who, and waits for it a while. It returns how to leave it, or
// nil if there was none.
func (s *slots) enterAs(ctx context.Context, who string) (leave func()) {
	s.mu.Lock()
	l := s.of[who]
	if l == nil {
		if s.of == nil {
			s.of = map[string]*lane{}
		}
		l = &lane{places: make(chan struct{}, s.each)}
		s.of[who] = l
	}
	if l.users >= s.each*(1+queued) {
		s.mu.Unlock()
		return nil
	}
	l.users++
	s.mu.Unlock()
	gone := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(s.of, who)
		}
	}
	select {
	case l.places <- struct{}{}:
		return func() { <-l.places; gone() }
	default:
	}
	timer := time.NewTimer(s.wait) // real time: it is about connections
	defer timer.Stop()
	select {
	case l.places <- struct{}{}:
		return func() { <-l.places; gone() }
	case <-timer.C:
	case <-ctx.Done():
	}
	gone()
	return nil
}
