// Package proctree sums CPU time and memory over a process and all of its
// descendants, from /proc: what a server cost during a run, whether it is one
// process or a tree of short-lived ones.
package proctree

import (
	"bufio"
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
	ticks  int64 // its own and those of children that it has waited for
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
	return proc{int(n(1)), n(11) + n(12) + n(13) + n(14)}, true
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

// CPU returns the seconds of processor time that the tree has used so far, in
// steps of 10 ms.
func CPU(root int) float64 {
	var t int64
	for _, pid := range PIDs(root) {
		if p, ok := read(pid); ok {
			t += p.ticks
		}
	}
	return float64(t) / tick
}

// PSS returns the memory of the tree in bytes, each shared page divided among
// those who share it: the fair figure for a server that forks.
func PSS(root int) int64 {
	var kib int64
	for _, pid := range PIDs(root) {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if w := strings.Fields(s.Text()); len(w) > 1 && w[0] == "Pss:" {
				n, _ := strconv.ParseInt(w[1], 10, 64)
				kib += n
			}
		}
		f.Close()
	}
	return kib << 10
}
