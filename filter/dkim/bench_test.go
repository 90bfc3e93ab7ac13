package dkim_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter/dkim"
)

// nowhere takes mail without reading it.
type nowhere struct{}

func (nowhere) Deliver(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	return make([]mailkeel.Result, len(env.Rcpts))
}

// BenchmarkSign signs with both keys: what a message costs more because it is signed.
func BenchmarkSign(b *testing.B) {
	for _, size := range []int{10 << 10, 10 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			m := text(mail + strings.Repeat("A line of a message that is as long as most of them are.\r\n", size/58))
			s := &dkim.Signer{Next: nowhere{}, Keys: ring}
			env := &mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.com"}}}
			mailkeel.Deliver(b.Context(), s, env, m)
			b.SetBytes(m.Size())
			b.ReportAllocs()
			for b.Loop() {
				if r := mailkeel.Deliver(b.Context(), s, env, m)[0]; r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		})
	}
}

// endless is a content of a size that is read as it is made.
type endless int64

func (e endless) Size() int64 { return int64(len(mail)) + int64(e) }
func (e endless) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader(mail), io.LimitReader(lines{}, int64(e)))), nil
}

type lines struct{}

func (lines) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "a line \r\n"[i%9]
	}
	return len(p), nil
}

// TestALargeMessageIsNotInMemory counts what signing 10 MB allocates.
func TestALargeMessageIsNotInMemory(t *testing.T) {
	s := &dkim.Signer{Next: nowhere{}, Keys: ring}
	env := &mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.com"}}}
	cost := func(size int64) int64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if r := mailkeel.Deliver(t.Context(), s, env, endless(size))[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		runtime.ReadMemStats(&after)
		return int64(after.TotalAlloc - before.TotalAlloc)
	}
	cost(1000) // makes the keys
	if small, large := cost(1000), cost(10<<20); large > small+64<<10 {
		t.Errorf("%d bytes are allocated for 10 MB, %d for a small message", large, small)
	}
}
