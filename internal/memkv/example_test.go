package memkv_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mailkeel/mailkeel/internal/memkv"
)

func Example() {
	var kv memkv.KV
	ctx := context.Background()
	for range 2 {
		kv.Update(ctx, "seen", time.Hour, func(old []byte) ([]byte, error) { return append(old, 'x'), nil })
	}
	b, err := kv.Get(ctx, "seen")
	fmt.Printf("%s %v\n", b, err)
	// Output: xx <nil>
}
