package accounts

import (
	"context"
	"crypto/x509"
)

// Wrap returns a with the limits of l before it. It can what a can: the functions
// that end in Of find in it what they find in a, and it is a PasswordSetter if a is.
func (l *Limiter) Wrap(a Authenticator) Authenticator {
	if p, ok := a.(PasswordSetter); ok {
		return struct {
			limited
			limitedSetter
		}{limited{l, a}, limitedSetter{l, p}}
	}
	return limited{l, a}
}

// through runs fn as an attempt.
func through[T any](ctx context.Context, l *Limiter, a Attempt, fn func() (T, error)) (v T, err error) {
	t, err := l.enter(ctx, a)
	if err != nil {
		return v, err
	}
	ended := false
	defer func() {
		if !ended { // fn panicked
			l.end(ctx, t, errUnchanged)
		}
	}()
	v, err = fn()
	ended = true
	l.end(ctx, t, err)
	return v, err
}

type limited struct {
	l     *Limiter
	inner Authenticator
}

func (x limited) Authenticate(ctx context.Context, a Attempt) (Login, error) {
	return through(ctx, x.l, a, func() (Login, error) { return x.inner.Authenticate(ctx, a) })
}

func (x limited) HasPasswords() bool { return HasPasswords(x.inner) }

func (x limited) HasTokens() bool { _, ok := TokensOf(x.inner); return ok }

func (x limited) AuthenticateToken(ctx context.Context, a Attempt) (Login, error) {
	return through(ctx, x.l, a, func() (Login, error) {
		t, ok := TokensOf(x.inner)
		if !ok {
			return Login{}, ErrBadCredentials
		}
		return t.AuthenticateToken(ctx, a)
	})
}

func (x limited) HasCertificates() bool { _, ok := CertificatesOf(x.inner); return ok }

func (x limited) AuthenticateCertificate(ctx context.Context, a Attempt, chain []*x509.Certificate) (Login, error) {
	return through(ctx, x.l, a, func() (Login, error) {
		c, ok := CertificatesOf(x.inner)
		if !ok {
			return Login{}, ErrBadCredentials
		}
		return c.AuthenticateCertificate(ctx, a, chain)
	})
}

func (x limited) HasImpersonation() bool { _, ok := ImpersonatorOf(x.inner); return ok }

// Impersonate comes after a login, which was counted.
func (x limited) Impersonate(ctx context.Context, by Login, address string) (Login, error) {
	i, ok := ImpersonatorOf(x.inner)
	if !ok {
		return Login{}, ErrMayNotAct
	}
	return i.Impersonate(ctx, by, address)
}

type limitedSetter struct {
	l     *Limiter
	inner PasswordSetter
}

func (x limitedSetter) SetPassword(ctx context.Context, a Attempt, password string) error {
	_, err := through(ctx, x.l, a, func() (struct{}, error) { return struct{}{}, x.inner.SetPassword(ctx, a, password) })
	return err
}

func (x limited) HasSCRAM() bool { _, ok := SCRAMOf(x.inner); return ok }

// SCRAMKeys only looks: there is no guess yet.
func (x limited) SCRAMKeys(ctx context.Context, a Attempt) (SCRAMKeys, error) {
	if err := x.l.look(ctx, a); err != nil {
		return SCRAMKeys{}, err
	}
	s, ok := SCRAMOf(x.inner)
	if !ok {
		return SCRAMKeys{}, ErrBadCredentials
	}
	return s.SCRAMKeys(ctx, a)
}

// SCRAMDone throttles right and wrong proofs alike, so that many exchanges that
// began at one time are not as many guesses.
func (x limited) SCRAMDone(ctx context.Context, a Attempt, ok bool) (Login, error) {
	return through(ctx, x.l, a, func() (Login, error) {
		s, can := SCRAMOf(x.inner)
		if !can {
			return Login{}, ErrBadCredentials
		}
		return s.SCRAMDone(ctx, a, ok)
	})
}
