package route

import (
	"context"
	"errors"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
)

// Failover tries Transports in order: those recipients for which one is out of
// reach (delivery.ErrUnreachable) go to the next. What a hop that was reached says
// is its answer.
type Failover []mailkeel.Transport

var _ mailkeel.Transport = Failover(nil)

// Deliver returns the first answer for each recipient. If there is none, it is
// that of the last Transport.
func (f Failover) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	env = env.Numbered()
	rs := mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: delivery.Unreachable([3]int{4, 4, 1}, "no route", nil)})
	left := make([]int, len(rs))
	for i := range left {
		left[i] = i
	}
	for _, next := range f {
		var rcpts []mailkeel.Recipient
		for _, i := range left {
			rcpts = append(rcpts, env.Rcpts[i])
		}
		var again []int
		for j, r := range mailkeel.Deliver(ctx, next, env.Only(rcpts...), c) {
			rs[left[j]] = r
			if r.Err != nil && !mailkeel.Permanent(r.Err) && errors.Is(r.Err, delivery.ErrUnreachable) {
				again = append(again, left[j])
			}
		}
		if left = again; len(left) == 0 || ctx.Err() != nil {
			break
		}
	}
	return rs
}

// Hold keeps mail in the queue until a person releases it. It is the reason they
// see.
type Hold string

var (
	_ mailkeel.Transport = Hold("")
	_ delivery.Holder    = Hold("")
)

// Deliver returns delivery.ErrHold for all.
func (h Hold) Deliver(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: delivery.Hold(string(h))})
}

// Holds returns delivery.ErrHold for anyone.
func (h Hold) Holds(context.Context, *mailkeel.Envelope, mailkeel.Recipient) error {
	return delivery.Hold(string(h))
}
