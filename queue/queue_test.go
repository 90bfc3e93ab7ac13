package queue_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/delivery/deliverytest"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

const message = text("Subject: hello\r\n\r\nhi\r\n")

// start runs q until the end of the test.
func start(t testing.TB, q *queue.Queue) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// settled waits until q has nothing to do now.
func settled(t testing.TB, q *queue.Queue) {
	t.Helper()
	if err := q.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// schedule is when an item is tried, by the words of the documentation: pauses of
// 1, 2, 4, ... minutes up to 4 hours, at 4 hours for the report and at 5 days for
// the end.
func schedule() (at []time.Duration) {
	const tell, end = 4 * time.Hour, 5 * 24 * time.Hour
	pause := time.Minute
	for t := time.Duration(0); ; {
		at = append(at, t)
		if t == end {
			return at
		}
		next := t + pause
		if t < tell {
			next = min(next, tell)
		}
		t = min(next, end)
		pause = min(2*pause, 4*time.Hour)
	}
}

// sim is the world after the queue: domains that are dead for good, and that of
// the senders, where reports arrive.
type sim struct {
	*testing.T
	clock    *testclock.Clock
	schedule []time.Duration

	mu       sync.Mutex
	queued   map[string]time.Time // messages
	attempts map[string]int
	reports  map[string]int // by ID of the report
	total    int
	wrong    int
}

func (s *sim) Deliver(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if env.From == "" {
		s.reports[env.ID]++
		id, kind, _ := strings.Cut(env.ID, ".")
		want := map[string]time.Duration{"delay.0": 4 * time.Hour, "bounce.0": 5 * 24 * time.Hour}[kind]
		if at := now.Sub(s.queued[id]); at != want {
			s.Errorf("%s after %v, want %v", env.ID, at, want)
		}
		return make([]mailkeel.Result, len(env.Rcpts))
	}
	s.total++
	n := s.attempts[env.ID]
	s.attempts[env.ID]++
	if at := now.Sub(s.queued[env.ID]); n >= len(s.schedule) || at != s.schedule[n] {
		if s.wrong++; s.wrong < 5 {
			s.Errorf("%s was tried for the %dth time after %v, the schedule is %v", env.ID, n+1, at, s.schedule)
		}
	}
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: delivery.Unreachable([3]int{4, 4, 1}, "no answer", nil)})
}

