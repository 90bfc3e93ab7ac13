package sqlaccounts

import (
	"context"
	"crypto/x509"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

var (
	_ accounts.TokenAuthenticator       = (*Directory)(nil)
	_ accounts.CertificateAuthenticator = (*Directory)(nil)
	_ accounts.Impersonator             = (*Directory)(nil)
)

func (d *Directory) vouched() accounts.Vouched {
	return accounts.Vouched{Find: d.find, Tokens: d.Tokens, Certificates: d.Certificates, Impersonation: d.Impersonation}
}

// find looks up who may log in, with a password or without.
func (d *Directory) find(ctx context.Context, address string) (l accounts.Login, err error) {
	err = d.db.View(ctx, func(c sqldb.Conn) error {
		acc, _, err := table{c}.account(`WHERE address = ? AND disabled = 0`, address)
		l = accounts.Login{Account: acc.ID, AdminOf: acc.AdminOf}
		return err
	})
	return l, err
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
