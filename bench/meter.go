package main

import (
	"os"
	"os/exec"
	"time"

	"github.com/mailkeel/mailkeel/bench/proctree"
)

// A meter sees what a run costs, and what others do meanwhile.
type meter struct {
	pids               []int
	start              time.Time
	server, own, whole float64
}

// begin waits for a quiet machine and starts to count.
func (o *options) begin(pids []int) meter {
	o.quiet()
	return meter{pids, time.Now(), proctree.CPU(pids...), proctree.Own(os.Getpid()), proctree.Busy()}
}

// end returns the seconds that the server has used of the processors, and how many
// processors others kept busy.
func (m *meter) end() (used, noise float64) {
	took := time.Since(m.start).Seconds()
	used = proctree.CPU(m.pids...) - m.server
	noise = (proctree.Busy() - m.whole - used - (proctree.Own(os.Getpid()) - m.own)) / took
	return used, max(noise, 0)
}

// Quiet is a machine on which less than this much of one processor is used.
const (
	quietBelow = 0.2
	quietEvery = 200 * time.Millisecond
)

// quiet writes out what earlier runs left behind, and waits until nothing works on
// the machine any more; for either at most -settle.
func (o *options) quiet() {
	if o.settle <= 0 {
		return
	}
	written := make(chan error, 1)
	go func() { written <- exec.Command("sync", "-f", o.dir).Run() }()
	select {
	case <-written: // if it failed, the runs are just noisier
	case <-time.After(o.settle):
	}
	for until := time.Now().Add(o.settle); time.Now().Before(until); {
		was := proctree.Busy()
		time.Sleep(quietEvery)
		if (proctree.Busy()-was)/quietEvery.Seconds() < quietBelow {
			return
		}
	}
}
