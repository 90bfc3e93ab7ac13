package load_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
)

func ExampleSMTP() {
	sink, err := load.NewSink()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sink.Close()
	r := load.SMTP{Addr: sink.Addr(), Sessions: 4, Messages: 20, To: "u{u}@example.org", Users: 3}.Run(context.Background())
	fmt.Println(r.Sent, r.Failed, r.FirstError, sink.Count())
	// Output: 20 0  20
}

func TestSessionsEnd(t *testing.T) {
	sink, err := load.NewSink()
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	r := load.SMTP{Addr: sink.Addr(), Sessions: 3, Messages: 30, PerSession: 2, To: "u@example.org"}.Run(t.Context())
	if r.Sent != 30 || r.Failed != 0 {
		t.Errorf("%+v", r)
	}
	if err := sink.Wait(t.Context(), 30); err != nil {
		t.Error(err)
	}
}

func TestForATime(t *testing.T) {
	sink, err := load.NewSink()
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	r := load.SMTP{Addr: sink.Addr(), Sessions: 2, For: time.Millisecond, Size: 100, To: "u@example.org"}.Run(t.Context())
	if r.Sent < 2 || r.Failed != 0 || sink.Count() != int64(r.Sent) {
		t.Errorf("%+v, the sink has %d", r, sink.Count())
	}
}

func TestHalfway(t *testing.T) {
	sink, err := load.NewSink()
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	var h load.Half
	defer h.Close()
	if err := h.Halfway(t.Context(), load.SMTP{Addr: sink.Addr(), Sessions: 3, To: "u@example.org"}); err != nil {
		t.Fatal(err)
	}
	if n := sink.Count(); n != 0 {
		t.Errorf("%d messages came to their end", n)
	}
}
