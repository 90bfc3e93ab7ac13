package sasl

import gosasl "github.com/emersion/go-sasl"

// plain is the mechanism PLAIN of go-sasl, with our error for what it cannot read.
type plain struct {
	*exchange
	inner gosasl.Server
	read  bool
}

func newPlain(x *exchange) *plain {
	p := &plain{exchange: x}
	p.inner = gosasl.NewPlainServer(func(authzid, login, password string) error {
		p.read = true
		return p.check(authzid, login, password)
	})
	return p
}

func (p *plain) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = p.inner.Next(response)
	if err != nil && !p.read {
		err = ErrMalformed
	}
	return challenge, done, err
}
