package smtpclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/mailkeel/mailkeel"
)

// ErrNoHop means that there is no other hop to try.
var ErrNoHop = errors.New("smtpclient: no other hop")

// Deliver sends a message over sessions from the pool under key and then over
// those that next opens, until the peers have judged every recipient. next returns
// ErrNoHop when there is no other to try; what else it returns is kept.
//
// It returns a Result for each recipient, in order, the indexes of those without a
// judgement, and why there is none.
func (p *Pool) Deliver(ctx context.Context, key string, env *mailkeel.Envelope, m mailkeel.Content, next func(context.Context) (*Client, error)) (rs []mailkeel.Result, undone []int, errs []error) {
	rs = make([]mailkeel.Result, len(env.Rcpts))
	for i := range env.Rcpts {
		undone = append(undone, i)
	}
	pooled := true
	for len(undone) > 0 {
		var c *Client
		if pooled {
			if c = p.Get(key); c == nil {
				pooled = false
			}
		}
		if c == nil {
			var err error
			c, err = next(ctx)
			if errors.Is(err, ErrNoHop) {
				break
			} else if err != nil {
				errs = append(errs, err)
				continue
			}
		}
		e := env
		if len(undone) < len(env.Rcpts) {
			var rcpts []mailkeel.Recipient
			for _, i := range undone {
				rcpts = append(rcpts, env.Rcpts[i])
			}
			e = env.Only(rcpts...)
		}
		left := undone[:0:0]
		var why error
		for j, r := range c.Deliver(ctx, e, m) {
			rs[undone[j]] = r
			if errors.Is(r.Err, ErrSession) {
				left, why = append(left, undone[j]), r.Err
			}
		}
		if undone = left; why != nil && !pooled { // that a pooled session ended is no news
			errs = append(errs, why)
		}
		p.Put(key, c)
	}
	return rs, undone, errs
}

// Verdict says what to make of hops that all failed: it is permanent only if every
// one of them said so itself. msg is what to tell the sender, and hop which one is
// meant, if known.
func Verdict(errs []error) (enhanced [3]int, msg string, permanent *mailkeel.Error) {
	if len(errs) == 0 {
		return [3]int{4, 4, 1}, "no host to connect to", nil
	}
	last := errs[len(errs)-1]
	i := slices.IndexFunc(errs, func(err error) bool { return !mailkeel.Permanent(err) })
	if i < 0 {
		errors.As(last, &permanent)
		return permanent.Enhanced, permanent.Message, permanent
	}
	if mailkeel.Permanent(last) {
		last = errs[i]
	}
	var e *mailkeel.Error
	if errors.As(last, &e) {
		return e.Enhanced, e.Message, nil
	}
	return [3]int{4, 4, 1}, "cannot reach the next hop: " + plain(last), nil
}

// plain says in words for a stranger why a connection failed.
func plain(err error) string {
	var ne net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no network route"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "it does not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "it closed the connection"
	case errors.Is(err, ErrProtocol):
		return "it does not speak SMTP as it should"
	}
	return "connection failed"
}
