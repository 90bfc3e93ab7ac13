package filter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"
	"pgregory.net/rapid"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// What cannot be acted on safely counts as not being able to tell.
func TestVerdictsThatCannotBe(t *testing.T) {
	for name, v := range map[string]filter.Verdict{
		"not a number":       {Score: math.NaN()},
		"infinite":           {Score: math.Inf(1)},
		"no header":          {Prefix: []byte("hello\r\n")},
		"ends the header":    {Prefix: []byte("A: 1\r\n\r\n")},
		"bare LF":            {Prefix: []byte("A: 1\nB: 2\r\n")},
		"bare CR":            {Prefix: []byte("A: 1\rB: 2\r\n")},
		"NUL":                {Prefix: []byte("A: \x00\r\n")},
		"no CRLF":            {Prefix: []byte("A: 1")},
		"no name":            {Prefix: []byte(": 1\r\n")},
		"space in the name":  {Prefix: []byte("A B: 1\r\n")},
		"folded from start":  {Prefix: []byte(" A: 1\r\n")},
		"empty fold":         {Prefix: []byte("A: 1\r\n \r\n")},
		"not UTF-8":          {Prefix: []byte("A: \xff\r\n")},
		"long line":          {Prefix: []byte("A: " + strings.Repeat("x", 1000) + "\r\n")},
		"long prefix":        {Prefix: []byte(strings.Repeat("A: 1\r\n", 20000))},
		"recipient -1":       {Rcpts: map[int]filter.Verdict{-1: {Junk: true}}},
		"recipient 3 of 3":   {Rcpts: map[int]filter.Verdict{3: {Junk: true}}},
		"prefix for one":     {Rcpts: map[int]filter.Verdict{0: {Prefix: []byte("x")}}},
		"score for one":      {Rcpts: map[int]filter.Verdict{0: {Score: math.NaN()}}},
		"more than can be":   {Score: -1e300},
		"refuses and cannot": {Refuse: &mailkeel.Error{Code: 550}, Score: math.NaN()},
	} {
		got := run(t, &filter.Chain{Groups: [][]filter.Filter{{says("x-odd", v), says("b", filter.Verdict{Score: 1})}}})
		if got.Refuse != nil || got.Score != 1 || got.Prefix != nil || got.Rcpts != nil || len(got.Results) != 1 {
			t.Errorf("%s: got %+v, want a temperror", name, got)
		}
	}
}

func TestWhatIsMadeFit(t *testing.T) {
	evil := "a\r\nBcc: x\x00\u0085\u2028b"
	v := run(t, &filter.Chain{Groups: [][]filter.Filter{{says("a", filter.Verdict{
		Why: evil, Refuse: &mailkeel.Error{Code: 250, Message: evil, Err: io.EOF}, Rewrite: &mailkeel.Recipient{Addr: "x@y"}})}}})
	if strings.ContainsFunc(v.Why+v.Refuse.Message, func(r rune) bool { return r < ' ' || r == '\u0085' || r == '\u2028' }) {
		t.Errorf("got %q and %q", v.Why, v.Refuse.Message)
	}
	if v.Refuse.Code != 550 || v.Refuse.Enhanced != [3]int{5, 7, 1} || !errors.Is(v.Refuse, io.EOF) || v.Rewrite != nil {
		t.Errorf("got %+v", v)
	}
	v = run(t, &filter.Chain{Groups: [][]filter.Filter{{says("a", filter.Verdict{Why: strings.Repeat("\u00fc", 1000), Refuse: &mailkeel.Error{Code: 452}})}}})
	if len(v.Why) > 300 || v.Refuse.Enhanced[0] != 4 || v.Refuse.Message == "" {
		t.Errorf("got %d bytes and %v", len(v.Why), v.Refuse)
	}
}

