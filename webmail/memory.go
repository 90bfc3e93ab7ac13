package webmail

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

// maxMemory is how many keys a memory has: some 30 MB of sessions.
const maxMemory = 100_000

// memory is a store.KV for a Handler without one. Only who has signed in makes keys.
type memory struct {
	clock mailkeel.Clock

	mu sync.Mutex
	m  map[string]kept
}

type kept struct {
	data    []byte
	expires time.Time
}

var (
	_ store.KV       = (*memory)(nil)
	_ store.KVReader = (*memory)(nil)
)

func (kv *memory) Get(ctx context.Context, key string) ([]byte, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if v := kv.m[key]; v.expires.After(kv.clock.Now()) {
		return slices.Clone(v.data), nil
	}
	return nil, ctx.Err()
}

func (kv *memory) Update(ctx context.Context, key string, ttl time.Duration, fn func([]byte) ([]byte, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	now := kv.clock.Now()
	v := kv.m[key]
	if !v.expires.After(now) {
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
		kv.m = map[string]kept{}
	}
	if _, there := kv.m[key]; !there && len(kv.m) >= maxMemory {
		kv.makeRoom(now)
	}
	kv.m[key] = kept{slices.Clone(data), now.Add(ttl)}
	return nil
}

// makeRoom forgets what has expired, or else a tenth of what expires first: it is
// rarely called.
func (kv *memory) makeRoom(now time.Time) {
	ends := make([]time.Time, 0, len(kv.m))
	for _, v := range kv.m {
		ends = append(ends, v.expires)
	}
	slices.SortFunc(ends, time.Time.Compare)
	last := ends[len(ends)/10]
	for k, v := range kv.m {
		if !v.expires.After(now) || !v.expires.After(last) {
			delete(kv.m, k)
		}
	}
}
