package imap

import (
	"time"

	"github.com/mailkeel/mailkeel"
)

// progressNews is how often the client hears that a long command goes on. Programs
// and gateways between give up on a silent connection; and if it is the client that
// has gone, the command ends.
const progressNews = 10 * time.Second

// progress tells how far a command has come (RFC 9585).
type progress struct {
	c    *conn
	tag  string
	goal int
	told time.Time
}

// progress begins a command that has goal steps to go, all told. Without a command it
// is what must be done before any.
func (c *conn) progress(cmd *command, goal int) *progress {
	p := &progress{c: c, goal: goal, told: c.srv.now()}
	if cmd != nil {
		p.tag = cmd.tag
	}
	return p
}

// at says that done steps are done, fewer than the goal and never less than before.
// It tells the client if that is due; its error is that of the connection.
func (p *progress) at(done int) error {
	now := p.c.srv.now()
	if now.Sub(p.told) < progressNews {
		return nil
	}
	p.told = now
	w := &p.c.w
	w.raw("* OK [INPROGRESS (")
	w.nstring(p.tag)
	w.sp()
	w.num(uint64(done))
	w.sp()
	w.num(uint64(p.goal))
	w.linef(")] Processed %d%% of the messages", 100*int64(done)/int64(max(p.goal, 1)))
	w.Flush()
	return w.lost()
}

// manyMoved is from how many messages on COPY and MOVE may take long.
const manyMoved = 1000

// meanwhile calls do, which writes nothing, and tells the client that the command goes
// on for as long as it does. How far it is nobody knows: all is done in one step.
func (c *conn) meanwhile(cmd *command, do func() error) error {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			t := mailkeel.ClockOr(c.srv.Clock).NewTimer(progressNews)
			select {
			case <-over:
				t.Stop()
				return
			case <-t.C():
			}
			c.w.raw("* OK [INPROGRESS (")
			c.w.nstring(cmd.tag)
			c.w.raw(" NIL NIL)] Still at it")
			c.w.crlf()
			c.w.Flush()
		}
	}()
	defer func() { // also if do panics
		close(over)
		<-done
	}()
	return do()
}
