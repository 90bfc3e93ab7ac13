package sqlstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

// BenchmarkDeliver files messages for 20 accounts, durably, from so many
// goroutines at a time.
func BenchmarkDeliver(b *testing.B) {
	for _, writers := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			st := &store.Store{Backend: open(b, openDB(b, filepath.Join(b.TempDir(), "db"), sqldb.Options{}))}
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
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
		})
	}
}

// BenchmarkList reads the hot rows of a mailbox of 100,000 messages.
func BenchmarkList(b *testing.B) {
	const n = 100_000
	st := &store.Store{Backend: open(b, openDB(b, filepath.Join(b.TempDir(), "db"), sqldb.Options{}))}
	to := slices.Repeat([]store.AccountID{"ann"}, n/10)
	var box store.MailboxID
	for i := range 10 {
		d := delivery(i, to...)
		d.Key = ""
		out, err := st.Deliver(b.Context(), d)
		if err != nil {
			b.Fatal(err)
		}
		box = out[0].Mailbox
	}
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		err := st.Backend.View(b.Context(), func(tx store.Tx) error {
			for _, err := range tx.Messages(box, store.Query{}) {
				if err != nil {
					return err
				}
				got++
			}
			return nil
		})
		if err != nil || got != n {
			b.Fatal(got, err)
		}
	}
}
