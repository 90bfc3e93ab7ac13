package admin

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/control"
)

// profiles are what "profile" knows besides cpu, as runtime/pprof calls them.
var profiles = []string{"heap", "allocs", "goroutine"}

// maxProfile bounds how long a profile of the processor may take.
const maxProfile = 10 * time.Minute

type profileArgs struct {
	Kind string        `json:"kind"`
	For  time.Duration `json:"for,omitempty"` // in nanoseconds; for cpu
}

// profileRow is a part of the profile.
type profileRow struct {
	Data []byte `json:"data"`
}

func parseProfile(fs *flag.FlagSet) func(*input) (any, error) {
	var args profileArgs
	fs.DurationVar(&args.For, "for", 10*time.Second, "how `long` to watch the processor, at most 10m")
	return func(in *input) (any, error) {
		var err error
		args.Kind, err = in.exactly("kind: cpu, " + strings.Join(profiles, ", "))
		return args, err
	}
}

// profile says where the time or memory of the server goes, in the format of go
// tool pprof. It is of the process that serves, so there must be one.
func profile(a *Admin, ctx context.Context, args profileArgs, emit Emit) error {
	if !a.serving {
		return fail("no server runs there", "start it, or give its -dir")
	}
	w := profileWriter(emit)
	if args.Kind != "cpu" {
		if !slices.Contains(profiles, args.Kind) {
			return control.Usagef("there is no profile %q, only: cpu, %s", args.Kind, strings.Join(profiles, ", "))
		}
		return pprof.Lookup(args.Kind).WriteTo(w, 0)
	}
	if args.For <= 0 || args.For > maxProfile {
		return control.Usagef("-for: %v is not between 0 and %v", args.For, maxProfile)
	}
	// The runtime writes when it stops, and tells nobody that this failed.
	var failed error
	err := pprof.StartCPUProfile(writerFunc(func(b []byte) (int, error) {
		n, err := w(b)
		if failed == nil {
			failed = err
		}
		return n, err
	}))
	if err != nil {
		return fail(err.Error(), "somebody else takes a profile; try again when that has ended")
	}
	t := mailkeel.ClockOr(a.Clock).NewTimer(args.For)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
	pprof.StopCPUProfile()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return failed
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// profileWriter emits rows of at most 128 KiB.
func profileWriter(emit Emit) writerFunc {
	return func(b []byte) (int, error) {
		for part := range slices.Chunk(b, 128<<10) {
			if err := emit(profileRow{part}); err != nil {
				return 0, err
			}
		}
		return len(b), nil
	}
}

// rawShower writes the parts as they are, for a file.
type rawShower struct{ w io.Writer }

func showProfile(w io.Writer) shower { return rawShower{w} }

func (s rawShower) row(raw json.RawMessage) error {
	var r profileRow
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("bad answer: %w", err)
	}
	_, err := s.w.Write(r.Data)
	return err
}

func (rawShower) end() error { return nil }
