// Package memkv keeps expiring state in memory, for package memstore and for doors, which
// link no backend.
package memkv

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
)

// KV is a store.KV. The zero value is empty and ready to use. Its memory is
// bounded by Max, whatever strangers make it remember.
type KV struct {
	Clock mailkeel.Clock // nil means real time
	// Max is how many keys are kept; zero means 1,000,000. Of more, those go
	// first that expire first.
	Max int

	mu    sync.Mutex
	m     map[string]value
	sweep int // keys at which the expired ones are looked for
}

type value struct {
	data    []byte
	expires time.Time
}

// Prompt says that no Update waits for anything but others: see filter.PromptFilter.
func (kv *KV) Prompt() bool { return true }

// Get is as quick as an Update.
func (kv *KV) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if v, ok := kv.m[key]; ok && v.expires.After(mailkeel.ClockOr(kv.Clock).Now()) {
		return slices.Clone(v.data), nil
	}
	return nil, nil
}

// Update holds all keys up while fn runs.
func (kv *KV) Update(ctx context.Context, key string, ttl time.Duration, fn func([]byte) ([]byte, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	now := mailkeel.ClockOr(kv.Clock).Now()
	v, ok := kv.m[key]
	if ok && !v.expires.After(now) {
		v.data = nil
	}
	data, err := fn(slices.Clone(v.data))
	if err != nil {
		return err
	}
	if data == nil {
		delete(kv.m, key)
		return nil
	}
	if kv.m == nil {
		kv.m = map[string]value{}
	}
	kv.m[key] = value{slices.Clone(data), now.Add(ttl)}
	kv.tidy(now)
	return nil
}

// tidy removes what has expired when the keys have doubled, and a quarter of what
// is left when they are too many, so that each look at all keys is paid for by as
// many new ones.
func (kv *KV) tidy(now time.Time) {
	limit := max(1, cmp.Or(kv.Max, 1_000_000))
	if len(kv.m) <= limit && len(kv.m) < max(kv.sweep, 1000) {
		return
	}
	type entry struct {
		key     string
		expires time.Time
	}
	maps.DeleteFunc(kv.m, func(_ string, v value) bool { return !v.expires.After(now) })
	if len(kv.m) > limit {
		left := make([]entry, 0, len(kv.m))
		for k, v := range kv.m {
			left = append(left, entry{k, v.expires})
		}
		slices.SortFunc(left, func(a, b entry) int { return a.expires.Compare(b.expires) })
		for _, e := range left[:len(kv.m)-limit+limit/4] {
			delete(kv.m, e.key)
		}
	}
	kv.sweep = 2 * len(kv.m)
}
