package filtertest_test

import (
	"testing"

	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/filtertest"
)

// A filter passes the suite in a test of a few lines. What it knows how to judge is
// added to the common message as a Sample.
func Example() {
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		filtertest.Run(t, func(*testing.T) filter.Filter { return lines{} },
			filtertest.Sample{From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: "Subject: empty\r\n\r\n"})
	}
	// Output:
}
