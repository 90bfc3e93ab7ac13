package server

import (
	"context"
	"strings"

	"github.com/mailkeel/mailkeel/queue"
)

// noRoute is why mail for elsewhere is held; it stands in Item.Last.
const noRoute = "there is no smart host and no direct delivery"

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
	for _, id := range ids {
		if err := s.Queue.Release(ctx, id); err != nil {
			s.cfg.Logger.Error("server: cannot release held mail", "item", id, "err", err)
		}
	}
	if len(ids) > 0 {
		s.cfg.Logger.Info("server: released mail that was held for want of a route", "items", len(ids))
	}
}