func TestScoresOfOneRecipient(t *testing.T) {
	v := run(t, &filter.Chain{JunkAt: 5, RefuseAt: 10, Groups: [][]filter.Filter{
		{says("a", filter.Verdict{Score: 3, Rcpts: map[int]filter.Verdict{0: {Score: 2}, 1: {Score: -9}, 2: {Score: 4}}})},
		{says("b", filter.Verdict{Rcpts: map[int]filter.Verdict{2: {Score: 3, Prefix: []byte("B: 2\r\n")}, 0: {Prefix: []byte("B: 0\r\n")}}})},
	}})
	if v.Junk || v.Refuse != nil || !v.Rcpts[0].Junk || v.Rcpts[1].Junk || v.Rcpts[0].Refuse != nil || v.Rcpts[2].Refuse == nil {
		t.Errorf("got %+v", v)
	}
	if string(v.Rcpts[0].Prefix) != "B: 0\r\n" || string(v.Rcpts[2].Prefix) != "B: 2\r\n" {
		t.Errorf("got %+v", v.Rcpts)
	}
}

func TestLaterHeaderFieldsStandAbove(t *testing.T) {
	field := func(s string) filter.Verdict {
		return filter.Verdict{Prefix: []byte(s + ": 1\r\n"), Rcpts: map[int]filter.Verdict{1: {Prefix: []byte(s + ": r\r\n")}}}
	}
	v := run(t, &filter.Chain{Groups: [][]filter.Filter{{says("a", field("A")), says("b", field("B"))}, {says("c", field("C"))}, {says("d", field("D"))}}})
	if got := string(v.Prefix); got != "D: 1\r\nC: 1\r\nA: 1\r\nB: 1\r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(v.Rcpts[1].Prefix); got != "D: r\r\nC: r\r\nA: r\r\nB: r\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestCheckPrefix(t *testing.T) {
	for _, ok := range []string{"", "A: 1\r\n", "A:\r\n", "A: 1\r\n\tfolded\r\n more\r\nB-c_d!: \u00fc\r\n", "Received-SPF: pass (a: b)\r\n"} {
		if err := filter.CheckPrefix([]byte(ok)); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
}

// stages is a filter with all stage methods, which say the same.
type stages struct{ fake }

func (f stages) FilterConn(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return f.fn(ctx, t)
}
func (f stages) FilterSender(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return f.fn(ctx, t)
}
func (f stages) FilterRcpt(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return f.fn(ctx, t)
}

func TestRewriteIsSeenByLaterGroups(t *testing.T) {
	to := func(name, addr string) filter.Filter {
		return stages{fake{name, func(context.Context, *filter.Transaction) (filter.Verdict, error) {
			return filter.Verdict{Rewrite: &mailkeel.Recipient{Addr: addr}}, nil
		}}}
	}
	saw := ""
	c := &filter.Chain{Groups: [][]filter.Filter{{to("a", "one@x")}, {stages{fake{"look", func(_ context.Context, tx *filter.Transaction) (filter.Verdict, error) {
		if tx.Rcpt != nil {
			saw = tx.Rcpt.Addr
		}
		return filter.Verdict{}, nil
	}}}}, {to("b", "")}}}
	asked := &mailkeel.Recipient{Addr: "zero@x"}
	v := c.Run(t.Context(), filter.Rcpt, &filter.Transaction{Env: &mailkeel.Envelope{}, Rcpt: asked})
	if v.Rewrite == nil || v.Rewrite.Addr != "one@x" || saw != "one@x" || asked.Addr != "zero@x" || len(v.Results) != 1 {
		t.Errorf("got %+v, and the next group saw %q", v, saw)
	}
	for _, s := range []filter.Stage{filter.Conn, filter.Sender, filter.Message} {
		if v := c.Run(t.Context(), s, &filter.Transaction{}); v.Rewrite != nil {
			t.Errorf("rewrite at %v", s)
		}
	}
}

// A filter that cannot tell says so once, not for each of 1,000 recipients.
func TestOneTempErrorPerTransaction(t *testing.T) {
	c := &filter.Chain{Groups: [][]filter.Filter{{stages{fake{"x-err", func(context.Context, *filter.Transaction) (filter.Verdict, error) {
		return filter.Verdict{}, io.ErrUnexpectedEOF
	}}}}}}
	tx := &filter.Transaction{Env: &mailkeel.Envelope{}, Rcpt: &mailkeel.Recipient{Addr: "a@x"}}
	for range 1000 {
		tx.Results = append(tx.Results, c.Run(t.Context(), filter.Rcpt, tx).Results...)
	}
	if len(tx.Results) != 1 {
		t.Errorf("%d results", len(tx.Results))
	}
}

// drawn is a random verdict, some of which cannot be.
func drawn(t *rapid.T, name string) (filter.Verdict, error) {
	if rapid.IntRange(0, 9).Draw(t, name+" fails") == 0 {
		return filter.Verdict{}, errors.New("cannot tell")
	}
	v := filter.Verdict{
		Score: float64(rapid.IntRange(-3, 6).Draw(t, name+" score")),
		Junk:  rapid.IntRange(0, 4).Draw(t, name+" junk") == 0,
		Why:   rapid.SampledFrom([]string{"", name, "bad\r\nwhy"}).Draw(t, name+" why"),
	}
	if rapid.IntRange(0, 5).Draw(t, name+" refuses") == 0 {
		v.Refuse = &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 1}, Message: name}
	}
	v.Discard = rapid.IntRange(0, 9).Draw(t, name+" discards") == 0
	if rapid.Bool().Draw(t, name+" has fields") {
		v.Prefix = []byte(rapid.SampledFrom([]string{name + ": 1\r\n", name + ": 1\r\nX: 2\r\n", "oops"}).Draw(t, name+" prefix"))
		v.Results = []authres.Result{&authres.GenericResult{Method: name, Value: authres.ResultPass}}
		v.Rcpts = map[int]filter.Verdict{rapid.IntRange(0, 3).Draw(t, name+" rcpt"): {Score: 2, Junk: rapid.Bool().Draw(t, name+" one"), Prefix: []byte(name + ": r\r\n")}}
	}
	return v, nil
}

