package sqlqueue_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
)

// BenchmarkPut puts items durably, from so many goroutines at a time.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			q := open(b, openDB(b, filepath.Join(b.TempDir(), "db"), sqldb.Options{}))
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						put(b, q, full(i))
					}
				})
			}
			wg.Wait()
		})
	}
}

// full is an item with an envelope and prefix of usual size.
func full(i int64) queue.Item {
	it := item(fmt.Sprintf("20260102T030405.%08d/0", i), fmt.Sprint("r", i%50, ".example"), start)
	it.Prefix = make([]byte, 300)
	it.Envelope.From = "someone.or.other@sender.example"
	it.Expires = start.Add(120 * time.Hour)
	return it
}

// BenchmarkRelay is the whole life of an item: put, leased, settled.
func BenchmarkRelay(b *testing.B) {
	for _, workers := range []int{1, 20} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			q := open(b, openDB(b, filepath.Join(b.TempDir(), "db"), sqldb.Options{}))
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range workers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						ls, err := q.PutLeased(context.Background(), queue.Want{Now: start, TTL: time.Minute, Max: 50}, full(i))
						if err != nil || len(ls) != 1 {
							b.Error(ls, err)
							return
						}
						s := queue.Settlement{Now: start, Done: []string{ls[0].Items[0].ID}}
						if err := q.Settle(context.Background(), ls[0].ID, s); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
