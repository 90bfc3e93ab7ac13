package main

import (
	"fmt"
	"slices"
)

// results are those of one call of the program.
type results struct {
	Setup   setup
	Samples []sample
}

// A sample is one run of one server.
type sample struct {
	Work    string             `json:"work"`
	Case    string             `json:"case"`
	Server  string             `json:"server"`
	Run     int                `json:"run"`
	Figures map[string]float64 `json:"figures"`
}

// Figures, by the names that they have in JSON.
const (
	rate     = "messages_per_second"
	cpu      = "cpu_seconds_per_1000"
	p50      = "p50_ms"
	p99      = "p99_ms"
	pss      = "pss_mib"
	rss      = "rss_mib"
	session  = "kib_per_session"
	ready    = "ready_ms"
	readyCPU = "cpu_ms"
	value    = "figure" // of a case of "imap", in its unit
	cpuMs    = "server_cpu_ms"
	others   = "cores_used_by_others"
	sent     = "messages"
)

// spread is the median of some figures, and the least and largest.
type spread struct {
	n              int
	med, low, high float64
}

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	v = slices.Sorted(slices.Values(v))
	return spread{len(v), (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[0], v[len(v)-1]}
}

// in prints a spread, with a format for each figure.
func (s spread) in(format string) string {
	if s.n == 0 {
		return "-"
	}
	return fmt.Sprintf(format+" ["+format+".."+format+"]", s.med, s.low, s.high)
}

// runs returns what a server reached, by run.
func (r *results) runs(work, kase, server, figure string) map[int]float64 {
	out := map[int]float64{}
	for _, s := range r.Samples {
		if v, ok := s.Figures[figure]; ok && s.Work == work && s.Case == kase && s.Server == server {
			out[s.Run] = v
		}
	}
	return out
}

// spread says what a server reached.
func (r *results) spread(work, kase, server, figure string) spread {
	var v []float64
	for _, f := range r.runs(work, kase, server, figure) {
		v = append(v, f)
	}
	return spreadOf(v)
}

// ratio compares runs that followed each other: a's figure by b's.
func (r *results) ratio(work, kase, a, b, figure string) spread {
	theirs := r.runs(work, kase, b, figure)
	var v []float64
	for run, f := range r.runs(work, kase, a, figure) {
		if t := theirs[run]; t > 0 {
			v = append(v, f/t)
		}
	}
	return spreadOf(v)
}
