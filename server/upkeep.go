package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

const (
	// purgeEvery is how soon the mail of a deleted account begins to go.
	purgeEvery = time.Minute
	// step is how many rows one transaction of upkeep removes.
	step = 1000
	// forgetEvery is how often old tombstones are forgotten.
	forgetEvery = 24 * time.Hour
	// expireEvery is how often notes whose time has passed are removed.
	expireEvery = time.Hour
	// settle is how long a start is left alone by what can wait.
	settle = 10 * time.Minute
)

// upkeep tidies up until ctx is done.
func (s *Server) upkeep(ctx context.Context) {
	var jobs sync.WaitGroup
	if s.cfg.Rest != nil {
		s.releaseHeld(ctx)
	}
	if s.cfg.Manager != nil {
		jobs.Go(func() { s.every(ctx, 0, purgeEvery, s.purge) })
		jobs.Go(func() { s.every(ctx, settle, forgetEvery, s.forget) })
	}
	jobs.Go(func() {
		pause := cmp.Or(s.cfg.SweepEvery, time.Hour)
		s.every(ctx, min(settle, pause), pause, s.sweep)
	})
	jobs.Go(func() { s.every(ctx, settle, expireEvery, s.expire) })
	if s.Indexer != nil {
		jobs.Go(func() { s.Indexer.Run(ctx) })
	}
	jobs.Wait()
}

// every calls fn after first and then after each pause, until ctx is done.
func (s *Server) every(ctx context.Context, first, pause time.Duration, fn func(context.Context) error) {
	for next := first; ; next = pause {
		t := s.clock().NewTimer(next)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return
		}
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("server: upkeep failed, and will be tried again", "err", err)
		}
	}
}

func (s *Server) clock() mailkeel.Clock { return mailkeel.ClockOr(s.cfg.Clock) }

// sweep removes the blobs that neither the store nor the queue names.
func (s *Server) sweep(ctx context.Context) error {
	n, err := blob.Sweep(ctx, s.cfg.Blobs, s.clock().Now(), cmp.Or(s.cfg.SweepGrace, 6*time.Hour), s.Store, s.Queue)
	if n > 0 {
		s.cfg.Logger.Info("server: swept", "blobs", n)
	}
	return err
}

// expire removes what the store noted for a time.
func (s *Server) expire(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = s.Store.Expire(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// purge removes the mail of deleted accounts, in steps that hold nobody up.
func (s *Server) purge(ctx context.Context) error {
	ids, err := s.cfg.Manager.Deleted(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		for more := true; more; {
			if more, err = s.Store.DeleteAccount(ctx, id, step); err != nil {
				return err
			}
		}
		if err := s.cfg.Manager.Purged(ctx, id); err != nil && !errors.Is(err, accounts.ErrNoUser) { // another node may have been faster
			return err
		}
		s.cfg.Logger.Info("server: removed the mail of a deleted account", "account", id)
	}
	return nil
}

// A mark says how far an account was at a time.
type mark struct {
	Time   time.Time
	ModSeq store.ModSeq
}

// marksPerKeep is how many marks are kept of an account, more or less.
const marksPerKeep = 30

// forget lets tombstones go that are older than Config.Tombstones. Rows do not
// say when they died, so it keeps a mark for each account and day in the KV; if
// those are lost, tombstones only live longer.
func (s *Server) forget(ctx context.Context) error {
	keep := cmp.Or(s.cfg.Tombstones, 30*24*time.Hour)
	for a, err := range s.cfg.Manager.Accounts(ctx, "") {
		if err != nil {
			return err
		}
		through, err := s.mark(ctx, a.ID, keep)
		if err == nil && through > 0 {
			err = s.Store.Forget(ctx, a.ID, through)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mark notes how far an account is now, and returns how far it was keep ago.
func (s *Server) mark(ctx context.Context, id mailkeel.AccountID, keep time.Duration) (through store.ModSeq, err error) {
	var at store.ModSeq
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		accs, err := tx.Accounts(id)
		if err == nil {
			at = accs[0].ModSeq
		}
		return err
	})
	if err != nil || at == 0 {
		return 0, err
	}
	now := s.clock().Now()
	err = s.cfg.KV.Update(ctx, "forget/"+string(id), 2*keep, func(old []byte) ([]byte, error) {
		through = 0
		var marks, later []mark
		if json.Unmarshal(old, &marks) != nil {
			marks = nil
		}
		for _, m := range marks {
			if now.Sub(m.Time) >= keep {
				through = max(through, m.ModSeq)
			} else {
				later = append(later, m)
			}
		}
		if n := len(later); n == 0 || later[n-1].ModSeq < at && now.Sub(later[n-1].Time) >= keep/marksPerKeep {
			later = append(later, mark{now, at})
		}
		return json.Marshal(later)
	})
	return through, err
}
