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
	got := slices.Sorted(slices.Values(slices.Concat(lateCapabilities[:], sharing[:], administering[:])))
	if !slices.Equal(got, want) {
		t.Errorf("offered:\n%s", strings.Join(got, "\n"))
	}
}

// ACL without names of others, and SETQUOTA without somewhere to set it, would be of
// no use.
func TestCapabilitiesThatNeedMoreAreOfferedWithIt(t *testing.T) {
	offered := func(s *Server) string {
		s.InsecureAuth = true
		p := dial(t, start(t, s))
		return p.ok("LOGIN ann@example.org secret")[0] + " "
	}
	alone, more := offered(&Server{}), offered(&Server{Roster: users(), Quotas: &quotas{}})
	for _, what := range slices.Concat(sharing[:], administering[:]) {
		if strings.Contains(alone, " "+what+" ") || !strings.Contains(more, " "+what+" ") {
			t.Errorf("%s: alone %q, with more %q", what, alone, more)
		}
	}
}
