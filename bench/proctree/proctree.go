// Package proctree sums CPU time and memory over a process and all of its
// descendants, from /proc: what a server cost during a run, whether it is one
// process or a tree of short-lived ones.
package proctree

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tick is the USER_HZ of every Linux port of Go.
const tick = 100

type proc struct {
	parent int
	own    int64 // ticks of its own
	waited int64 // ticks of children that it has waited for
}

func read(pid int) (proc, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, false
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 15 {
		return proc{}, false
	}
	n := func(k int) int64 { v, _ := strconv.ParseInt(f[k], 10, 64); return v }
	return proc{int(n(1)), n(11) + n(12), n(13) + n(14)}, true
}

// exact returns the nanoseconds that the live threads of a process have run.
func exact(pid int) (ns int64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		first, _, _ := strings.Cut(string(b), " ")
		v, _ := strconv.ParseInt(first, 10, 64)
		ns += v
	}
	return ns
}

// PIDs returns root and all of its live descendants.
func PIDs(root int) []int {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	children := map[int][]int{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(filepath.Base(e)); err == nil {
			if p, ok := read(pid); ok {
				children[p.parent] = append(children[p.parent], pid)
			}
		}
	}
	out := []int{root}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// CPU returns the seconds of processor time that trees have used so far. Live threads
// are counted to the nanosecond: a server of many short-lived processes would look
// better by half a step for each. Those that have ended are counted in steps of 10 ms.
func CPU(roots ...int) float64 {
	var ns int64
	for _, root := range roots {
		for _, pid := range PIDs(root) {
			p, ok := read(pid)
			if !ok {
				continue
			}
			// Neither counts too much.
			ns += max(p.own*(1e9/tick), exact(pid)) + p.waited*(1e9/tick)
		}
	}
	return float64(ns) / 1e9
}

// Own returns the seconds that one process has used, without any other.
func Own(pid int) float64 {
	p, _ := read(pid)
	return float64(p.own) / tick
}

// Busy returns the seconds that all processors together have worked since the
// machine started, for whomever.
func Busy() float64 {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	var t int64
	for i, w := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // "cpu", idle, waiting for the disk, guests
			continue
		}
		n, _ := strconv.ParseInt(w, 10, 64)
		t += n
	}
	return float64(t) / tick
}

// PSS returns the memory of trees in bytes, each shared page divided among those
// who share it: the fair figure for a server that forks.
func PSS(roots ...int) int64 { return rollup("Pss:", roots) }

// RSS returns the memory of trees in bytes; a page that n processes share counts n
// times.
func RSS(roots ...int) int64 { return rollup("Rss:", roots) }

func rollup(field string, roots []int) int64 {
	var kib int64
	for _, root := range roots {
		for _, pid := range PIDs(root) {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
			for line := range strings.Lines(string(b)) {
				if w := strings.Fields(line); len(w) > 1 && w[0] == field {
					n, _ := strconv.ParseInt(w[1], 10, 64)
					kib += n
				}
			}
		}
	}
	return kib << 10
}
