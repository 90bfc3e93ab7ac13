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
// it any more, or -settle is over.
func (o *options) quiet() {
	if o.settle <= 0 {
		return
	}
	exec.Command("sync").Run() // of all file systems; without it, the runs are just noisier
	for until := time.Now().Add(o.settle); time.Now().Before(until); {
		was := proctree.Busy()
		time.Sleep(quietEvery)
		if (proctree.Busy()-was)/quietEvery.Seconds() < quietBelow {
			return
		}
	}
}
