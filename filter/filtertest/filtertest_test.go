package filtertest_test

import (
	"context"
	"io"
	"testing"

	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/filtertest"
)

// lines counts the lines of a message.
type lines struct{}

func (lines) Name() string { return "x-lines" }

func (lines) FilterMessage(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if t.Content == nil {
		return filter.Verdict{}, nil
	}
	rc, err := t.Content.Open(ctx)
	if err != nil {
		return filter.Verdict{}, err
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil {
		return filter.Verdict{}, err
	}
	if len(data) == 0 {
		return filter.Verdict{}, nil
	}
	return filter.Verdict{Score: 0.1, Why: "has lines", Prefix: []byte("X-Lines: some\r\n")}, nil
}

func TestGoodFilterPasses(t *testing.T) {
	filtertest.Run(t, func(*testing.T) filter.Filter { return lines{} },
		filtertest.Sample{From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: "Subject: x\r\n\r\n"})
}
