// Command bench measures postoffice and Postfix side by side: the same load on the
// same file system, in turn, several times, and prints the ratios.
//
//	go run ./bench                    everything
//	go run ./bench -works accept -runs 5
//
// Postfix comes from Debian's package and is started privately on loopback ports,
// which needs root. RESULTS.md holds a run.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	works    []string
	runs     int
	messages int
	size     int
	dir      string
	log      io.Writer
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	works := f.String("works", "accept,file,relay", "what to measure, of accept (into the queue), file (into 20 mailboxes) and relay (until a sink has all)")
	o := options{log: stderr}
	f.IntVar(&o.runs, "runs", 3, "how often each server does each work, in turn")
	f.IntVar(&o.messages, "n", 3000, "messages of a run")
	f.IntVar(&o.size, "size", 10<<10, "bytes of a message")
	f.StringVar(&o.dir, "dir", "", "folder on the file system to measure; default a temporary one")
	asJSON := f.Bool("json", false, "print every run as a line of JSON instead of tables")
	if err := f.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return nil
		}
		return err
	}
	o.works = strings.Split(*works, ",")
	dir, err := os.MkdirTemp(o.dir, "mailkeel-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix runs as several users
		return err
	}
	if o.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	program := filepath.Join(o.dir, "postoffice")
	if err := build(ctx, program); err != nil {
		return err
	}
	var all []sample
	for _, w := range plan() {
		if !slices.Contains(o.works, w.name) {
			continue
		}
		samples, err := compare(ctx, o, w, program)
		all = append(all, samples...)
		if err != nil {
			return err
		}
		if !*asJSON {
			table(stdout, w, samples)
		}
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		for _, s := range all {
			if err := enc.Encode(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// A sample is one run of one server.
type sample struct {
	Work     string  `json:"work"`
	Server   string  `json:"server"`
	Sessions int     `json:"sessions"`
	Rate     float64 `json:"messages_per_second"`
	CPU      float64 `json:"cpu_seconds_per_1000"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	PSS      float64 `json:"pss_mib"`
}

// median returns the median, least and largest of what get says about samples.
func median(samples []sample, get func(sample) float64) (med, low, high float64) {
	v := make([]float64, 0, len(samples))
	for _, s := range samples {
		v = append(v, get(s))
	}
	if slices.Sort(v); len(v) == 0 {
		return 0, 0, 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[0], v[len(v)-1]
}

// table prints the samples of one work for people.
func table(w io.Writer, k work, samples []sample) {
	fmt.Fprintf(w, "\n## %s\n\n", k.about)
	fmt.Fprintln(w, "| sessions | server | msg/s | CPU s/1000 | p50 ms | p99 ms | PSS MiB |\n|---|---|---|---|---|---|---|")
	for _, c := range k.sessions {
		var rates, cpus []float64
		for _, server := range []string{"postoffice", "Postfix"} {
			mine := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.Server != server || s.Sessions != c })
			cell := func(format string, get func(sample) float64) string {
				med, low, high := median(mine, get)
				return fmt.Sprintf(format+" ["+format+".."+format+"]", med, low, high)
			}
			fmt.Fprintf(w, "| %d | %s | %s | %s | %s | %s | %s |\n", c, server,
				cell("%.0f", func(s sample) float64 { return s.Rate }), cell("%.2f", func(s sample) float64 { return s.CPU }),
				cell("%.2f", func(s sample) float64 { return s.P50 }), cell("%.1f", func(s sample) float64 { return s.P99 }),
				cell("%.0f", func(s sample) float64 { return s.PSS }))
			rate, _, _ := median(mine, func(s sample) float64 { return s.Rate })
			cpu, _, _ := median(mine, func(s sample) float64 { return s.CPU })
			rates, cpus = append(rates, rate), append(cpus, cpu)
		}
		fmt.Fprintf(w, "| %d | **ratio of medians** | **%.2f x** | **%.2f x** | | | |\n", c, rates[0]/rates[1], cpus[0]/cpus[1])
	}
}

// ms is d in milliseconds.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
