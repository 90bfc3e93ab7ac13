package queue

import (
	"context"
	"maps"
	"slices"
)

// hand puts fresh items and gives them to workers at once, as far as there are
// some free and the limits of the routes allow. It reports whether it put them.
//
// The lease is written in the step that stores the items: if the process dies now,
// they are due again when it runs out. Mail of a route where some waits for its
// turn goes behind that.
func (q *Queue) hand(ctx context.Context, wait func() error, items []Item) (bool, error) {
	p, ok := q.Backend.(LeasingPutter)
	if !ok {
		return false, nil
	}
	routes, skip := q.reserve(items)
	if len(routes) == 0 {
		return false, nil
	}
	var leases []Lease
	var err error
	want := Want{Now: q.now(), TTL: q.ttl(), Max: q.batch(), Skip: skip}
	if wait == nil {
		leases, err = p.PutLeased(ctx, want, items...)
	} else {
		leases, err = q.Backend.(Awaiting).PutAfter(ctx, wait, &want, items...)
	}
	all := q.handed(ctx, routes, leases)
	leased := 0
	for _, l := range leases {
		leased += len(l.Items)
	}
	if err != nil || !all || leased < len(items) {
		q.kick() // others may have their turn, or a timer is to be set
	}
	return true, err
}

// reserve counts a transaction for each route of items that may have one now.
func (q *Queue) reserve(items []Item) (routes, skip []string) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	now := q.now()
	taken, _ := q.taken()
	full, free := q.full(), q.workers()-taken
	for _, it := range items {
		r := it.Route
		if slices.Contains(routes, r) || slices.Contains(skip, r) {
			continue
		}
		if q.state.run == nil || it.Held || it.Due.After(now) {
			skip = append(skip, r)
			continue
		}
		if full[r] || len(routes) >= free || q.state.behind[r] {
			q.fallBehind(r)
			skip = append(skip, r)
			continue
		}
		routes = append(routes, r)
	}
	for _, r := range routes {
		if q.state.reserved == nil {
			q.state.reserved = map[string]int{}
		}
		q.state.reserved[r]++
	}
	return routes, skip
}

// maxBehind is how many routes with waiting mail are remembered. If there are more,
// some fresh mail overtakes.
const maxBehind = 10_000

// fallBehind notes that mail of a route may have to wait for its turn. The caller
// holds the mutex.
func (q *Queue) fallBehind(route string) {
	if q.state.behind == nil || len(q.state.behind) >= maxBehind {
		q.state.behind = map[string]bool{}
	}
	q.state.behind[route] = true
}

// caughtUp notes that nothing is due of the routes not in skip.
func (q *Queue) caughtUp(skip []string) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	maps.DeleteFunc(q.state.behind, func(route string, _ bool) bool { return !slices.Contains(skip, route) })
}

// handed turns reservations into transactions. It reports whether Run has not
// ended in between.
func (q *Queue) handed(ctx context.Context, routes []string, leases []Lease) bool {
	q.state.mu.Lock()
	for _, r := range routes {
		if q.state.reserved[r]--; q.state.reserved[r] == 0 {
			delete(q.state.reserved, r)
		}
	}
	on := q.state.run != nil
	if on {
		for _, l := range leases {
			q.start(l)
		}
	}
	q.state.mu.Unlock()
	if !on { // nobody works on them: due again at once
		for _, l := range leases {
			if err := q.Backend.Settle(context.WithoutCancel(ctx), l.ID, Settlement{Now: q.now()}); err != nil {
				q.logger().Error("queue: lease not given back", "lease", l.ID, "err", err)
			}
		}
	}
	return on
}
