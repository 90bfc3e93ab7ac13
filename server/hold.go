package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/queue"
)

// noRoute is why mail for elsewhere is held; it stands in Item.Last.
const noRoute = "there is no smart host and no direct delivery"

// hold is what mail for elsewhere comes to without a Config.Rest.
type hold struct{}

func (hold) Deliver(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: fmt.Errorf("%w: %s", queue.ErrHold, noRoute)})
}

// releaseHeld lets go what was held for want of a route, now that there is one.
func (s *Server) releaseHeld(ctx context.Context) {
	var ids []string
	for it, err := range s.Queue.Backend.List(ctx, queue.Query{HeldOnly: true}) {
		if err != nil {
			s.cfg.Logger.Error("server: cannot look for held mail", "err", err)
			return
		}
		if strings.Contains(it.Last, noRoute) {
			ids = append(ids, it.ID)
		}
	}
	now := mailkeel.ClockOr(s.cfg.Clock).Now()
	for _, id := range ids {
		err := s.Queue.Backend.Change(ctx, now, id, func(it *queue.Item) error {
			it.Held, it.Due = false, now
			return nil
		})
		if err != nil {
			s.cfg.Logger.Error("server: cannot release held mail", "item", id, "err", err)
		}
	}
	if len(ids) > 0 {
		s.cfg.Logger.Info("server: released mail that was held for want of a route", "items", len(ids))
	}
}
