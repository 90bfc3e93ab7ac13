package dkim_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// gone takes mail for strangers, and refuses one address for good.
type gone struct{ hop *hop }

func (g gone) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	rs := g.hop.Deliver(ctx, env, c)
	for i, r := range env.Rcpts {
		if r.Addr == "gone@example.net" {
			rs[i].Err = &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 1}, Message: "no such user"}
		}
	}
	return rs
}

// TestBouncesAreSigned lets a message of a stranger fail that was only passed on: it
// leaves unsigned, and the bounce that its sender gets is signed by the domain above our
// host's name.
func TestBouncesAreSigned(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	clock, next := &testclock.Clock{}, &hop{}
	out := &queue.Queue{
		Backend: &memqueue.Backend{}, Blobs: &memblob.Store{Clock: clock}, Clock: clock, Hostname: "mx.example.org",
		Next: &dkim.Signer{Next: gone{next}, Keys: ring, Clock: clock},
	}
	done := make(chan error, 1)
	go func() { done <- out.Run(ctx) }()
	env := &mailkeel.Envelope{ID: "m1", From: "zoe@example.com", Origin: &mailkeel.Origin{Hello: "mx.example.com"}, Rcpts: []mailkeel.Recipient{{Addr: "gone@example.net"}}}
	if r := mailkeel.Deliver(ctx, out, env, text(strings.ReplaceAll(mail, "ann@example.org", "zoe@example.com")))[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := out.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(next.got) != 2 {
		t.Fatalf("%d messages left: %q", len(next.got), next.got)
	}
	if strings.Contains(next.got[0], "DKIM-Signature") {
		t.Errorf("what a stranger wrote was signed:\n%s", next.got[0])
	}
	bounce := next.got[1]
	vs := verdicts(t, bounce, zone(t, ring, "example.org"))
	if len(vs) != 2 || vs[0].Err != nil || vs[1].Err != nil || vs[0].Domain != "example.org" || !strings.Contains(bounce, "MAILER-DAEMON@mx.example.org") {
		t.Errorf("%+v\n%s", vs, bounce)
	}
}
