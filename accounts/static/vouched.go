package static

import (
	"context"
	"crypto/x509"

	"github.com/mailkeel/mailkeel/accounts"
)

var (
	_ accounts.TokenAuthenticator       = (*Directory)(nil)
	_ accounts.CertificateAuthenticator = (*Directory)(nil)
	_ accounts.Impersonator             = (*Directory)(nil)
)

func (d *Directory) vouched() accounts.Vouched {
	return accounts.Vouched{Find: d.find, Tokens: d.Tokens, Certificates: d.Certificates, Impersonation: d.Impersonation}
}

func (d *Directory) find(_ context.Context, address string) (accounts.Login, error) {
	if err := d.Check(); err != nil {
		return accounts.Login{}, err
	}
	if r := d.row(address); r != nil {
		return r.login(), nil
	}
	return accounts.Login{}, accounts.ErrNoUser
}

// HasTokens reports whether Tokens is set.
func (d *Directory) HasTokens() bool { return d.Tokens != nil }

func (d *Directory) AuthenticateToken(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	return d.vouched().Token(ctx, a)
}

// HasCertificates reports whether Certificates is set.
func (d *Directory) HasCertificates() bool { return d.Certificates != nil }

func (d *Directory) AuthenticateCertificate(ctx context.Context, a accounts.Attempt, chain []*x509.Certificate) (accounts.Login, error) {
	return d.vouched().Certificate(ctx, a, chain)
}

// HasImpersonation reports whether Impersonation is set.
func (d *Directory) HasImpersonation() bool { return d.Impersonation }

func (d *Directory) Impersonate(ctx context.Context, by accounts.Login, address string) (accounts.Login, error) {
	return d.vouched().Impersonate(ctx, by, address)
}
