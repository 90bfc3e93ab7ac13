package committer_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/committer"
)

// slow is a Target whose commits take as long as a sync.
type slow struct {
	list
	sync time.Duration
}

func (s *slow) Commit() error {
	s.committed, s.open = s.committed[:0], s.open[:0]
	s.commits++
	time.Sleep(s.sync)
	return nil
}

// BenchmarkDo shows what sharing a commit costs by itself, and what it gains when a
// commit takes 200 microseconds.
func BenchmarkDo(b *testing.B) {
	for _, sync := range []time.Duration{0, 200 * time.Microsecond} {
		for _, writers := range []int{1, 10, 50} {
			b.Run(fmt.Sprintf("%v/%d", sync, writers), func(b *testing.B) { do(b, &slow{sync: sync}, writers) })
		}
	}
}

func do(b *testing.B, target *slow, writers int) {
	c := &committer.Committer{Target: target}
	var n atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				err := c.DoAfter(context.Background(), func() error { return nil }, func() error { return target.add(int(i)) })
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/float64(target.commits), "functions/commit")
}
