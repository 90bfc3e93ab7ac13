package mailtest_test

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/mailtest"
)

// TestNoFlakes waits for many messages, of many senders at once: each is seen, none
// twice. MAILKEEL_LONG waits ten times as often.
func TestNoFlakes(t *testing.T) {
	n := 1000
	if os.Getenv("MAILKEEL_LONG") != "" {
		n = 10_000
	}
	srv := mailtest.New(t)
	ctx := soon(t)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(n) || t.Failed() {
					return
				}
				to := fmt.Sprintf("u%d@example.test", i%50)
				if err := trySend(srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{to}, fmt.Sprintf("Subject: <%d>\r\n\r\n", i)); err != nil {
					t.Error(err)
					return
				}
				if m := srv.Wait(ctx, mailtest.To(to).Subject(fmt.Sprintf("<%d>", i))); m == nil {
					return
				}
			}
		})
	}
	wg.Wait()
	srv.Settle(ctx)
	if got := len(srv.Messages(mailtest.Any())); got != n {
		t.Errorf("%d messages, want %d", got, n)
	}
}

// Test200Servers in one process at once; TestMain sees that no goroutine is left.
func Test200Servers(t *testing.T) {
	for i := range 200 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			srv := mailtest.New(t)
			if err := try(srv, "ann@example.test"); err != nil {
				t.Fatal(err)
			}
			srv.Wait(soon(t), mailtest.To("ann@example.test"))
		})
	}
}

// quantile reports those of times in ms.
func quantile(b *testing.B, times []time.Duration) {
	slices.SortFunc(times, cmp.Compare)
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "ms-median")
	b.ReportMetric(at(0.99), "ms-p99")
}

// BenchmarkStart is from New to a server that accepts at each door.
func BenchmarkStart(b *testing.B) {
	var times []time.Duration
	for b.Loop() {
		e := &ends{TB: quiet{b}} // servers that all live until the end would need too many sockets
		begin := time.Now()
		mailtest.New(e)
		times = append(times, time.Since(begin))
		b.StopTimer()
		e.end()
		b.StartTimer()
	}
	quantile(b, times)
}

// quiet is a benchmark that hears no logs.
type quiet struct{ *testing.B }

func (quiet) Log(...any) {}

// BenchmarkWait is from the first byte of a connection until Wait returns.
func BenchmarkWait(b *testing.B) {
	srv := mailtest.New(quiet{b})
	var times []time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := try(srv, "ann@example.test"); err != nil {
			b.Fatal(err)
		}
		srv.Wait(b.Context(), mailtest.Any())
		times = append(times, time.Since(begin))
		srv.Forget()
	}
	quantile(b, times)
}

// BenchmarkMessages is how many one server takes from sessions that go on sending.
func BenchmarkMessages(b *testing.B) {
	srv := mailtest.New(quiet{b})
	b.SetParallelism(max(1, 20/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		nc, err := net.Dial("tcp", srv.SMTPAddr())
		if err != nil {
			b.Error(err)
			return
		}
		defer nc.Close()
		buf := make([]byte, 4096)
		expect := func(code string) bool {
			n := 0
			for {
				m, err := nc.Read(buf[n:])
				if n += m; err != nil {
					b.Error(err)
					return false
				}
				if buf[n-1] == '\n' {
					break
				}
			}
			if string(buf[:3]) != code {
				b.Errorf("%s", buf[:n])
				return false
			}
			return true
		}
		expect("220")
		fmt.Fprint(nc, "HELO me\r\n")
		expect("250")
		for i := 0; pb.Next(); i++ {
			for _, step := range [][2]string{{"MAIL FROM:<z@example.net>\r\n", "250"}, {"RCPT TO:<ann@example.test>\r\n", "250"}, {"DATA\r\n", "354"}, {text + ".\r\n", "250"}} {
				if nc.Write([]byte(step[0])); !expect(step[1]) {
					return
				}
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
