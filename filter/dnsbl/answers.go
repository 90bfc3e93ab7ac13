package dnsbl

import (
	"net/netip"
	"sync"
	"time"
)

// answers are what lists said, for a while.
type answers struct {
	mu  sync.Mutex
	max int
	of  map[string]kept
}

type kept struct {
	codes []netip.Addr
	until time.Time
}

func (a *answers) get(name string, now time.Time) ([]netip.Addr, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.of[name]
	return k.codes, ok && now.Before(k.until)
}

func (a *answers) put(name string, codes []netip.Addr, now time.Time, keep time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[string]kept{}
	}
	if len(a.of) >= a.max {
		for n, k := range a.of {
			if !now.Before(k.until) {
				delete(a.of, n)
			}
		}
		// Not to look through all of them for each new one.
		if len(a.of) > a.max/2 {
			clear(a.of)
		}
	}
	a.of[name] = kept{codes, now.Add(keep)}
}
