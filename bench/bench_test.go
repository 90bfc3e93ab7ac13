package main

import (
	"bytes"
	"os"
	"path/filepath"
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

// measured reports whether every column of every case of a work has a figure of
// each server that want picks.
func measured(t *testing.T, r *results, name string, want func(server) bool) {
	t.Helper()
	for _, w := range works() {
		if w.name != name {
			continue
		}
		for _, k := range w.cases {
			for _, s := range k.servers {
				for _, c := range w.columns {
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
		measured(t, r, w, ours)
	}
	for _, target := range targets {
		if s := r.reach(target, filtersOn); !target.ratio && s.n != 1 {
			t.Errorf("%s: %+v", target.text, s)
		}
	}
}

func TestBesideThePeers(t *testing.T) {
	peers.NeedRoot(t)
	peers.Need(t, "postfix", "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		peers.Missing(t, "dovecot-lmtpd is not installed")
	}
	names := []string{"file", "relay", "imap"}
	r := quick(t, "-works", strings.Join(names, ","), "-n", "20")
	for _, w := range names {
		measured(t, r, w, func(server) bool { return true })
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

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 100000: "100,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
