package memqueue

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// A line is a heap of the items of one route that are not held, those that can
// be leased first first.
type line struct{ hs []*held }

var _ heap.Interface = (*line)(nil)

// due is when h can be leased next.
func (h *held) due() time.Time {
	if h.lease != "" && h.until.After(h.Due) {
		return h.until
	}
	return h.Due
}

func (h *held) compare(x *held) int {
	return cmp.Or(h.due().Compare(x.due()), h.Due.Compare(x.Due), cmp.Compare(h.ID, x.ID))
}

func (l *line) Len() int           { return len(l.hs) }
func (l *line) Less(i, j int) bool { return l.hs[i].compare(l.hs[j]) < 0 }

func (l *line) Swap(i, j int) {
	l.hs[i], l.hs[j] = l.hs[j], l.hs[i]
	l.hs[i].pos, l.hs[j].pos = i, j
}

func (l *line) Push(x any) {
	h := x.(*held)
	h.pos = len(l.hs)
	l.hs = append(l.hs, h)
}

func (l *line) Pop() any {
	n := len(l.hs) - 1
	h := l.hs[n]
	l.hs[n] = nil
	l.hs = l.hs[:n]
	h.pos = -1
	return h
}

// enter puts h into the line of its route, unless it is held.
func (b *Backend) enter(h *held) {
	h.pos = -1
	if h.Held {
		return
	}
	l := b.routes[h.Route]
	if l == nil {
		l = &line{}
		if b.routes == nil {
			b.routes = map[string]*line{}
		}
		b.routes[h.Route] = l
	}
	heap.Push(l, h)
}

// leave takes h out of its line, before its Route changes.
func (b *Backend) leave(h *held) {
	if h.pos < 0 {
		return
	}
	l := b.routes[h.Route]
	heap.Remove(l, h.pos)
	if len(l.hs) == 0 {
		delete(b.routes, h.Route)
	}
}

// fix moves h to its place after its lease changed.
func (b *Backend) fix(h *held) {
	if h.pos >= 0 {
		heap.Fix(b.routes[h.Route], h.pos)
	}
}

// first returns what can be leased first of the routes not in skip, or nil.
func (b *Backend) first(skip []string) (best *held) {
	for route, l := range b.routes {
		if h := l.hs[0]; (best == nil || h.compare(best) < 0) && !slices.Contains(skip, route) {
			best = h
		}
	}
	return best
}
