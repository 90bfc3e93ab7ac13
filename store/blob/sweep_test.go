package blob

import (
	"context"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"
)

// aged is a Store of n blobs that were never touched.
type aged struct{ gone map[Ref]bool }

func (aged) Create(context.Context) (Writer, error)                         { panic("not used") }
func (aged) Open(context.Context, Ref, int64, int64) (io.ReadCloser, error) { panic("not used") }
func (aged) Stat(context.Context, Ref) (Info, error)                        { panic("not used") }
func (aged) Touch(context.Context, ...Ref) error                            { panic("not used") }
func (a aged) DeleteOlder(_ context.Context, _ time.Time, rs ...Ref) (int, error) {
	for _, r := range rs {
		a.gone[r] = true
	}
	return len(rs), nil
}

func (a aged) List(context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for i := range 100 {
			if !yield(Info{Ref: Ref(fmt.Sprintf("%03d", i))}, nil) {
				return
			}
		}
	}
}

// asked is a Holder that names each tenth blob and notes the questions.
type asked struct{ sizes []int }

func (h *asked) Unreferenced(_ context.Context, refs []Ref) (free []Ref, err error) {
	h.sizes = append(h.sizes, len(refs))
	for _, r := range refs {
		if r[2] != '0' {
			free = append(free, r)
		}
	}
	return free, nil
}

func TestSweepAsksInBatches(t *testing.T) {
	for batch, want := range map[int]string{7: "15", 50: "2", 100: "1", 1000: "1"} {
		h, s := &asked{}, aged{map[Ref]bool{}}
		n, err := sweep(t.Context(), s, time.Now(), time.Hour, batch, []Holder{h})
		if err != nil || n != 90 || len(s.gone) != 90 || s.gone["010"] || fmt.Sprint(len(h.sizes)) != want {
			t.Errorf("in batches of %d: swept %d, %v; %d gone; asked about %v", batch, n, err, len(s.gone), h.sizes)
		}
	}
}
