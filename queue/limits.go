package queue

import (
	"cmp"
	"slices"
	"time"
)

// slowAfter is how long a transaction takes to be a slow one, and maxSlow how many
// times Workers there are of those.
const (
	slowAfter = 10 * time.Second
	maxSlow   = 4
)

// busy returns the routes that may not be leased now. free is false if no worker
// is, and until says when one will be, if that is known: a quarter of them is kept
// for fresh mail, if that is handed over.
func (q *Queue) busy() (skip []string, free bool, until time.Time) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	full := q.full()
	for route, no := range full {
		if no {
			skip = append(skip, route)
			q.fallBehind(route)
		}
	}
	slices.Sort(skip)
	workers := q.workers()
	if _, ok := q.Backend.(LeasingPutter); ok {
		workers -= workers / 4
	}
	taken, until := q.taken()
	return skip, taken < workers, until
}

// taken is how many workers are. A slow transaction makes room for another, so that
// peers which do not answer do not keep the mail for the others waiting; until says
// when the next one does, and is zero if there are too many. The caller holds the
// mutex.
func (q *Queue) taken() (n int, until time.Time) {
	now := q.now()
	slow, most := 0, maxSlow*q.workers()
	for _, begun := range q.state.begun {
		if at := begun.Add(slowAfter); at.After(now) {
			until = earlier(until, at)
		} else {
			slow++
		}
	}
	if slow >= most {
		until = time.Time{}
	}
	return q.inFlight() - min(slow, most), until
}

// inFlight is how many transactions run or are about to. The caller holds the
// mutex.
func (q *Queue) inFlight() int {
	n := len(q.state.leases)
	for _, r := range q.state.reserved {
		n += r
	}
	return n
}

// full says for each route with a transaction whether there may be no other now:
// because there are enough, or because the backend might hand out again what is
// in our own hands, unsettled or after the machine slept. Routes out of reach may
// together have half of the workers. The caller holds the mutex.
func (q *Queue) full() map[string]bool {
	now := q.now()
	running := map[string]int{}
	full := map[string]bool{}
	for route, n := range q.state.reserved {
		running[route] += n
	}
	for _, l := range q.state.leases {
		route := l.Items[0].Route
		running[route]++
		full[route] = full[route] || !l.Until.After(now)
	}
	bad := 0
	for route, n := range running {
		full[route] = full[route] || n >= cmp.Or(q.PerRoute, 5)
		if q.state.bad[route] {
			bad += n
		}
	}
	if bad >= (q.workers()+1)/2 {
		for route := range q.state.bad {
			full[route] = true
		}
	}
	for _, p := range q.state.pending {
		full[p.lease.Items[0].Route] = true
	}
	return full
}

// maxBad is how many routes out of reach are remembered.
const maxBad = 1000

// learn notes whether the hop of a route could be reached.
func (q *Queue) learn(route string, bad bool) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	if !bad {
		delete(q.state.bad, route)
		return
	}
	if q.state.bad == nil || len(q.state.bad) >= maxBad {
		q.state.bad = map[string]bool{} // they are soon known again
	}
	q.state.bad[route] = true
}

// note says that a lease is being worked on. The caller holds the mutex.
func (q *Queue) note(l Lease) {
	if q.state.leases == nil {
		q.state.leases, q.state.begun = map[string]Lease{}, map[string]time.Time{}
	}
	q.state.leases[l.ID] = l
	if _, ok := q.state.begun[l.ID]; !ok {
		q.state.begun[l.ID] = q.now()
	}
}

// renewed notes the new end of a lease.
func (q *Queue) renewed(l Lease) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.note(l)
}

func (q *Queue) end(l Lease) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	delete(q.state.leases, l.ID)
	delete(q.state.begun, l.ID)
}
