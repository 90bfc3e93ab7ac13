package filter_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/testclock"
)

// milter keeps a count for each connection.
type milter struct {
	mu     sync.Mutex
	opened int
	closed int
	err    error
	wait   chan bool
	boom   bool
}

func (m *milter) Name() string { return "x-milter" }

func (m *milter) NewSession(ctx context.Context, o *mailkeel.Origin) (filter.Filter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boom {
		panic("boom")
	}
	if m.wait != nil {
		<-m.wait // heeds no context
	}
	m.opened++
	if m.err != nil {
		return nil, m.err
	}
	return &milterSession{m: m}, nil
}

type milterSession struct {
	m     *milter
	asked int
}

func (s *milterSession) Name() string { return "x-milter" }
func (s *milterSession) FilterConn(context.Context, *filter.Transaction) (filter.Verdict, error) {
	s.asked++
	return filter.Verdict{Score: float64(s.asked)}, nil
}
func (s *milterSession) Close() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.closed++
	return nil
}

func TestEachConnectionHasItsSession(t *testing.T) {
	m := &milter{}
	c := &filter.Chain{Groups: [][]filter.Filter{{says("a", filter.Verdict{}), m}}}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if v := c.Run(t.Context(), filter.Conn, &filter.Transaction{}); v.Score != 0 {
		t.Error("was asked without a session")
	}
	one, endOne := c.Session(t.Context(), &mailkeel.Origin{})
	two, endTwo := c.Session(t.Context(), nil)
	for i, x := range []*filter.Chain{one, one, two} {
		if v, want := x.Run(t.Context(), filter.Conn, &filter.Transaction{}), float64([]int{1, 2, 1}[i]); v.Score != want {
			t.Errorf("score %v, want %v", v.Score, want)
		}
	}
	if err := errors.Join(endOne(), endTwo()); err != nil || m.opened != 2 || m.closed != 2 {
		t.Errorf("%d opened, %d closed, %v", m.opened, m.closed, err)
	}
	if c.Groups[0][1] != filter.Filter(m) {
		t.Error("the chain itself was changed")
	}
	plain := &filter.Chain{Groups: [][]filter.Filter{{says("a", filter.Verdict{})}}}
	if same, end := plain.Session(t.Context(), nil); same != plain || end() != nil {
		t.Error("a chain without sessions was copied")
	}
}

func TestNoSessionIsNoOpinion(t *testing.T) {
	for name, m := range map[string]*milter{"error": {err: errors.New("no milter there")}, "panic": {boom: true}} {
		c := &filter.Chain{Groups: [][]filter.Filter{{m}}}
		one, end := c.Session(t.Context(), nil)
		if v := one.Run(t.Context(), filter.Conn, &filter.Transaction{}); v.Refuse != nil || len(v.Results) != 1 {
			t.Errorf("%s: got %+v, want temperror", name, v)
		}
		c.OnError = filter.TryAgain
		one, end2 := c.Session(t.Context(), nil)
		if v := one.Run(t.Context(), filter.Conn, &filter.Transaction{}); v.Refuse == nil || v.Refuse.Code != 451 {
			t.Errorf("%s: got %+v, want 451", name, v)
		}
		if err := errors.Join(end(), end2()); err != nil {
			t.Error(err)
		}
	}
}

func TestLateSessionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &milter{wait: make(chan bool)}
		c := &filter.Chain{Groups: [][]filter.Filter{{m}}, Timeout: time.Second}
		one, end := c.Session(t.Context(), nil)
		if v := one.Run(t.Context(), filter.Conn, &filter.Transaction{}); len(v.Results) != 1 {
			t.Errorf("got %+v", v)
		}
		close(m.wait)
		synctest.Wait()
		if m.opened != 1 || m.closed != 1 || end() != nil {
			t.Errorf("%d opened, %d closed", m.opened, m.closed)
		}
	})
}

// ends is a DoneFilter.
type ends struct {
	name string
	fn   func(context.Context, filter.Outcome)
}

