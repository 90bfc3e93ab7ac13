package filter_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// quick is a fake that says that it returns at once.
type quick struct{ fake }

func (quick) Prompt() bool { return true }

// goroutine is the one that runs, by its number.
func goroutine() string {
	buf := make([]byte, 64)
	return strings.Fields(string(buf[:runtime.Stack(buf, false)]))[1]
}

// TestPromptFiltersAreCalledByWhoAsks checks that they run in the caller's goroutine,
// in order, and only where nobody in the group has to be watched.
func TestPromptFiltersAreCalledByWhoAsks(t *testing.T) {
	var ran []string
	note := func(name string) fake {
		return fake{name, func(context.Context, *filter.Transaction) (filter.Verdict, error) {
			ran = append(ran, name+" in "+goroutine())
			return filter.Verdict{Score: 1}, nil
		}}
	}
	me := goroutine()
	v := run(t, &filter.Chain{Groups: [][]filter.Filter{{quick{note("a")}, atRcpt{}, quick{note("b")}}, {quick{note("c")}}}})
	if want := "a in " + me + ", b in " + me + ", c in " + me; strings.Join(ran, ", ") != want || v.Score != 3 {
		t.Errorf("ran %v, score %v; want %s", ran, v.Score, want)
	}
	ran = nil
	v = run(t, &filter.Chain{Groups: [][]filter.Filter{{quick{note("a")}}, {says("slow", filter.Verdict{Score: 1}), quick{note("b")}}}})
	if len(ran) != 2 || ran[0] != "a in "+me || ran[1] == "b in "+me || v.Score != 3 {
		t.Errorf("ran %v here, in %s, score %v", ran, me, v.Score)
	}
}

// TestPromptFilterFails checks that its panic and its error are those of any other.
func TestPromptFilterFails(t *testing.T) {
	boom := errors.New("boom")
	for name, fn := range map[string]func() (filter.Verdict, error){
		"panic": func() (filter.Verdict, error) { panic(boom) },
		"error": func() (filter.Verdict, error) { return filter.Verdict{Junk: true}, boom },
		"wrong": func() (filter.Verdict, error) { return filter.Verdict{Prefix: []byte("no field")}, nil },
	} {
		var log bytes.Buffer
		f := fake{"x-" + name, func(context.Context, *filter.Transaction) (filter.Verdict, error) { return fn() }}
		c := &filter.Chain{Groups: [][]filter.Filter{{quick{f}}}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if v := run(t, c); v.Junk || v.Refuse != nil || len(v.Results) != 1 || !strings.Contains(log.String(), "filter=x-"+name) {
			t.Errorf("%s: %+v, logged %s", name, v, &log)
		}
		c.OnError = filter.TryAgain
		if v := run(t, c); v.Refuse == nil || v.Refuse.Code != 451 {
			t.Errorf("%s: %+v with TryAgain", name, v)
		}
	}
}

// TestExitIsNoOpinion checks that a filter that ends its goroutine could not tell.
func TestExitIsNoOpinion(t *testing.T) {
	exit := fake{"x-exit", func(context.Context, *filter.Transaction) (filter.Verdict, error) {
		runtime.Goexit()
		panic("not here")
	}}
	v := run(t, &filter.Chain{Groups: [][]filter.Filter{{exit}}, OnError: filter.TryAgain})
	if v.Refuse == nil || v.Refuse.Code != 451 {
		t.Errorf("got %+v", v)
	}
}

// BenchmarkRun is what one filter costs that does nothing, watched and prompt.
func BenchmarkRun(b *testing.B) {
	f := fake{"x-nothing", func(context.Context, *filter.Transaction) (filter.Verdict, error) { return filter.Verdict{}, nil }}
	for name, f := range map[string]filter.Filter{"watched": f, "prompt": quick{f}} {
		b.Run(name, func(b *testing.B) {
			c := &filter.Chain{Groups: [][]filter.Filter{{f}}}
			t := &filter.Transaction{Env: &mailkeel.Envelope{ID: "m1"}, Content: text("body")}
			b.ReportAllocs()
			for b.Loop() {
				c.Run(b.Context(), filter.Message, t)
			}
		})
	}
}
