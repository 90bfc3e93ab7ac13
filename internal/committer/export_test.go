package committer

import "runtime"

// WaitFor returns when n functions wait behind the batch that runs now.
func (c *Committer) WaitFor(n int) {
	for c.Waiting() < n {
		runtime.Gosched()
	}
}

// WaitClosed returns when Close has begun.
func (c *Committer) WaitClosed() {
	for closed := false; !closed; {
		runtime.Gosched()
		c.mu.Lock()
		closed = c.closed
		c.mu.Unlock()
	}
}
