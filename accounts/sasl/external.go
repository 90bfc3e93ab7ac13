package sasl

import "github.com/mailkeel/mailkeel/accounts"

// external is EXTERNAL (RFC 4422, appendix A): the client has logged in by its
// certificate, and only says as whom. Nothing means as itself.
type external struct{ *exchange }

func (e *external) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, nil
	}
	auth, ok := accounts.CertificatesOf(e.auth)
	e.a.Login = string(response)
	switch {
	case e.a.Login != "" && !name(e.a.Login):
		return nil, false, ErrMalformed
	case !ok: // not any more
		return nil, false, accounts.ErrBadCredentials
	}
	l, err := auth.AuthenticateCertificate(e.ctx, e.a, e.channel.verified())
	if err != nil {
		return nil, false, err
	}
	e.done(l)
	return nil, true, nil
}
