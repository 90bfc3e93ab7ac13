package queue

import (
	"cmp"
	"slices"
)

// busy returns the routes that may not be leased now. free is false if no worker
// is: a quarter of them is kept for fresh mail, if that is handed over.
func (q *Queue) busy() (skip []string, free bool) {
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
	return skip, q.inFlight() < workers
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
		q.state.leases = map[string]Lease{}
	}
	q.state.leases[l.ID] = l
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
}