// TestFiveDays is R7: 10,000 messages to 50 dead domains. Every attempt and report
// is at its second, each report is sent once, and memory does not grow with time.
func TestFiveDays(t *testing.T) {
	messages := 10_000
	if raceEnabled || testing.Short() {
		messages = 500
	}
	const domains, instants = 50, 10
	clock := &testclock.Clock{}
	s := &sim{T: t, clock: clock, schedule: schedule(), queued: map[string]time.Time{}, attempts: map[string]int{}, reports: map[string]int{}}
	blobs := &memblob.Store{Clock: clock}
	q := &queue.Queue{Backend: &memqueue.Backend{}, Blobs: blobs, Next: s, Clock: clock, Hostname: "mx.test"}
	start(t, q)
	for i := range messages {
		id := fmt.Sprint("m", i)
		s.mu.Lock()
		s.queued[id] = clock.Now()
		s.mu.Unlock()
		env := &mailkeel.Envelope{ID: id, From: "ann@alive.test", Rcpts: []mailkeel.Recipient{{Addr: fmt.Sprintf("bob@dead%d.test", i%domains)}}}
		if r := mailkeel.Deliver(t.Context(), q, env, message)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if i%(messages/instants) == 0 {
			until := clock.Now().Add(7 * time.Second)
			for settled(t, q); clock.Step(until); settled(t, q) {
			}
			clock.Advance(until.Sub(clock.Now()))
		}
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	end := testclock.Start.Add(5*24*time.Hour + time.Hour)
	day := testclock.Start.Add(24 * time.Hour)
	var after1 int64
	for settled(t, q); clock.Step(end); settled(t, q) {
		if after1 == 0 && clock.Now().After(day) {
			after1 = heap()
		}
		if after1 != 0 && clock.Now().After(day.Add(3*24*time.Hour)) {
			day = end
			if after4 := heap(); after4 > after1+after1/4+(1<<20) {
				t.Errorf("the heap grew from %d to %d KB in 3 days", after1>>10, after4>>10)
			}
		}
	}
	if n := messages * len(s.schedule); s.total != n {
		t.Errorf("%d attempts, want %d", s.total, n)
	}
	if s.wrong > 0 {
		t.Errorf("%d attempts were at another time", s.wrong)
	}
	if len(s.reports) != 2*messages {
		t.Errorf("%d reports, want %d", len(s.reports), 2*messages)
	}
	for id, n := range s.reports {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
	if c, err := q.Count(t.Context(), queue.Query{}); err != nil || c.Items != 0 {
		t.Errorf("left %+v, %v", c, err)
	}
	t.Logf("%d messages, %d attempts each, %d KB of heap", messages, len(s.schedule), after1>>10)
}

// TestBacklogLeavesRoom is T28: however much mail there is for hosts that do not
// answer, other mail does not wait for it.
func TestBacklogLeavesRoom(t *testing.T) {
	messages := 100_000
	if raceEnabled || testing.Short() {
		messages = 2_000
	}
	var mu sync.Mutex
	hanging, most := map[string]int{}, 0
	var stuck chan struct{} // what hosts that take the connection and say nothing wait for
	began, good := make(chan struct{}, messages), make(chan string, 1000)
	clock := &testclock.Clock{}
	q := &queue.Queue{
		Backend: &memqueue.Backend{}, Blobs: &memblob.Store{}, Clock: clock, DelayAfter: -1, Workers: 20,
		Next: mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error {
			to := env.Rcpts[0].Addr
			if strings.HasSuffix(to, "good.test") {
				good <- env.ID
				return nil
			}
			mu.Lock()
			wait := stuck
			hanging[to]++
			most = max(most, hanging[to])
			mu.Unlock()
			if wait != nil {
				began <- struct{}{}
				<-wait
			}
			mu.Lock()
			hanging[to]--
			mu.Unlock()
			return delivery.Unreachable([3]int{4, 4, 1}, "no answer", nil)
		}),
	}
	put := func(id, to string) {
		t.Helper()
		env := &mailkeel.Envelope{ID: id, From: "", Rcpts: []mailkeel.Recipient{{Addr: to}}}
		if r := mailkeel.Deliver(t.Context(), q, env, message)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for i := range messages {
		put(fmt.Sprint("m", i), fmt.Sprintf("bob@dead%d.test", i%100))
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- q.Run(ctx) }()
	settled(t, q) // all are known to be out of reach
	mu.Lock()
	stuck = make(chan struct{})
	mu.Unlock()
	clock.Advance(time.Minute)
	for range 10 { // half of the workers hang
		<-began
	}
	// A burst to one domain, which may have five transactions, and to many.
	for i := range 200 {
		put(fmt.Sprint("one", i), "bob@good.test")
		put(fmt.Sprint("many", i), fmt.Sprintf("bob@%d.good.test", i))
	}
	for range 400 {
		<-good
	}
	if len(began) != 0 {
		t.Errorf("%d more transactions with dead hosts than half of the workers", len(began))
	}
	stop()
	close(stuck)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if most > 5 {
		t.Errorf("%d connections to one dead domain, want 5 at most", most)
	}
}

// TestFreshMailKeepsItsPlace: mail that is handed over does not overtake what waits
// for the same route.
func TestFreshMailKeepsItsPlace(t *testing.T) {
	var mu sync.Mutex
	var order []string
	began, gate := make(chan struct{}, 100), make(chan struct{})
	q := &queue.Queue{
		Backend: &memqueue.Backend{}, Blobs: &memblob.Store{}, Clock: &testclock.Clock{}, PerRoute: 1, Batch: 1,
		Next: mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error {
			began <- struct{}{}
			<-gate
			mu.Lock()
			defer mu.Unlock()
			order = append(order, env.ID)
			return nil
		}),
	}
	start(t, q)
	settled(t, q)
	var want []string
	for i := range 50 {
		id := fmt.Sprintf("m%02d", i)
		want = append(want, id)
		env := &mailkeel.Envelope{ID: id, Rcpts: []mailkeel.Recipient{{Addr: "bob@y.test"}}}
		if r := mailkeel.Deliver(t.Context(), q, env, message)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if i%2 == 1 { // one is let go just when the next comes
			<-began
			gate <- struct{}{}
		}
	}
	close(gate)
	settled(t, q)
	if fmt.Sprint(order) != fmt.Sprint(want) {
		t.Errorf("delivered %v", order)
	}
}

// TestBackscatter is T27: who did not write a message hears nothing of it.
func TestBackscatter(t *testing.T) {
	no := &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 1}, Message: "no such user"}
	first := mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error { return no })
	mixed := &mixed{no: no}
	for _, tt := range []struct {
		name   string
		first  mailkeel.Transport
		from   string
		report func(*mailkeel.Envelope) bool
		rcpts  int
		refuse bool
		items  int
	}{
		{"all fail: the dialog refuses", first, "ann@x.test", nil, 2, true, 0},
		{"some fail: a bounce", mixed, "ann@x.test", nil, 2, false, 1},
		{"the null sender", mixed, "", nil, 2, false, 0},
		{"a sender that may be forged", mixed, "ann@x.test", func(e *mailkeel.Envelope) bool { return e.Submitter != "" }, 2, false, 0},
	} {
		q := &queue.Queue{Backend: &memqueue.Backend{}, Blobs: &memblob.Store{}, Report: tt.report}
		in := &queue.Inline{First: tt.first, Queue: q}
		env := &mailkeel.Envelope{ID: "m", From: tt.from}
		for i := range tt.rcpts {
			env.Rcpts = append(env.Rcpts, mailkeel.Recipient{Addr: fmt.Sprintf("r%d@y.test", i), Account: "a", Index: i})
		}
		rs := mailkeel.Deliver(t.Context(), in, env, message)
		if (rs[0].Err != nil) != tt.refuse {
			t.Errorf("%s: %+v", tt.name, rs)
		}
		n := 0
		for it := range q.List(t.Context(), queue.Query{}) {
			n++
			if it.Envelope.From != "" || it.Envelope.Rcpts[0].Notify != mailkeel.NotifyNever {
				t.Errorf("%s: %+v", tt.name, it.Envelope)
			}
		}
		if n != tt.items {
			t.Errorf("%s: %d reports, want %d", tt.name, n, tt.items)
		}
	}
}

