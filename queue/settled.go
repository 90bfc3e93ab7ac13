package queue

import "context"

func (q *Queue) settledAt(asked uint64) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.settled = asked
	if q.state.idle != nil {
		close(q.state.idle)
		q.state.idle = nil
	}
}

// Settled returns when Run has tried everything that was put before the call and
// is due by the Clock, and waits for a timer. A test then moves its clock to the
// next timer. It waits for a Run if there is none, and returns ctx's error.
func (q *Queue) Settled(ctx context.Context) error {
	q.state.mu.Lock()
	q.state.asked++
	want := q.state.asked
	q.state.mu.Unlock()
	q.kick()
	for {
		q.state.mu.Lock()
		if q.state.settled >= want {
			q.state.mu.Unlock()
			return nil
		}
		if q.state.idle == nil {
			q.state.idle = make(chan struct{})
		}
		idle := q.state.idle
		q.state.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
