package server

import (
	"context"
	"net/netip"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/submit"
)

// lifted hands what users write to free if they are at a trusted address, where
// rates do not hold, and else to held. Who may send as whom holds everywhere.
type lifted struct {
	trusted    []netip.Prefix
	free, held *submit.Transport
}

var (
	_ mailkeel.Transport = lifted{}
	_ mailkeel.Verifier  = lifted{}
)

func (l lifted) next(env *mailkeel.Envelope) *submit.Transport {
	if env.Origin != nil {
		a := env.Origin.Addr.Addr().Unmap()
		for _, p := range l.trusted {
			if p.Contains(a) {
				return l.free
			}
		}
	}
	return l.held
}

func (l lifted) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	return l.next(env).Deliver(ctx, env, c)
}

func (l lifted) Verify(ctx context.Context, env *mailkeel.Envelope, rcpt mailkeel.Recipient, size int64) error {
	return l.next(env).Verify(ctx, env, rcpt, size)
}
