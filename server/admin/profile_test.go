package admin_test

import (
	"context"
	"strings"
	"testing"
)

func TestProfilesAreOfTheServer(t *testing.T) {
	r := newRig(t)
	r.expect("profile heap", 1, "no server runs there")
	r.Clock = nil // a profile takes real time
	stop, err := r.Offer(r.cli.Socket(r.cli.Dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	r.busy = true
	for _, line := range []string{"profile heap", "profile allocs", "profile goroutine", "profile cpu -for 20ms"} {
		if out := r.expect(line, 0); !strings.HasPrefix(out, "\x1f\x8b") { // gzip, as go tool pprof reads it
			t.Errorf("%s: %d bytes, %.20q", line, len(out), out)
		}
	}
	r.expect("profile goroutine -json", 0, `{"data":"H4s`)
	r.expect("profile", 2, "give one kind")
	r.expect("profile threads", 2, "only: cpu, heap")
	r.expect("profile cpu -for 20m", 2, "not between 0 and 10m")
}
