package smtpclient

import (
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
)

// A Pool keeps sessions open for the next message to the same place. The zero
// value is ready to use.
type Pool struct {
	Idle  time.Duration // how long a session waits; zero means 10 s
	Age   time.Duration // how old one gets; zero means 5 minutes
	Sends int           // how many transactions one has; zero means 100
	Max   int           // how many wait in all; zero means 100
	Clock mailkeel.Clock

	mu      sync.Mutex
	idle    []waiting // oldest first
	reaping bool
	changed chan struct{} // closed to end the reaper early
}

type waiting struct {
	key   string
	c     *Client
	until time.Time
}

func (p *Pool) clock() mailkeel.Clock { return mailkeel.ClockOr(p.Clock) }

// Get takes out the session that was last put under key, or returns nil.
func (p *Pool) Get(key string) *Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock().Now()
	for i := len(p.idle) - 1; i >= 0; i-- {
		w := p.idle[i]
		if w.key != key || !w.until.After(now) {
			continue
		}
		p.idle = append(p.idle[:i], p.idle[i+1:]...)
		return w.c
	}
	return nil
}

// Put keeps a session that works, and closes one that does not or had its time.
func (p *Pool) Put(key string, c *Client) {
	now := p.clock().Now()
	sends := p.Sends
	if sends == 0 {
		sends = 100
	}
	if n := c.Limit("MAILMAX"); n > 0 {
		sends = min(sends, n)
	}
	if c.Broken() != nil || c.Sent >= sends || now.Sub(c.Since) >= or(p.Age, 5*time.Minute) || p.Idle < 0 {
		c.Quit()
		return
	}
	most := p.Max
	if most == 0 {
		most = 100
	}
	var out *Client
	p.mu.Lock()
	if len(p.idle) >= most {
		out = p.idle[0].c
		p.idle = append(p.idle[:0], p.idle[1:]...)
	}
	p.idle = append(p.idle, waiting{key, c, now.Add(or(p.Idle, 10*time.Second))})
	if !p.reaping {
		p.reaping = true
		p.changed = make(chan struct{})
		go p.reap(p.changed)
	}
	p.mu.Unlock()
	if out != nil {
		out.Quit()
	}
}

// reap closes what waited too long, and ends when nothing waits.
func (p *Pool) reap(changed chan struct{}) {
	for {
		p.mu.Lock()
		now := p.clock().Now()
		var old []*Client
		for len(p.idle) > 0 && !p.idle[0].until.After(now) {
			old = append(old, p.idle[0].c)
			p.idle = p.idle[1:]
		}
		if len(p.idle) == 0 {
			p.reaping, p.idle = false, nil
			p.mu.Unlock()
			quit(old)
			return
		}
		t := p.clock().NewTimer(p.idle[0].until.Sub(now))
		p.mu.Unlock()
		quit(old)
		select {
		case <-t.C():
		case <-changed:
			t.Stop()
			return
		}
	}
}

func quit(cs []*Client) {
	for _, c := range cs {
		c.Quit()
	}
}

// Close closes all that wait. The Pool can go on being used.
func (p *Pool) Close() {
	p.mu.Lock()
	var all []*Client
	for _, w := range p.idle {
		all = append(all, w.c)
	}
	p.idle = nil
	if p.reaping {
		close(p.changed)
		p.reaping = false
	}
	p.mu.Unlock()
	quit(all)
}
