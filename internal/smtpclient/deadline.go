package smtpclient

import (
	"context"
	"time"

	"github.com/mailkeel/mailkeel"
)

// past is a deadline that makes every operation fail at once.
var past = time.Unix(1, 0)

// bind makes the end of ctx end the session, until the function it returns is
// called.
func (c *Client) bind(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() {
		c.fail(context.Cause(ctx))
		c.kill()
	})
	return func() { stop() }
}

// kill ends what waits for the peer, now and from now on.
func (c *Client) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	c.conn.SetDeadline(past)
}

// limit lets the operations that follow take d, until the function it returns is
// called. Deadlines of connections are in the machine's time; any other clock
// needs a watcher.
func (c *Client) limit(d time.Duration) (stop func()) {
	if _, ok := c.clock().(mailkeel.RealClock); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.dead {
			c.conn.SetDeadline(time.Now().Add(d))
		}
		return func() {}
	}
	t := c.clock().NewTimer(d)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-t.C():
			c.kill()
		case <-done:
			t.Stop()
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
