package accounts

import (
	"context"
	"crypto/x509"
)

// What follows are interfaces that an Authenticator may implement to do more than
// compare passwords. Doors ask the functions that end in Of, not the type: some
// have the methods, but cannot do it as they are set up or with the accounts they
// have, and say so with a method Has..., without arguments, that returns false.

// A TokenAuthenticator may be implemented by an Authenticator to offer OAUTHBEARER
// (RFC 7628) and XOAUTH2.
type TokenAuthenticator interface {
	// AuthenticateToken checks a bearer token, which is a.Password: that it is
	// genuine, not expired, and meant for this service. None at all is never
	// right: it is the question which *TokenError there is (RFC 7628, 4.3).
	// a.Login is whom the client wants to be; empty for whoever the token is of. ErrBadCredentials,
	// perhaps as a *TokenError; ErrMayNotAct or ErrBadCredentials if the token
	// is of another; ErrThrottled.
	AuthenticateToken(ctx context.Context, a Attempt) (Login, error)
}

// A TokenError is ErrBadCredentials with what the client is told of it (RFC 7628,
// 3.2.2), so that it knows where to get a better token.
type TokenError struct {
	Status string // of RFC 6750, 3.1; empty means "invalid_token"
	Scope  string // that a token needs, if any
	// OpenIDConfiguration is the URL of a document of RFC 8414, if any.
	OpenIDConfiguration string
}

func (e *TokenError) Error() string { return "accounts: bad token" }
func (e *TokenError) Unwrap() error { return ErrBadCredentials }

// TokensOf returns the TokenAuthenticator that a is, if it is one. One that cannot
// check tokens has a method HasTokens() bool that says so.
func TokensOf(a Authenticator) (TokenAuthenticator, bool) {
	t, ok := a.(TokenAuthenticator)
	if h, may := a.(interface{ HasTokens() bool }); may && !h.HasTokens() {
		return nil, false
	}
	return t, ok
}

// A TokenFunc is how an application tells a directory what a bearer token,
// a.Password, is good for: the address of an account and, if it is not for all
// doors, which. It checks issuer, audience, expiry and scope. ErrBadCredentials or a
// *TokenError if it is good for nothing; any other error means that it could not be
// checked. It is called from many goroutines.
type TokenFunc func(ctx context.Context, a Attempt) (address string, scopes []string, err error)

// A CertificateAuthenticator may be implemented by an Authenticator to offer
// EXTERNAL (RFC 4422, appendix A) to clients that have a certificate.
type CertificateAuthenticator interface {
	// AuthenticateCertificate returns whose certificate chain[0] is. TLS has
	// verified chain, up to one of the roots that the door trusts in clients
	// (tls.Config.ClientCAs). a.Login is whom the client wants to be; empty for
	// whoever the certificate is of. ErrBadCredentials, ErrMayNotAct,
	// ErrThrottled.
	AuthenticateCertificate(ctx context.Context, a Attempt, chain []*x509.Certificate) (Login, error)
}

// CertificatesOf returns the CertificateAuthenticator that a is, if it is one. One
// that cannot check certificates has a method HasCertificates() bool that says so.
func CertificatesOf(a Authenticator) (CertificateAuthenticator, bool) {
	c, ok := a.(CertificateAuthenticator)
	if h, may := a.(interface{ HasCertificates() bool }); may && !h.HasCertificates() {
		return nil, false
	}
	return c, ok
}

// A CertificateFunc is how an application tells a directory the address of the
// account that a verified certificate is of, or ErrBadCredentials. It is called from
// many goroutines. See CertificateAddress for one.
type CertificateFunc func(ctx context.Context, chain []*x509.Certificate) (address string, err error)

// CertificateAddress is a CertificateFunc that takes the one address in the
// subjectAltName of a certificate, as S/MIME has it (RFC 8550, 3). All who may
// issue certificates that a door trusts can then log in as anybody.
func CertificateAddress(_ context.Context, chain []*x509.Certificate) (string, error) {
	if len(chain) == 0 || len(chain[0].EmailAddresses) != 1 {
		return "", ErrBadCredentials
	}
	return chain[0].EmailAddresses[0], nil
}

// A SCRAMAuthenticator may be implemented by an Authenticator to offer
// SCRAM-SHA-256 without ever seeing a password.
type SCRAMAuthenticator interface {
	// SCRAMKeys returns what is stored for a.Login, or ErrThrottled. For an
	// unknown login it makes keys up, always the same, with the same work.
	SCRAMKeys(ctx context.Context, a Attempt) (SCRAMKeys, error)
	// SCRAMDone is told how the exchange went, for the limiter, and returns
	// the Login if ok.
	SCRAMDone(ctx context.Context, a Attempt, ok bool) (Login, error)
}

// SCRAMOf returns the SCRAMAuthenticator that a is, if it is one and can offer the
// mechanism now. One that has accounts without keys, from an import say, has a
// method HasSCRAM() bool that tells: clients do not fall back from SCRAM to PLAIN.
func SCRAMOf(a Authenticator) (SCRAMAuthenticator, bool) {
	s, ok := a.(SCRAMAuthenticator)
	if h, may := a.(interface{ HasSCRAM() bool }); may && !h.HasSCRAM() {
		return nil, false
	}
	return s, ok
}

// SCRAMKeys are what RFC 5802 has a server store.
type SCRAMKeys struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// An Impersonator may be implemented by an Authenticator to let some accounts act as
// others: the authorization identity of SASL (RFC 4422, 3.4.1).
type Impersonator interface {
	// Impersonate returns the Login with which by, who has just logged in, acts
	// as the account of an address: with its Account, the Scopes of by, no
	// AdminOf, and By. If by may not, or the address is of nobody who may log in,
	// that is ErrMayNotAct, and the same.
	Impersonate(ctx context.Context, by Login, address string) (Login, error)
}

// ImpersonatorOf returns the Impersonator that a is, if it is one. One that lets
// nobody act as another has a method HasImpersonation() bool that says so.
func ImpersonatorOf(a Authenticator) (Impersonator, bool) {
	i, ok := a.(Impersonator)
	if h, may := a.(interface{ HasImpersonation() bool }); may && !h.HasImpersonation() {
		return nil, false
	}
	return i, ok
}

// HasPasswords reports whether a checks passwords at all. One that only takes tokens
// or certificates has a method HasPasswords() bool that returns false.
func HasPasswords(a Authenticator) bool {
	h, may := a.(interface{ HasPasswords() bool })
	return !may || h.HasPasswords()
}

// A PasswordSetter may be implemented by an Authenticator whose users may change
// their own password.
type PasswordSetter interface {
	// SetPassword checks the old password as Authenticate does and returns its
	// errors, or ErrWeakPassword. After nil only the new one holds.
	SetPassword(ctx context.Context, a Attempt, password string) error
}

// SameLogin reports whether two logins are one, whatever their case.
func SameLogin(a, b string) bool {
	ca, err := Canonical(a)
	if err != nil {
		return a == b
	}
	cb, err := Canonical(b)
	return err == nil && ca == cb
}
