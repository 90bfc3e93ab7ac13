package mailtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Wait returns the first message that q means, as soon as there is one, be it filed
// for an account or sent away. If ctx ends before that, or Options.Patience where it
// has no deadline, the test fails, and is told what did arrive and why that is not
// meant. Call it from the test's goroutine.
func (s *Server) Wait(ctx context.Context, q Match) *Message {
	s.tb.Helper()
	if ms := s.WaitN(ctx, 1, q); len(ms) > 0 {
		return ms[0]
	}
	return nil // after a Fatalf that returned
}

// WaitN is Wait for the first n messages, in the order in which they came.
func (s *Server) WaitN(ctx context.Context, n int, q Match) []*Message {
	s.tb.Helper()
	ctx, cancel := s.patient(ctx)
	defer cancel()
	var got []*Message
	var last uint64
	for {
		more, changed, seen := s.look(q, last)
		got, last = append(got, more...), seen
		if len(got) >= n {
			return got[:n:n]
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s.fail(ctx.Err(), fmt.Sprintf("%d of %d came", len(got), n), q)
		case <-s.ctx.Done():
			return s.fail(s.ctx.Err(), fmt.Sprintf("%d of %d came", len(got), n), q)
		}
	}
}

// Messages returns those of the messages so far that q means, in the order in which
// they came.
func (s *Server) Messages(q Match) []*Message {
	got, _, _ := s.look(q, 0)
	return got
}

// AssertNone fails the test if there is a message that q means once everything that
// is under way has come to rest: see Settle.
func (s *Server) AssertNone(ctx context.Context, q Match) {
	s.tb.Helper()
	s.Settle(ctx)
	if got := s.Messages(q); len(got) > 0 {
		var b strings.Builder
		for _, m := range got {
			fmt.Fprintf(&b, "\n\t%v", m)
		}
		s.tb.Fatalf("mailtest: there should be no such message, and there are %d:%s", len(got), b.String())
	}
}

// Forget makes the messages so far those of the past: Wait, Messages and AssertNone
// look only at what comes after. They stay in their mailboxes.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived = nil
}

// patient bounds ctx if nobody has.
func (s *Server) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	d := s.opts.Patience
	if d == 0 {
		d = patience
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%w after %v", context.DeadlineExceeded, d.Round(time.Millisecond)))
}

// look returns what q means of those that came after the one numbered after, what is
// closed when there may be more, and the number of the last.
func (s *Server) look(q Match, after uint64) (got []*Message, changed <-chan struct{}, last uint64) {
	s.mu.Lock()
	all := s.arrived
	changed = s.changed
	last = s.count
	s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(all, after+1, func(m *Message, seq uint64) int { return cmp.Compare(m.seq, seq) })
	for _, m := range all[i:] {
		if q.why(m) == "" {
			got = append(got, m)
		}
	}
	return got, changed, last
}

func (s *Server) fail(err error, what string, q Match) []*Message {
	s.tb.Helper()
	var b strings.Builder
	s.mu.Lock()
	all := s.arrived
	s.mu.Unlock()
	for _, m := range all {
		fmt.Fprintf(&b, "\n\t%v", m)
		if why := q.why(m); why != "" {
			fmt.Fprintf(&b, "\n\t\t%s", why)
		} else {
			b.WriteString("\n\t\tis meant")
		}
	}
	if b.Len() == 0 {
		b.WriteString(" nothing")
	}
	if d := s.dialogs(); d != "" {
		b.WriteString("\nthe last sessions:" + d)
	}
	s.tb.Fatalf("mailtest: %v: %s; what arrived:%s", err, what, b.String())
	return nil
}

// change notes what fn changes, and wakes those who wait.
func (s *Server) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.changed)
	s.changed = make(chan struct{})
}
