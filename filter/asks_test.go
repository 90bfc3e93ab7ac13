package filter_test

import (
	"context"
	"testing"

	"github.com/mailkeel/mailkeel/filter"
)

type atRcpt struct{}

func (atRcpt) Name() string { return "at-rcpt" }
func (atRcpt) FilterRcpt(context.Context, *filter.Transaction) (filter.Verdict, error) {
	return filter.Verdict{}, nil
}

type atEnd struct{}

func (atEnd) Name() string                                              { return "at-end" }
func (atEnd) Done(context.Context, *filter.Transaction, filter.Outcome) {}

// TestAsks checks that a door learns when it need not ask.
func TestAsks(t *testing.T) {
	c := &filter.Chain{Groups: [][]filter.Filter{{}, {atRcpt{}, atEnd{}}}}
	for s := filter.Conn; s <= filter.Message; s++ {
		if c.Asks(s) != (s == filter.Rcpt) {
			t.Errorf("Asks(%v) = %v", s, c.Asks(s))
		}
	}
	if !c.AsksDone() || (&filter.Chain{Groups: [][]filter.Filter{{atRcpt{}}}}).AsksDone() {
		t.Error("AsksDone")
	}
	if c.JunkAt = 5; !c.Asks(filter.Message) || c.Asks(filter.Sender) {
		t.Error("a threshold is looked at when the message is there")
	}
}
