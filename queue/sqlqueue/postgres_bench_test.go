package sqlqueue_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
)

// BenchmarkPutPostgres is BenchmarkPut over PostgreSQL with its syncs.
func BenchmarkPutPostgres(b *testing.B) {
	c := testpg.Start(b, testpg.Options{Settings: map[string]string{"shared_buffers": "128MB"}})
	for _, writers := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			var trips atomic.Int64
			q := open(b, openPG(b, c.Schema(b), pgdb.Options{MaxConns: 20, Trip: func() { trips.Add(1) }}))
			put(b, q, full(0))
			var n atomic.Int64
			var wg sync.WaitGroup
			trips.Store(0)
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
			b.ReportMetric(float64(trips.Load())/float64(b.N), "trips/op")
		})
	}
}
