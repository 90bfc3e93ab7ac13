package dnscache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/internal/dnscache"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func zone() *testdns.Table {
	return &testdns.Table{
		TXT: map[string][]string{"a.example": {"one", "two"}}, MX: map[string][]string{"a.example": {"mx.a.example"}},
		IP: map[string][]string{"a.example": {"192.0.2.1"}}, PTR: map[string][]string{"192.0.2.1": {"a.example."}},
		Fail: map[string]error{"down.example": testdns.Down},
	}
}

// TestAsksOnce: each kind of answer is kept for its time, whatever the case of the name.
func TestAsksOnce(t *testing.T) {
	d, clock := zone(), &testclock.Clock{}
	c := &dnscache.Cache{Resolver: d, Clock: clock}
	ask := func() string {
		var out []string
		for _, name := range []string{"a.example.", "A.Example.", "nothing.example.", "down.example."} {
			txts, err := c.LookupTXT(t.Context(), name)
			mxs, err2 := c.LookupMX(t.Context(), name)
			ips, err3 := c.LookupIPAddr(t.Context(), name)
			out = append(out, fmt.Sprint(len(txts), len(mxs), len(ips), kind(err), kind(err2), kind(err3)))
		}
		names, err := c.LookupAddr(t.Context(), "192.0.2.1")
		return fmt.Sprint(out, names, err)
	}
	want := ask()
	if n := len(d.Asked()); n != 10 {
		t.Fatalf("%d questions: %q", n, d.Asked())
	}
	for _, step := range []struct {
		wait time.Duration
		more int
	}{{0, 0}, {4 * time.Second, 0}, {2 * time.Second, 3}, {23 * time.Second, 3}, {2 * time.Second, 3}, {20 * time.Second, 3}, {10 * time.Second, 10}} {
		clock.Advance(step.wait)
		d.Forget()
		if got := ask(); got != want {
			t.Errorf("after %v: %s, want %s", step.wait, got, want)
		}
		if n := len(d.Asked()); n != step.more {
			t.Errorf("after %v: %d questions, want %d: %q", step.wait, n, step.more, d.Asked())
		}
	}
}

func kind(err error) string {
	var e *net.DNSError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e) && e.IsNotFound:
		return "none"
	}
	return "failed"
}

// TestAnswersAreTheCallersOwn: who changes one changes it for nobody else.
func TestAnswersAreTheCallersOwn(t *testing.T) {
	c := &dnscache.Cache{Resolver: zone()}
	for range 3 {
		txts, _ := c.LookupTXT(t.Context(), "a.example.")
		mxs, _ := c.LookupMX(t.Context(), "a.example.")
		ips, _ := c.LookupIPAddr(t.Context(), "a.example.")
		if txts[0] != "one" || mxs[0].Host != "mx.a.example" || ips[0].IP[15] != 1 {
			t.Fatalf("%q %v %v", txts, mxs[0], ips)
		}
		txts[0], mxs[0].Host, ips[0].IP[15] = "x", "x", 9
	}
}

// slow answers when told.
type slow struct {
	testdns.Table
	go_ chan struct{}
	mu  sync.Mutex
	n   int
}

func (s *slow) LookupTXT(ctx context.Context, name string) ([]string, error) {
	s.mu.Lock()
	s.n++
	s.mu.Unlock()
	select {
	case <-s.go_:
		return []string{"x"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestOneQuestionForMany: those who ask at a time share it, and that one leaves costs
// the others nothing.
func TestOneQuestionForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{go_: make(chan struct{})}
		c := &dnscache.Cache{Resolver: s}
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var left error
		wg.Go(func() { _, left = c.LookupTXT(first, "a.example.") })
		synctest.Wait()
		answers := make([]string, 50)
		for i := range answers {
			wg.Go(func() {
				txts, err := c.LookupTXT(t.Context(), "a.example.")
				answers[i] = fmt.Sprint(txts, err)
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(s.go_)
		wg.Wait()
		if !errors.Is(left, context.Canceled) || s.n != 1 {
			t.Errorf("%v, %d questions", left, s.n)
		}
		for _, a := range answers {
			if a != "[x] <nil>" {
				t.Errorf("got %s", a)
			}
		}
	})
}

// TestAResolverThatHangs is given up, and asked again after a while.
func TestAResolverThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{go_: make(chan struct{})}
		c := &dnscache.Cache{Resolver: s}
		begin := time.Now()
		for range 5 {
			if _, err := c.LookupTXT(t.Context(), "a.example."); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		if d := time.Since(begin); d != 10*time.Second || s.n != 1 {
			t.Errorf("%v, %d questions", d, s.n)
		}
		time.Sleep(6 * time.Second)
		close(s.go_)
		if _, err := c.LookupTXT(t.Context(), "a.example."); err != nil || s.n != 2 {
			t.Errorf("%v, %d questions", err, s.n)
		}
	})
}

// wide has records for every name.
type wide struct {
	testdns.Table
	text string
	n    int
}

func (w *wide) LookupTXT(context.Context, string) ([]string, error) {
	w.n++
	return []string{w.text}, nil
}

// TestBounds: neither many answers nor large ones are kept beyond what is allowed, and
// the last ones are.
func TestBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		c    *dnscache.Cache
		text string
		keep int // at least, of the last
		max  int // of all
	}{
		"entries": {&dnscache.Cache{MaxEntries: 100}, "x", 50, 100},
		"bytes":   {&dnscache.Cache{MaxBytes: 1 << 20}, strings.Repeat("x", 10_000), 45, 110},
		"a giant": {&dnscache.Cache{}, strings.Repeat("x", 1<<20), 0, 0},
	} {
		w := &wide{text: tt.text}
		c := tt.c
		c.Resolver = w
		const total = 500
		for i := range total {
			c.LookupTXT(t.Context(), fmt.Sprintf("n%d.example.", i))
		}
		known := 0
		for i := total - 1; i >= 0; i-- { // the latest first, before they are pushed out
			n := w.n
			c.LookupTXT(t.Context(), fmt.Sprintf("n%d.example.", i))
			if w.n != n {
				break
			}
			known++
		}
		if known < tt.keep || known > tt.max {
			t.Errorf("%s: %d of the last are known", name, known)
		}
	}
}

// TestAResolverThatPanics is one that fails.
func TestAResolverThatPanics(t *testing.T) {
	c := &dnscache.Cache{} // without a Resolver
	if _, err := c.LookupTXT(t.Context(), "a.example."); kind(err) != "failed" {
		t.Errorf("got %v", err)
	}
}

func Example() {
	c := &dnscache.Cache{Resolver: &testdns.Table{TXT: map[string][]string{"example.com": {"v=spf1 -all"}}}} // or net.DefaultResolver
	txts, err := c.LookupTXT(context.Background(), "example.com.")
	fmt.Println(txts, err)
	// Output: [v=spf1 -all] <nil>
}
