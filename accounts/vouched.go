package accounts

import (
	"context"
	"crypto/x509"
	"errors"
)

// Vouched makes the rules for logins that do not come from a password, over what a
// directory finds, so that all directories have the same. A zero field lets nobody
// in.
type Vouched struct {
	// Find returns the Login of the account that has an address in canonical
	// form, with a password or without, or ErrNoUser: for aliases, and for
	// accounts that may not log in. Required.
	Find         func(ctx context.Context, address string) (Login, error)
	Tokens       TokenFunc
	Certificates CertificateFunc
	// Impersonation grants that administrators act as the accounts of the
	// domains that they look after.
	Impersonation bool
}

// Token is TokenAuthenticator.AuthenticateToken.
func (v Vouched) Token(ctx context.Context, a Attempt) (Login, error) {
	if v.Tokens == nil {
		return Login{}, ErrBadCredentials
	}
	address, scopes, err := v.Tokens(ctx, a)
	if err == nil && a.Password == "" {
		err = ErrBadCredentials
	}
	if err != nil {
		return Login{}, err
	}
	return v.as(ctx, address, a.Login, scopes)
}

// Certificate is CertificateAuthenticator.AuthenticateCertificate.
func (v Vouched) Certificate(ctx context.Context, a Attempt, chain []*x509.Certificate) (Login, error) {
	if v.Certificates == nil || len(chain) == 0 {
		return Login{}, ErrBadCredentials
	}
	address, err := v.Certificates(ctx, chain)
	if err != nil {
		return Login{}, err
	}
	return v.as(ctx, address, a.Login, nil)
}

// as is the Login of who has an address and wants to be who.
func (v Vouched) as(ctx context.Context, address, who string, scopes []string) (Login, error) {
	l, err := v.find(ctx, address)
	if errors.Is(err, ErrNoUser) {
		err = ErrBadCredentials
	}
	if err != nil {
		return Login{}, err
	}
	l.Scopes = scopes
	if who == "" || SameLogin(address, who) {
		return l, nil
	}
	return v.Impersonate(ctx, l, who)
}

// Impersonate is Impersonator.Impersonate. Whoever acts as another has no more to
// say than that one: the domains that the other looks after are not passed on.
func (v Vouched) Impersonate(ctx context.Context, by Login, address string) (Login, error) {
	l, err := v.find(ctx, address)
	switch {
	case err != nil && !errors.Is(err, ErrNoUser):
		return Login{}, err
	case err == nil && l.Account == by.Account:
		return by, nil
	case err != nil, !v.Impersonation, by.By != "", !by.Administers(address):
		return Login{}, ErrMayNotAct
	}
	return Login{Account: l.Account, Scopes: by.Scopes, By: by.Account}, nil
}

func (v Vouched) find(ctx context.Context, address string) (Login, error) {
	c, err := Canonical(address)
	if err != nil {
		return Login{}, ErrNoUser
	}
	return v.Find(ctx, c)
}
