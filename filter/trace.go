package filter

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// A Tracer hears what each filter said, for metrics. A Chain calls it from many
// goroutines.
type Tracer interface {
	Judged(Judgment)
}

// A Judgment is one call of one stage method.
type Judgment struct {
	Filter  string // its name
	Stage   Stage
	ID      string // of the envelope; empty at Conn
	Verdict Verdict
	// Err says why the filter could not tell. Verdict then is what the policy
	// made of it.
	Err  error
	Took time.Duration
}

// trace tells the Tracer and the log.
func (c *Chain) trace(ctx context.Context, j Judgment) {
	if c.Tracer != nil {
		c.Tracer.Judged(j)
	}
	if c.Logger == nil {
		return
	}
	v, level := &j.Verdict, slog.LevelDebug
	if j.Err == nil && v.Refuse == nil && !v.Discard && !v.Junk && v.Score == 0 && len(v.Rcpts) == 0 && v.Why == "" {
		return // no opinion
	}
	attrs := []slog.Attr{slog.String("filter", j.Filter), slog.String("stage", j.Stage.String()), slog.String("id", j.ID)}
	say := func(a slog.Attr, l slog.Level) {
		attrs, level = append(attrs, a), max(level, l)
	}
	if j.Err != nil {
		say(slog.Any("err", j.Err), slog.LevelWarn)
		var p *panicked
		if errors.As(j.Err, &p) {
			say(slog.String("stack", string(p.stack)), slog.LevelError)
		}
	}
	if v.Refuse != nil {
		say(slog.Any("refuse", v.Refuse), slog.LevelInfo)
	}
	if v.Discard {
		say(slog.Bool("discard", true), slog.LevelInfo)
	}
	if v.Junk {
		say(slog.Bool("junk", true), slog.LevelInfo)
	}
	if v.Score != 0 {
		say(slog.Float64("score", v.Score), slog.LevelDebug)
	}
	if len(v.Rcpts) > 0 {
		say(slog.Int("rcpts", len(v.Rcpts)), slog.LevelDebug)
	}
	if v.Why != "" {
		say(slog.String("why", v.Why), slog.LevelDebug)
	}
	c.Logger.LogAttrs(ctx, level, "filter: verdict", attrs...)
}
