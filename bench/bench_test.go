package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// quick runs the program with few messages and returns its results.
func quick(t *testing.T, args ...string) *results {
	t.Helper()
	var out, log bytes.Buffer
	// The path of a Unix socket is short, and that of a test's folder is not.
	dir, err := os.MkdirTemp("", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "RESULTS.md")
	if err := run(t.Context(), append([]string{"-quick", "-json", "-dir", dir, "-markdown", file}, args...), &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "postoffice, filters off |") {
		t.Errorf("RESULTS.md: %v\n%s", err, text)
	}
	r, err := readResults(&out)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// measured reports whether every column of those cases of a work that match has a
// figure of each server that want picks.
func measured(t *testing.T, r *results, name string, match *regexp.Regexp, want func(server) bool) {
	t.Helper()
	for _, w := range works() {
		if w.name != name {
			continue
		}
		for _, k := range w.cases {
			if !match.MatchString(k.name) {
				continue
			}
			for _, s := range k.servers {
				for _, c := range w.columns {
					if name == "imap" && c.figure == cpuMs {
						continue // some are not of commands
					}
					if want(s) && r.spread(name, k.name, s.name(name), c.figure).n != 1 {
						t.Errorf("%s, %s: no %s of %s", name, k.name, c.figure, s.name(name))
					}
				}
			}
		}
	}
}

func TestEveryWorkOfOurs(t *testing.T) {
	r := quick(t, "-peers=false")
	ours := func(s server) bool { _, ok := s.(*postoffice); return ok }
	for _, w := range workNames() {
		measured(t, r, w, regexp.MustCompile(""), ours)
	}
	for _, target := range targets {
		if s := r.reach(target, filtersOn); !target.ratio && s.n != 1 {
			t.Errorf("%s: %+v", target.text, s)
		}
	}
}

// some cases are enough where every server does them.
var some = regexp.MustCompile("sessions|^flags|headers-first|body-large|append-apart|notice")

func TestBesideThePeers(t *testing.T) {
	peers.NeedRoot(t)
	peers.Need(t, "postfix", "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		peers.Missing(t, "dovecot-lmtpd is not installed")
	}
	names := []string{"file", "relay", "imap"}
	r := quick(t, "-works", strings.Join(names, ","), "-n", "20", "-cases", some.String())
	for _, w := range names {
		measured(t, r, w, some, func(server) bool { return true })
	}
	for _, target := range targets {
		if s := r.reach(target, filtersOff); slices.Contains(names, target.work) && target.figure == rate && s.n != 1 {
			t.Errorf("%s: %+v", target.text, s)
		}
	}
}

func TestRatiosAreOfRunsThatFollowedEachOther(t *testing.T) {
	r := results{}
	add := func(server string, figures ...float64) {
		for run, f := range figures {
			r.Samples = append(r.Samples, sample{"accept", "50 sessions", server, run, map[string]float64{rate: f}})
		}
	}
	add(filtersOff, 100, 20, 90)
	add(justPostfix, 50, 10, 30)
	if s := r.ratio("accept", "50 sessions", filtersOff, justPostfix, rate); s != (spread{3, 2, 2, 3}) {
		t.Errorf("got %+v", s)
	}
	if s := r.spread("accept", "50 sessions", justPostfix, rate).in("%.0f"); s != "30 [10..50]" {
		t.Errorf("got %s", s)
	}
	// Two of three targets of that case have no figures, and no line is missing.
	if v := r.verdict(); !strings.Contains(v, "| accept, 50 sessions: 4 times Postfix | 2.00 [2.00..3.00] | **no** | - | - |") {
		t.Error(v)
	}
}

func TestTheTableOfIMAP(t *testing.T) {
	r := results{Setup: setup{Mailbox: 100_000, ManySessions: 1000}}
	add := func(name, server string, figures ...float64) {
		for run, f := range figures {
			r.Samples = append(r.Samples, sample{"imap", name, server, run, map[string]float64{value: f, cpuMs: f}})
		}
	}
	add("flags", justOurs, 20, 30, 25)
	add("flags", justDovecot, 60, 60, 75)
	add("body", justOurs, 100)
	add("body", justDovecot, 200)
	add("notice", justOurs, 50)
	for _, w := range works() {
		if w.name != "imap" {
			continue
		}
		table := r.table(&w)
		for _, line := range []string{
			"| FETCH 1:* (UID FLAGS) of 100,000, ms | 25.0 [20.0..30.0] | 60.0 [60.0..75.0] | **3.00 [2.00..3.00]** | 1.5x | yes | 0.33 [0.33..0.50] |\n",
			"| FETCH 1:* (BODY.PEEK[]) of 3 KB, MB/s | 100 [100..100] | 200 [200..200] | **0.50 [0.50..0.50]** | 0.8x | **no** | 0.50 [0.50..0.50] |\n",
			"| new mail known to 99% of 1,000 in IDLE after, ms | 50 [50..50] | - | **-** | under 100 | yes | - |\n",
		} {
			if !strings.Contains(table, line) {
				t.Errorf("no %s in\n%s", line, table)
			}
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 100000: "100,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
