package accounts

import "context"

// Wrap returns a with the limits of l before it. It is a SCRAMAuthenticator, a
// TokenAuthenticator and a PasswordSetter if a is.
func (l *Limiter) Wrap(a Authenticator) Authenticator {
	base := limited{l, a}
	sa, s := SCRAMOf(a)
	ta, t := a.(TokenAuthenticator)
	pa, p := a.(PasswordSetter)
	scram, token, setter := limitedSCRAM{l, sa}, limitedToken{l, ta}, limitedSetter{l, pa}
	switch {
	case s && t && p:
		return struct {
			limited
			limitedSCRAM
			limitedToken
			limitedSetter
		}{base, scram, token, setter}
	case s && t:
		return struct {
			limited
			limitedSCRAM
			limitedToken
		}{base, scram, token}
	case s && p:
		return struct {
			limited
			limitedSCRAM
			limitedSetter
		}{base, scram, setter}
	case t && p:
		return struct {
			limited
			limitedToken
			limitedSetter
		}{base, token, setter}
	case s:
		return struct {
			limited
			limitedSCRAM
		}{base, scram}
	case t:
		return struct {
			limited
			limitedToken
		}{base, token}
	case p:
		return struct {
			limited
			limitedSetter
		}{base, setter}
	}
	return base
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

type limitedToken struct {
	l     *Limiter
	inner TokenAuthenticator
}

func (x limitedToken) AuthenticateToken(ctx context.Context, a Attempt) (Login, error) {
	return through(ctx, x.l, a, func() (Login, error) { return x.inner.AuthenticateToken(ctx, a) })
}

type limitedSetter struct {
	l     *Limiter
	inner PasswordSetter
}

func (x limitedSetter) SetPassword(ctx context.Context, a Attempt, password string) error {
	_, err := through(ctx, x.l, a, func() (struct{}, error) { return struct{}{}, x.inner.SetPassword(ctx, a, password) })
	return err
}

type limitedSCRAM struct {
	l     *Limiter
	inner SCRAMAuthenticator
}

// SCRAMKeys only looks: there is no guess yet.
func (x limitedSCRAM) SCRAMKeys(ctx context.Context, a Attempt) (SCRAMKeys, error) {
	if err := x.l.look(ctx, a); err != nil {
		return SCRAMKeys{}, err
	}
	return x.inner.SCRAMKeys(ctx, a)
}

// SCRAMDone throttles right and wrong proofs alike, so that many exchanges that
// began at one time are not as many guesses.
func (x limitedSCRAM) SCRAMDone(ctx context.Context, a Attempt, ok bool) (Login, error) {
	return through(ctx, x.l, a, func() (Login, error) { return x.inner.SCRAMDone(ctx, a, ok) })
}
