package mailtest

import (
	"context"

	"github.com/mailkeel/mailkeel/store"
)

// Settle returns when nothing is under way: no client is in the middle of a
// transaction, the queue has tried everything that is due, and Messages knows all
// that was filed. What waits for a time to come, a retry say, is at rest. Servers of
// one World come to rest together. If ctx ends before that, or Options.Patience
// where it has no deadline, the test fails.
func (s *Server) Settle(ctx context.Context) {
	s.tb.Helper()
	ctx, cancel := s.patient(ctx)
	defer cancel()
	all := []*Server{s}
	if s.world != nil {
		all = s.world.all()
	}
	if err := settle(ctx, all); err != nil {
		s.tb.Fatalf("mailtest: %v before everything was at rest", err)
	}
}

func settle(ctx context.Context, all []*Server) error {
	// What comes to rest here may have started something there: it is over
	// when a round finds what the last one found.
	last, first := uint64(0), true
	for {
		sum := uint64(0)
		for _, s := range all {
			n, err := s.round(ctx)
			if err != nil {
				return err
			}
			sum += n
		}
		if !first && sum == last {
			return nil
		}
		last, first = sum, false
	}
}

// round waits for each part once, and says how many transactions there were.
func (s *Server) round(ctx context.Context) (sum uint64, err error) {
	for _, door := range []interface {
		Settled(context.Context) (uint64, error)
	}{s.MX, s.LMTP, s.MSA} {
		n, err := door.Settled(ctx)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	if err := s.Queue.Settled(ctx); err != nil {
		return 0, err
	}
	return sum, s.caughtUp(ctx)
}

// caughtUp waits until every account was followed to where it is now.
func (s *Server) caughtUp(ctx context.Context) error {
	var ids []store.AccountID
	for _, a := range s.users.list() {
		ids = append(ids, a.ID)
	}
	var accs []store.Account
	err := s.Store.Backend.View(ctx, func(tx store.Tx) (err error) {
		accs, err = tx.Accounts(ids...)
		return err
	})
	if err != nil {
		return err
	}
	for _, acc := range accs {
		for {
			s.mu.Lock()
			at, changed := s.seen[acc.ID], s.changed
			s.mu.Unlock()
			if at >= acc.ModSeq || acc.Deleted {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return ctx.Err()
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
		}
	}
	return nil
}
