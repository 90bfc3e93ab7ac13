package rate_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/filtertest"
	"github.com/mailkeel/mailkeel/filter/rate"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func TestConformance(t *testing.T) {
	filtertest.Run(t, func(*testing.T) filter.Filter { return &rate.Filter{KV: &memstore.KV{}} })
}

// durable is a KV that says nothing of itself.
type durable struct{ store.KV }

func TestPromptAsItsKV(t *testing.T) {
	f := &rate.Filter{KV: &memstore.KV{}}
	s, err := f.NewSession(t.Context(), &mailkeel.Origin{})
	if p, ok := s.(filter.PromptFilter); err != nil || !f.Prompt() || !ok || !p.Prompt() {
		t.Error("counters in memory are there at once")
	}
	if f.KV = (durable{&memstore.KV{}}); f.Prompt() || s.(filter.PromptFilter).Prompt() {
		t.Error("a KV that does not say so may take its time")
	}
}

func from(addr, account string) *filter.Transaction {
	o := &mailkeel.Origin{Identity: mailkeel.AccountID(account)}
	if addr != "" {
		o.Addr = netip.AddrPortFrom(netip.MustParseAddr(addr), 1234)
	}
	return &filter.Transaction{Origin: o, Env: &mailkeel.Envelope{}, Rcpt: &mailkeel.Recipient{Addr: "a@x"}}
}

func newFilter() (*rate.Filter, *testclock.Clock) {
	clock := &testclock.Clock{}
	return &rate.Filter{KV: &memstore.KV{Clock: clock}, Clock: clock}, clock
}

// passes asks n times and returns how often the answer was yes. A no must have code.
func passes(t *testing.T, n int, code int, ask func() (filter.Verdict, error)) (yes int) {
	t.Helper()
	for range n {
		v, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if v.Refuse == nil {
			yes++
		} else if v.Refuse.Code != code || v.Refuse.Enhanced[:2][0] != 4 || v.Refuse.Enhanced[1] != 7 || v.Why == "" {
			t.Fatalf("got %v (%s), want %d", v.Refuse, v.Why, code)
		}
	}
	return yes
}

func TestBucketFillsWithTime(t *testing.T) {
	f, clock := newFilter()
	f.Address.Messages = []rate.Limit{{N: 10, Per: time.Minute}}
	ask := func() (filter.Verdict, error) { return f.FilterSender(t.Context(), from("192.0.2.1", "")) }
	if n := passes(t, 50, 450, ask); n != 10 {
		t.Errorf("%d passed at once, want 10", n)
	}
	clock.Advance(6*time.Second - 1)
	if n := passes(t, 1, 450, ask); n != 0 {
		t.Error("passed too early")
	}
	clock.Advance(1)
	if n := passes(t, 5, 450, ask); n != 1 { // what was refused took nothing
		t.Errorf("%d passed after 6 s, want 1", n)
	}
	total := 0
	for range 600 { // ten minutes of hammering
		clock.Advance(time.Second)
		total += passes(t, 3, 450, ask)
	}
	if total != 100 {
		t.Errorf("%d passed in 10 minutes, want 100", total)
	}
	clock.Advance(time.Hour)
	if n := passes(t, 50, 450, ask); n != 10 {
		t.Errorf("%d passed after a pause, want 10", n)
	}
	clock.Advance(-24 * time.Hour) // the clock was set
	if n := passes(t, 1, 450, ask); n != 1 {
		t.Error("nothing passes after the clock was set back")
	}
}

func TestHourAndDayHoldAtOnce(t *testing.T) {
	f, clock := newFilter()
	f.Account.Rcpts = []rate.Limit{{N: 100, Per: time.Hour}, {N: 150, Per: 24 * time.Hour}}
	ask := func() (filter.Verdict, error) { return f.FilterRcpt(t.Context(), from("192.0.2.1", "a1")) }
	if n := passes(t, 200, 450, ask); n != 100 {
		t.Errorf("%d in the first hour, want 100", n)
	}
	clock.Advance(time.Hour)
	if n := passes(t, 200, 450, ask); n < 50 || n > 57 { // and what the day gave back
		t.Errorf("%d in the second, want 50 or a few more", n)
	}
}

func TestWhoIsCountedWithWhom(t *testing.T) {
	one := []rate.Limit{{N: 1, Per: time.Minute}}
	f, _ := newFilter()
	f.Address = rate.Limits{Conns: one, Messages: one, Rcpts: one}
	f.Account = rate.Limits{Messages: one, Rcpts: one}
	type stage = func(context.Context, *filter.Transaction) (filter.Verdict, error)
	for name, ask := range map[string]stage{"messages": f.FilterSender, "recipients": f.FilterRcpt} {
		for _, tt := range []struct {
			addr, account string
			yes           bool
		}{
			{"192.0.2.1", "", true}, {"192.0.2.1", "", false}, {"::ffff:192.0.2.1", "", false}, {"192.0.2.2", "", true},
			{"2001:db8::1", "", true}, {"2001:db8::ffff:1", "", false}, {"2001:db8:0:1::1", "", true},
			{"192.0.2.1", "a1", true}, {"192.0.2.9", "a1", false}, {"192.0.2.1", "b2", true},
			{"", "", true}, {"", "", true}, // a Unix socket
		} {
			v, err := ask(t.Context(), from(tt.addr, tt.account))
			if err != nil || (v.Refuse == nil) != tt.yes {
				t.Errorf("%s of %q, account %q: %v, %v, want %v", name, tt.addr, tt.account, v.Refuse, err, tt.yes)
			}
		}
	}
	for range 5 {
		tx := from("192.0.2.1", "a1")
		tx.Trusted = true
		if v, err := f.FilterSender(t.Context(), tx); v.Refuse != nil || err != nil {
			t.Errorf("trusted: %v, %v", v.Refuse, err)
		}
	}
}