// mixed refuses the first recipient.
type mixed struct{ no error }

func (m *mixed) Deliver(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	rs := make([]mailkeel.Result, len(env.Rcpts))
	rs[0].Err = m.no
	return rs
}

// TestInlineReportsSuccess: filing in the dialog is a delivery that can be reported.
func TestInlineReportsSuccess(t *testing.T) {
	q := &queue.Queue{Backend: &memqueue.Backend{}, Blobs: &memblob.Store{}}
	in := &queue.Inline{First: mailkeel.HandlerFunc(func(context.Context, *mailkeel.Envelope, mailkeel.Content) error { return nil }), Queue: q}
	env := &mailkeel.Envelope{ID: "m", From: "ann@x.test", Rcpts: []mailkeel.Recipient{
		{Addr: "a@y.test", Account: "a", Notify: mailkeel.NotifySuccess}, {Addr: "b@y.test", Account: "b", Index: 1},
	}}
	for range 2 {
		mailkeel.Deliver(t.Context(), in, env, message)
	}
	var ids []string
	for it := range q.List(t.Context(), queue.Query{}) {
		ids = append(ids, it.ID)
	}
	if fmt.Sprint(ids) != "[m.success.0/0]" {
		t.Errorf("queued %q", ids)
	}
}

func TestConformance(t *testing.T) {
	deliverytest.Run(t, deliverytest.Options{New: func(t *testing.T) deliverytest.Subject {
		q := &queue.Queue{Backend: &memqueue.Backend{}, Blobs: &memblob.Store{}}
		return deliverytest.Subject{Transport: q, Durable: true, Got: func() (all []deliverytest.Message) {
			for it, err := range q.List(t.Context(), queue.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				c, err := q.Open(t.Context(), it.ID)
				if err != nil {
					t.Fatal(err)
				}
				rc, err := c.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				data, _ := io.ReadAll(rc)
				rc.Close()
				all = append(all, deliverytest.Message{Rcpt: it.Envelope.Rcpts[0].Addr, Content: string(data)})
			}
			return all
		}}
	}})
}

// BenchmarkThrough is a message put, leased, tried and settled.
func BenchmarkThrough(b *testing.B) {
	for _, fresh := range []bool{true, false} {
		b.Run(map[bool]string{true: "handed", false: "leased"}[fresh], func(b *testing.B) {
			q := &queue.Queue{
				Backend: &memqueue.Backend{}, Blobs: &memblob.Store{},
				Next: mailkeel.HandlerFunc(func(context.Context, *mailkeel.Envelope, mailkeel.Content) error { return nil }),
			}
			if !fresh {
				q.Backend = plain{q.Backend}
			}
			start(b, q)
			settled(b, q)
			b.ReportAllocs()
			for i := range b.N {
				env := &mailkeel.Envelope{ID: fmt.Sprint("m", i), From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: fmt.Sprintf("bob@y%d.test", i%50)}}}
				if r := mailkeel.Deliver(b.Context(), q, env, message)[0]; r.Err != nil {
					b.Fatal(r.Err)
				}
			}
			settled(b, q)
		})
	}
}

// plain hides the optional powers of a backend.
type plain struct{ queue.Backend }

