package smtpclient

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/mailkeel/mailkeel"
)

// Dial connects within d, zero for 30 seconds, by clock. dial may be nil.
func Dial(ctx context.Context, clock mailkeel.Clock, d time.Duration, dial func(ctx context.Context, network, addr string) (net.Conn, error), network, addr string) (net.Conn, error) {
	if dial == nil {
		var d net.Dialer
		dial = d.DialContext
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := mailkeel.ClockOr(clock).NewTimer(or(d, 30*time.Second))
	defer t.Stop()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-t.C():
			cancel(os.ErrDeadlineExceeded)
		case <-stop:
		}
	}()
	conn, err := dial(ctx, network, addr)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return conn, err
}
