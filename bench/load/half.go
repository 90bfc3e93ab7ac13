package load

import (
	"cmp"
	"context"
	"fmt"
)

// Half are sessions in the middle of a message: MAIL, RCPT and DATA were taken, and
// half of the bytes have been sent.
type Half struct{ sessions []*session }

// Halfway opens l.Sessions more of them and returns when the servers have got that
// far.
func (h *Half) Halfway(ctx context.Context, l SMTP) error {
	corpus := l.Corpus
	if corpus == nil {
		corpus = NewCorpus()
	}
	body := corpus.Message(0, cmp.Or(l.Size, 10<<10))
	for i := range cmp.Or(l.Sessions, 1) {
		s, err := l.dial(ctx)
		if err != nil {
			return fmt.Errorf("load: session %d: %w", i, err)
		}
		h.sessions = append(h.sessions, s)
		if err := s.begin(&l, i); err != nil {
			return fmt.Errorf("load: session %d: %w", i, err)
		}
		s.w.Write(body[:len(body)/2])
		if err := s.w.Flush(); err != nil {
			return fmt.Errorf("load: session %d: %w", i, err)
		}
	}
	return nil
}

// Close cuts the sessions off.
func (h *Half) Close() {
	for _, s := range h.sessions {
		s.Close()
	}
	h.sessions = nil
}