// TestStopAndGo: however often Run ends while mail comes in, each message is
// delivered once.
func TestStopAndGo(t *testing.T) {
	var mu sync.Mutex
	times := map[string]int{}
	q := &queue.Queue{Backend: &memqueue.Backend{}, Blobs: &memblob.Store{}, Sole: true,
		Next: mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error {
			mu.Lock()
			defer mu.Unlock()
			times[env.ID]++
			return nil
		})}
	const rounds, each = 30, 40
	for i := range rounds {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- q.Run(ctx) }()
		var wg sync.WaitGroup
		for j := range each {
			wg.Go(func() {
				if j == each/2 {
					stop()
				}
				env := &mailkeel.Envelope{ID: fmt.Sprint(i, ".", j), Rcpts: []mailkeel.Recipient{{Addr: fmt.Sprintf("bob@y%d.test", j%7)}}}
				if r := mailkeel.Deliver(t.Context(), q, env, message)[0]; r.Err != nil {
					t.Error(r.Err)
				}
			})
		}
		wg.Wait()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	start(t, q)
	settled(t, q)
	if len(times) != rounds*each {
		t.Errorf("%d messages arrived, want %d", len(times), rounds*each)
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
}

// TestSweepKeepsWhatIsQueued: the queue is a holder of its blobs.
func TestSweepKeepsWhatIsQueued(t *testing.T) {
	clock := &testclock.Clock{}
	blobs := &memblob.Store{Clock: clock}
	q := &queue.Queue{Backend: &memqueue.Backend{}, Blobs: blobs, Clock: clock}
	env := &mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "bob@y.test"}}}
	mailkeel.Deliver(t.Context(), q, env, message)
	sweep := func(want int) {
		t.Helper()
		n, err := blob.Sweep(t.Context(), blobs, clock.Now().Add(48*time.Hour), time.Hour, q)
		if n != want || err != nil {
			t.Errorf("swept %d, %v, want %d", n, err, want)
		}
	}
	sweep(0)
	if _, err := q.Drop(t.Context(), "m/0"); err != nil {
		t.Error(err)
	}
	sweep(1)
}

// full says no at RCPT.
type full struct{ mailkeel.Transport }

func (full) Verify(context.Context, *mailkeel.Envelope, mailkeel.Recipient, int64) error {
	return &mailkeel.Error{Code: 452}
}

func TestInlineAsksFirst(t *testing.T) {
	in := &queue.Inline{First: full{}, Queue: &queue.Queue{}}
	if err := in.Verify(t.Context(), nil, mailkeel.Recipient{Account: "a"}, 0); err == nil {
		t.Error("First was not asked about a local recipient")
	}
	if err := in.Verify(t.Context(), nil, mailkeel.Recipient{}, 0); err != nil {
		t.Errorf("First was asked about another: %v", err)
	}
}

// TestSlowHopsLeaveRoom: peers that take the connection and then say nothing, each of
// a domain that nobody knew, keep neither mail that is queued nor fresh mail waiting,
// and are not tried without end.
func TestSlowHopsLeaveRoom(t *testing.T) {
	const workers = 4
	var hanging, most atomic.Int64
	began, good, release := make(chan struct{}, 1000), make(chan string, 10), make(chan struct{})
	clock := &testclock.Clock{}
	q := &queue.Queue{
		Backend: &memqueue.Backend{}, Blobs: &memblob.Store{}, Clock: clock, Workers: workers, DelayAfter: -1, TTL: time.Hour,
		Next: mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error {
			if strings.HasPrefix(env.ID, "good") {
				good <- env.ID
				return nil
			}
			n := hanging.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			began <- struct{}{}
			<-release
			hanging.Add(-1)
			return nil
		}),
	}
	put := func(id, domain string) {
		t.Helper()
		env := &mailkeel.Envelope{ID: id, Rcpts: []mailkeel.Recipient{{Addr: "bob@" + domain}}}
		if r := mailkeel.Deliver(t.Context(), q, env, message)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	start(t, q)
	settled(t, q)
	slow := 0
	for range workers {
		put(fmt.Sprint("slow", slow), fmt.Sprintf("slow%d.test", slow))
		<-began
		slow++
	}
	put("good-queued", "good.test") // there is no worker for it
	clock.Advance(10 * time.Second)
	if id := <-good; id != "good-queued" {
		t.Error(id)
	}
	put("good-fresh", "good.test")
	if id := <-good; id != "good-fresh" {
		t.Error(id)
	}
	for range 100 {
		put(fmt.Sprint("slow", slow), fmt.Sprintf("slow%d.test", slow))
		slow++
	}
	for hanging.Load() < 4*workers+workers-workers/4 {
		<-began
		clock.Advance(10 * time.Second)
	}
	close(release)
	settled(t, q)
	if n := most.Load(); n > 5*workers {
		t.Errorf("%d transactions at once, want %d at most", n, 5*workers)
	}
}
