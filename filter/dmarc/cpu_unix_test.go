//go:build unix

package dmarc_test

import (
	"syscall"
	"time"
)

// cpuTime is how much processor time this process has had.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
