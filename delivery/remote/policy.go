package remote

import (
	"context"

	"github.com/mailkeel/mailkeel"
)

// A Policy says what encryption domains demand, as MTA-STS (RFC 8461) does. It is
// called from many goroutines, once for each message and domain.
type Policy interface {
	// Demand returns what holds for a domain in lower case A-labels. An error
	// means that it could not be found out; the message waits.
	Demand(ctx context.Context, domain string) (Demand, error)
}

// A Demand is what a session must have. The zero Demand takes what the peer
// offers. What cannot be had is a temporary failure.
type Demand struct {
	Encrypt bool // nothing goes out in the clear
	Verify  bool // the certificate must be good for the host's name; implies Encrypt
	// MX says which hosts are mail servers of the domain; nil means all that the
	// DNS names.
	MX func(host string) bool

	requireTLS bool // the message has REQUIRETLS
}

// demand joins what the domain demands and what the message does (RFC 8689, 4.2):
// for REQUIRETLS the host's name must be authentic, by DNSSEC or the Policy, and
// its certificate good.
func (t *Transport) demand(ctx context.Context, domain string, env *mailkeel.Envelope) (d Demand, err error) {
	if t.Policy != nil {
		if d, err = t.Policy.Demand(ctx, domain); err != nil {
			return d, &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 5}, Message: "cannot find out what security " + domain + " demands", Err: err}
		}
	}
	if env.RequireTLS {
		d.Verify, d.requireTLS = true, true
	}
	d.Encrypt = d.Encrypt || d.Verify
	return d, nil
}
