package filter_test

import (
	"reflect"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

func TestModeLimitsAVerdict(t *testing.T) {
	no := &mailkeel.Error{Code: 550}
	full := filter.Verdict{Refuse: no, Score: 3, Why: "bad", Prefix: []byte("X: y\r\n"), Rcpts: map[int]filter.Verdict{1: {Discard: true, Score: 2}}}
	for mode, want := range map[filter.Mode]filter.Verdict{
		filter.Enforce: full,
		filter.Mark:    {Junk: true, Score: 3, Why: "bad", Prefix: []byte("X: y\r\n"), Rcpts: map[int]filter.Verdict{1: {Junk: true, Score: 2}}},
		filter.Log:     {Why: "bad", Prefix: []byte("X: y\r\n"), Rcpts: map[int]filter.Verdict{1: {}}},
	} {
		if got := mode.Limit(full); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, want %+v", mode, got, want)
		}
		text, err := mode.MarshalText()
		var back filter.Mode
		if err != nil || back.UnmarshalText(text) != nil || back != mode {
			t.Errorf("%v became %q and %v", mode, text, back)
		}
		if v := mode.Limit(filter.Verdict{Score: -1}); mode != filter.Log && v.Score != -1 || v.Junk {
			t.Errorf("%v: %+v", mode, v)
		}
	}
	if full.Refuse != no || full.Rcpts[1].Score != 2 || !full.Rcpts[1].Discard {
		t.Error("the verdict was changed")
	}
	if new(filter.Mode).UnmarshalText([]byte("off")) == nil {
		t.Error("there is no mode off")
	}
}