func TestConnectionCountsOnce(t *testing.T) {
	f, _ := newFilter()
	f.Address.Conns = []rate.Limit{{N: 2, Per: time.Minute}}
	c := &filter.Chain{Groups: [][]filter.Filter{{f}}}
	tx := from("192.0.2.1", "")
	for i, want := range []bool{true, true, false} {
		one, end := c.Session(t.Context(), tx.Origin)
		for range 3 { // before and after STARTTLS
			if v := one.Run(t.Context(), filter.Conn, tx); (v.Refuse == nil) != want {
				t.Errorf("connection %d: %v", i, v.Refuse)
			}
			if !want {
				break
			}
		}
		end()
	}
	if n := passes(t, 1, 421, func() (filter.Verdict, error) { return f.FilterConn(t.Context(), tx) }); n != 0 {
		t.Error("not limited without sessions")
	}
}

func TestDefaultsAndNoLimits(t *testing.T) {
	f, _ := newFilter()
	tx, acc := from("192.0.2.1", ""), from("192.0.2.1", "a1")
	for want, ask := range map[int]func() (filter.Verdict, error){
		300:  func() (filter.Verdict, error) { return f.FilterSender(t.Context(), tx) },
		500:  func() (filter.Verdict, error) { return f.FilterSender(t.Context(), acc) },
		1000: func() (filter.Verdict, error) { return f.FilterRcpt(t.Context(), tx) },
	} {
		if n := passes(t, 3000, 450, ask); n != want {
			t.Errorf("%d passed, want %d", n, want)
		}
	}
	f.Address = rate.Limits{Messages: []rate.Limit{}, Rcpts: []rate.Limit{{}}}
	if n := passes(t, 3000, 450, func() (filter.Verdict, error) { return f.FilterSender(t.Context(), tx) }); n != 3000 {
		t.Errorf("%d passed without a limit", n)
	}
	if n := passes(t, 3, 450, func() (filter.Verdict, error) { return f.FilterRcpt(t.Context(), tx) }); n != 0 {
		t.Errorf("%d passed a limit of none", n)
	}
}

func TestChangedLimitsBeginAnew(t *testing.T) {
	f, _ := newFilter()
	ask := func() (filter.Verdict, error) { return f.FilterSender(t.Context(), from("192.0.2.1", "")) }
	f.Address.Messages = []rate.Limit{{N: 1, Per: time.Hour}}
	passes(t, 5, 450, ask)
	f.Address.Messages = []rate.Limit{{N: 3, Per: time.Hour}, {N: 5, Per: 24 * time.Hour}}
	if n := passes(t, 5, 450, ask); n != 3 {
		t.Errorf("%d passed, want 3", n)
	}
}

func TestManyAtATimeAreCountedExactly(t *testing.T) {
	f, _ := newFilter()
	f.Address.Messages = []rate.Limit{{N: 10, Per: time.Hour}}
	var wg sync.WaitGroup
	var yes atomic.Int64
	for range 50 {
		wg.Go(func() {
			v, err := f.FilterSender(t.Context(), from("192.0.2.1", ""))
			if err == nil && v.Refuse == nil {
				yes.Add(1)
			}
		})
	}
	wg.Wait()
	if yes.Load() != 10 {
		t.Errorf("%d passed, want 10", yes.Load())
	}
}

type noKV struct{ store.KV }

func (noKV) Update(context.Context, string, time.Duration, func([]byte) ([]byte, error)) error {
	return errors.New("no connection")
}

func TestWithoutCountersMailPasses(t *testing.T) {
	c := &filter.Chain{Groups: [][]filter.Filter{{&rate.Filter{KV: noKV{}}}}}
	for s := filter.Conn; s <= filter.Message; s++ {
		if v := c.Run(t.Context(), s, from("192.0.2.1", "")); v.Refuse != nil {
			t.Errorf("%v: %v", s, v.Refuse)
		}
	}
}

func Example() {
	mx := &filter.Chain{Groups: [][]filter.Filter{{&rate.Filter{
		KV:      &memstore.KV{},
		Address: rate.Limits{Messages: []rate.Limit{{N: 2, Per: time.Minute}}},
	}}}}
	peer := &mailkeel.Origin{Addr: netip.MustParseAddrPort("192.0.2.1:4321")}
	for range 3 {
		v := mx.Run(context.Background(), filter.Sender, &filter.Transaction{Origin: peer, Env: &mailkeel.Envelope{From: "ann@example.com"}})
		fmt.Println(v.Refuse)
	}
	// Output:
	// <nil>
	// <nil>
	// 450 4.7.1 too many messages, try again later
}