func (e ends) Name() string { return e.name }
func (e ends) Done(ctx context.Context, _ *filter.Transaction, o filter.Outcome) {
	e.fn(ctx, o)
}

func TestDoneReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		tell := func(name string) filter.Filter {
			return ends{name, func(ctx context.Context, o filter.Outcome) {
				mu.Lock()
				defer mu.Unlock()
				if ctx.Err() == nil && o.Results[0].Action == mailkeel.Queued {
					told = append(told, name)
				}
			}}
		}
		hold := make(chan bool)
		c := &filter.Chain{Groups: [][]filter.Filter{
			{ends{"x-stuck", func(context.Context, filter.Outcome) { <-hold }}, ends{"x-panic", func(context.Context, filter.Outcome) { panic("boom") }}, tell("a")}, {tell("b")}}}
		gone, cancel := context.WithCancel(t.Context())
		cancel() // the connection has ended
		c.Done(gone, &filter.Transaction{}, filter.Outcome{Results: []mailkeel.Result{{Action: mailkeel.Queued}}})
		if len(told) != 2 {
			t.Errorf("told %v", told)
		}
		close(hold)
		(&filter.Chain{}).Done(gone, nil, filter.Outcome{})
	})
}

type tracer struct {
	mu  sync.Mutex
	all []filter.Judgment
}

func (tr *tracer) Judged(j filter.Judgment) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.all = append(tr.all, j)
}

func TestVerdictsAreTracedAndLogged(t *testing.T) {
	var log bytes.Buffer
	tr, clock := &tracer{}, &testclock.Clock{}
	c := &filter.Chain{
		Tracer: tr, Clock: clock, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Groups: [][]filter.Filter{
			{fake{"x-slow", func(context.Context, *filter.Transaction) (filter.Verdict, error) {
				clock.Advance(3 * time.Second)
				return filter.Verdict{Score: 2.5, Why: "slow"}, nil
			}}},
			{says("quiet", filter.Verdict{}), fake{"x-panic", func(context.Context, *filter.Transaction) (filter.Verdict, error) { panic("boom") }}},
			{says("no", filter.Verdict{Refuse: &mailkeel.Error{Code: 550, Err: errors.New("because")}})},
		}}
	run(t, c)
	if len(tr.all) != 4 || tr.all[0].Took != 3*time.Second || tr.all[0].ID != "m1" || tr.all[0].Verdict.Score != 2.5 || tr.all[2].Err == nil || tr.all[3].Verdict.Refuse == nil {
		t.Errorf("traced %+v", tr.all)
	}
	for _, want := range []string{
		"level=DEBUG msg=\"filter: verdict\" filter=x-slow stage=message id=m1 score=2.5 why=slow",
		"level=ERROR msg=\"filter: verdict\" filter=x-panic stage=message id=m1 err=\"filter: panic: boom\" stack=",
		"level=INFO msg=\"filter: verdict\" filter=no stage=message id=m1 refuse=",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "quiet") {
		t.Error("no opinion was logged")
	}
}

func TestCheckWantsKeywords(t *testing.T) {
	for _, name := range []string{"", "a b", "x;y", "caf\u00e9", "-a", "a-", "a\r\nb", "a.b"} {
		if err := (&filter.Chain{Groups: [][]filter.Filter{{says(name, filter.Verdict{})}}}).Check(); err == nil {
			t.Errorf("took %q", name)
		}
	}
	if err := (&filter.Chain{Groups: [][]filter.Filter{{nil}}}).Check(); err == nil {
		t.Error("took nil")
	}
}

func TestCallersContextEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the peer left")
	hold := make(chan bool)
	defer close(hold)
	c := &filter.Chain{OnError: filter.TryAgain, Groups: [][]filter.Filter{{fake{"x-stuck", func(context.Context, *filter.Transaction) (filter.Verdict, error) {
		cancel(why)
		<-hold // heeds no context
		return filter.Verdict{Junk: true}, nil
	}}}}}
	if v := c.Run(ctx, filter.Message, &filter.Transaction{}); v.Junk || !errors.Is(v.Refuse, why) {
		t.Errorf("got %+v", v)
	}
}
