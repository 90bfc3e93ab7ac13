package imap

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What is offered stands in a file, one a line, so that a change of it shows in a
// diff. Every line of it has a dialog in testdata.
func TestCapabilitiesAreThoseListed(t *testing.T) {
	text, err := os.ReadFile("testdata/golden/capabilities")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(text))
	got := slices.Sorted(slices.Values(lateCapabilities[:]))
	if !slices.Equal(got, want) {
		t.Errorf("offered:\n%s", strings.Join(got, "\n"))
	}
}
