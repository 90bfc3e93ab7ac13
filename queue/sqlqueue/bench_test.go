package sqlqueue_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
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

// apart hides that a backend can wait for blobs, so that each is waited for before
// its Put.
type apart struct{ queue.Backend }

// message is 10 KB of content that no other has.
type message int64

func (m message) Size() int64 { return 10 << 10 }

func (m message) Open(context.Context) (io.ReadCloser, error) {
	b := bytes.Repeat([]byte("0123456789abcde\n"), 10<<10/16)
	binary.BigEndian.PutUint64(b, uint64(m))
	return io.NopCloser(bytes.NewReader(b)), nil
}

// BenchmarkAccept makes messages and their rows durable, as for a 250: the blobs of a
// batch waited for before the commit, and each by itself before.
func BenchmarkAccept(b *testing.B) {
	for _, writers := range []int{1, 10, 50} {
		for _, how := range []string{"joined", "apart"} {
			b.Run(fmt.Sprint(how, "/", writers), func(b *testing.B) {
				dir := b.TempDir()
				var backend queue.Backend = open(b, openDB(b, filepath.Join(dir, "db"), sqldb.Options{}))
				if how == "apart" {
					backend = apart{backend}
				}
				blobs, err := packblob.Open(filepath.Join(dir, "packs"), packblob.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer blobs.Close()
				q := &queue.Queue{Backend: backend, Blobs: blobs}
				var n atomic.Int64
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
							env := &mailkeel.Envelope{ID: fmt.Sprint("m", i), From: "a@b.example", Rcpts: []mailkeel.Recipient{{Addr: fmt.Sprint("x@r", i%50, ".example")}}}
							if r := q.Deliver(context.Background(), env, message(i)); r[0].Err != nil {
								b.Error(r[0].Err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/float64(blobs.Stats().Syncs), "messages/sync")
			})
		}
	}
}
