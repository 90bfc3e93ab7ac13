package sqlstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/store"
)

// BenchmarkDeliverPostgres is BenchmarkDeliver over PostgreSQL with its syncs.
func BenchmarkDeliverPostgres(b *testing.B) {
	c := testpg.Start(b, testpg.Options{Settings: map[string]string{"shared_buffers": "128MB"}})
	for _, writers := range []int{1, 20, 50} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			var trips atomic.Int64
			st := &store.Store{Backend: open(b, openPG(b, c.Schema(b), pgdb.Options{MaxConns: 20, Trip: func() { trips.Add(1) }}))}
			for i := range 20 {
				deliver(b, st, delivery(1e9+i, store.AccountID(fmt.Sprint("a", i))))
			}
			var n atomic.Int64
			var wg sync.WaitGroup
			trips.Store(0)
			before := cpu()
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						d := delivery(int(i), store.AccountID(fmt.Sprint("a", i%20)))
						if out, err := st.Deliver(context.Background(), d); err != nil || out[0].Err != nil {
							b.Error(err, out)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(trips.Load())/float64(b.N), "trips/op")
			b.ReportMetric(float64(cpu()-before)/float64(time.Microsecond)/float64(b.N), "µs-CPU-here/op")
		})
	}

}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