// Whatever the filters of a group say, and in whatever order they are done, the
// verdict is the same.
func TestOrderOfCompletionDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type said struct {
			v   filter.Verdict
			err error
		}
		var groups [][]said
		for g := range rapid.IntRange(1, 3).Draw(t, "groups") {
			var group []said
			for i := range rapid.IntRange(1, 4).Draw(t, "filters") {
				v, err := drawn(t, fmt.Sprintf("f%d-%d", g, i))
				group = append(group, said{v, err})
			}
			groups = append(groups, group)
		}
		// judge runs a chain in which the filters of each group end in an order.
		judge := func(order func(n int) []int) filter.Verdict {
			c := &filter.Chain{JunkAt: 5, RefuseAt: 9}
			for g, group := range groups {
				turn := make([]chan bool, len(group)+1)
				for i := range turn {
					turn[i] = make(chan bool)
				}
				close(turn[0])
				at := order(len(group)) // at[i] is when filter i ends
				var fs []filter.Filter
				for i, s := range group {
					fs = append(fs, fake{fmt.Sprintf("f%d-%d", g, i), func(context.Context, *filter.Transaction) (filter.Verdict, error) {
						<-turn[at[i]]
						defer close(turn[at[i]+1])
						return s.v, s.err
					}})
				}
				c.Groups = append(c.Groups, fs)
			}
			return c.Run(context.Background(), filter.Message, &filter.Transaction{Env: &mailkeel.Envelope{Rcpts: make([]mailkeel.Recipient, 3)}, Content: text("x")})
		}
		want := judge(func(n int) []int { return rapid.Permutation(seq(n)).Draw(t, "one order") })
		got := judge(func(n int) []int { return rapid.Permutation(seq(n)).Draw(t, "another order") })
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if got.Refuse == nil && filter.CheckPrefix(got.Prefix) != nil {
			t.Errorf("prefix %q", got.Prefix)
		}
	})
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return slices.Clip(s)
}

func FuzzCheckPrefix(f *testing.F) {
	for _, s := range []string{"A: 1\r\n", "A: 1\r\n b\r\n", "A: 1\r\n\r\n", "A: 1\n\r\n", "\r\n", "A\x00: 1\r\n", "A: \u2028\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if filter.CheckPrefix(p) != nil {
			return
		}
		for i, line := range strings.Split(string(p), "\r\n") {
			last := strings.TrimRight(string(p), "\r\n") == strings.Join(strings.Split(string(p), "\r\n")[:i], "\r\n")
			if strings.ContainsAny(line, "\r\n\x00") || line == "" && !last {
				t.Errorf("%q has the line %q", p, line)
			}
		}
	})
}
