package webmail

import "sync"

// slots bound how much is done at once, in all and for each.
type slots struct {
	max, each int

	mu    sync.Mutex
	taken int
	of    map[string]int
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

// enterAs takes a place of who.
func (s *slots) enterAs(who string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[who] >= s.each {
		return false
	}
	if s.of == nil {
		s.of = map[string]int{}
	}
	s.of[who]++
	return true
}

func (s *slots) leaveAs(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[who]--; s.of[who] == 0 {
		delete(s.of, who)
	}
}
