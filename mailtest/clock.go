package mailtest

import (
	"context"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
)

// A Clock stands still until Advance of a Server or World moves it. The zero value
// stands at 2026-01-02 03:04:05 UTC. It is for Options.Clock.
type Clock struct{ c testclock.Clock }

var _ mailkeel.Clock = (*Clock)(nil)

func (c *Clock) Now() time.Time                          { return c.c.Now() }
func (c *Clock) NewTimer(d time.Duration) mailkeel.Timer { return c.c.NewTimer(d) }

// advance goes to each timer in turn, and lets everything come to rest after it.
func (c *Clock) advance(d time.Duration, settle func() error) error {
	until := c.Now().Add(d)
	if err := settle(); err != nil {
		return err
	}
	for c.c.Step(until) {
		if err := settle(); err != nil {
			return err
		}
	}
	if left := until.Sub(c.Now()); left > 0 {
		c.c.Advance(left)
	}
	return settle()
}

// Advance moves Options.Clock, which must be a *Clock, by d: to each timer in turn,
// and after each it waits until everything has come to rest, as Settle does. So the
// retries, the report of delay and the bounce happen one by one, each at its time.
func (s *Server) Advance(d time.Duration) {
	s.tb.Helper()
	c, ok := s.opts.Clock.(*Clock)
	if !ok {
		s.tb.Fatal("mailtest: Advance needs Options.Clock to be a *mailtest.Clock")
	}
	all := []*Server{s}
	if s.world != nil {
		all = s.world.all()
	}
	ctx, cancel := s.patient(context.Background())
	defer cancel()
	if err := c.advance(d, func() error { return settle(ctx, all) }); err != nil {
		s.tb.Fatalf("mailtest: %v before everything was at rest", err)
	}
}
