// Package sasl is the server side of SASL (RFC 4422) for doors: it offers the
// mechanisms that an accounts.Authenticator can check and leads one exchange.
//
// PLAIN (RFC 4616) and LOGIN send the password, SCRAM-SHA-256 (RFC 5802, RFC 7677)
// proves it, and SCRAM-SHA-256-PLUS proves too that nobody sits between client and
// door (channel binding: RFC 5929, RFC 9266). OAUTHBEARER (RFC 7628) and XOAUTH2
// bring a token; EXTERNAL (RFC 4422) refers to the certificate of the client. Each
// is offered where the Authenticator can check it, and nothing on a connection
// without TLS unless that was asked for.
//
// Who logs in may ask to act as someone else, with an authorization identity. That
// is for an accounts.Impersonator to grant, after the login, and refused else.
//
// A door decodes base64, strictly, deals with "*", and keeps the exchange to one
// goroutine.
package sasl

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	gosasl "github.com/emersion/go-sasl"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

// The names of the mechanisms.
const (
	Plain       = "PLAIN"
	Login       = "LOGIN"
	SCRAMSHA256 = "SCRAM-SHA-256"

	SCRAMSHA256Plus = "SCRAM-SHA-256-PLUS"
	OAuthBearer     = "OAUTHBEARER"
	XOAuth2         = "XOAUTH2"
	External        = "EXTERNAL"
)

// MaxResponse is the most bytes that a client may send at a time, without base64:
// tokens are long. Mechanisms without tokens take less.
const MaxResponse = 6144

var (
	// ErrUnsupported means that a mechanism is not offered here.
	ErrUnsupported = errors.New("sasl: unsupported mechanism")
	// ErrNeedsTLS means that it will be, once the connection is encrypted.
	ErrNeedsTLS = errors.New("sasl: encryption needed")
	// ErrMalformed means that a response is not of the form that the mechanism
	// has.
	ErrMalformed = errors.New("sasl: malformed response")
	// ErrDowngrade means that the client could have used channel binding, and
	// was made to believe that the door could not (RFC 5802, 6).
	ErrDowngrade = errors.New("sasl: client does not see that channel binding is offered")
)

// A Server leads one exchange; it is that of package go-sasl. Next is called with
// the client's initial response, nil if there was none, and then with its answer
// to each challenge. done is only true with a nil error, and then the client has
// logged in.
//
// An error ends the exchange. errors.Is tells accounts.ErrBadCredentials,
// accounts.ErrMayNotAct, accounts.ErrThrottled, ErrMalformed and ErrDowngrade from
// others, which mean that it could not be checked; its text can be shown to the
// client. A client that ends the exchange itself may have failed before: see Failed.
type Server = gosasl.Server

// An Offer says which mechanisms a door has. Auth is required.
type Offer struct {
	Auth accounts.Authenticator
	// Insecure offers mechanisms on connections without TLS, too.
	Insecure bool
	// Channel is the TLS of the connection. Without it there is no channel
	// binding, and no EXTERNAL.
	Channel *Channel
}

// Mechanisms returns the names of what is offered, best first, and nothing where
// tls is false, unless Insecure is set.
func (o Offer) Mechanisms(tls bool) (names []string) {
	if o.Auth == nil || !tls && !o.Insecure {
		return nil
	}
	if _, ok := accounts.CertificatesOf(o.Auth); ok && o.Channel.verified() != nil {
		names = append(names, External)
	}
	if _, ok := accounts.SCRAMOf(o.Auth); ok {
		if o.Channel.bindable() {
			names = append(names, SCRAMSHA256Plus)
		}
		names = append(names, SCRAMSHA256)
	}
	if _, ok := accounts.TokensOf(o.Auth); ok {
		names = append(names, OAuthBearer, XOAuth2)
	}
	if accounts.HasPasswords(o.Auth) {
		names = append(names, Plain, Login)
	}
	return names
}

// Start begins an exchange, or returns ErrUnsupported or ErrNeedsTLS. The name of
// the mechanism has no case. a says where the client is; its Login and Password
// come from the exchange. done is called once, before Next returns true. ctx is
// for all of the exchange.
func (o Offer) Start(ctx context.Context, mech string, a accounts.Attempt, done func(accounts.Login)) (Server, error) {
	mech = strings.ToUpper(mech)
	if !slices.Contains(o.Mechanisms(a.TLS), mech) {
		if slices.Contains(o.Mechanisms(true), mech) {
			return nil, ErrNeedsTLS
		}
		return nil, ErrUnsupported
	}
	x := &exchange{ctx: ctx, auth: o.Auth, a: a, channel: o.Channel, done: done}
	var s gosasl.Server
	switch mech {
	case Plain:
		s = newPlain(x)
	case Login:
		s = &login{exchange: x}
	case OAuthBearer:
		s = &bearer{exchange: x, parse: parseOAuthBearer, report: reportOAuthBearer}
	case XOAuth2:
		s = &bearer{exchange: x, parse: parseXOAuth2, report: reportXOAuth2}
	case External:
		s = &external{exchange: x}
	default:
		s = &scramServer{exchange: x, plus: mech == SCRAMSHA256Plus}
	}
	return &guard{inner: s}, nil
}

// Failed returns the error with which a login has failed of which the client was told
// in a challenge (RFC 7628, 3.2.3), or nil. A client that then sends "*" has failed
// all the same.
func Failed(s Server) error {
	if g, ok := s.(*guard); ok {
		if b, ok := g.inner.(*bearer); ok && b.failed != nil {
			return show(b.failed)
		}
	}
	return nil
}

// exchange is what the mechanisms share.
type exchange struct {
	ctx     context.Context
	auth    accounts.Authenticator
	a       accounts.Attempt
	channel *Channel
	done    func(accounts.Login)
}

// check looks at a password.
func (x *exchange) check(authzid, login, password string) error {
	if err := x.identify(authzid, login); err != nil {
		return err
	}
	if strings.IndexByte(password, 0) >= 0 {
		return ErrMalformed
	}
	x.a.Password = password
	l, err := x.auth.Authenticate(x.ctx, x.a)
	if err == nil {
		l, err = x.act(l, authzid)
	}
	if err == nil {
		x.done(l)
	}
	return err
}

// identify sets the login.
func (x *exchange) identify(authzid, login string) error {
	if !name(login) || authzid != "" && !name(authzid) {
		return ErrMalformed
	}
	x.a.Login = login
	return nil
}

// name reports whether s can be a login.
func name(s string) bool {
	return s != "" && len(s) <= 512 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// act makes a Login one with which by acts as authzid, if there is such a one.
func (x *exchange) act(by accounts.Login, authzid string) (accounts.Login, error) {
	if authzid == "" || accounts.SameLogin(authzid, x.a.Login) {
		return by, nil
	}
	i, ok := accounts.ImpersonatorOf(x.auth)
	if !ok {
		return accounts.Login{}, accounts.ErrMayNotAct
	}
	return i.Impersonate(x.ctx, by, authzid)
}

// guard bounds what goes into a mechanism and makes what comes out fit to show.
type guard struct {
	inner gosasl.Server
	over  bool
}

// most is how long a response may be. Only tokens are long; of the others a part is
// held, some of it twice, while the client is waited for.
func (g *guard) most() int {
	switch g.inner.(type) {
	case *bearer:
		return MaxResponse
	case *scramServer: // two names, and a nonce or a proof
		return 1280
	}
	return 3072 // two names and a password
}

// Most is how many bytes the client may send at a time in this exchange, at most
// MaxResponse: doors need not read more.
func Most(s Server) int {
	if g, ok := s.(*guard); ok {
		return g.most()
	}
	return MaxResponse
}

func (g *guard) Next(response []byte) (challenge []byte, done bool, err error) {
	if g.over {
		return nil, false, show(ErrMalformed)
	}
	if most := g.most(); len(response) > most {
		err = ErrMalformed
	} else {
		challenge, done, err = g.inner.Next(response)
	}
	if err != nil {
		g.over = true
		return nil, false, show(err)
	}
	g.over = done
	return challenge, done, nil
}

// A failure is an error with a text for the client.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// show gives an error a text that says no more than the client may know.
func show(err error) error {
	switch {
	case errors.Is(err, accounts.ErrBadCredentials):
		return &failure{"authentication failed", err}
	case errors.Is(err, accounts.ErrMayNotAct):
		return &failure{"not authorized to act as another", err}
	case errors.Is(err, ErrDowngrade):
		return &failure{"channel binding is offered, and somebody hides that", err}
	case errors.Is(err, accounts.ErrThrottled):
		return &failure{"too many failed logins, try again later", err}
	case errors.Is(err, ErrMalformed):
		return &failure{"malformed authentication response", err}
	}
	return &failure{"authentication is temporarily unavailable", err}
}

// Reply is the SMTP reply to an error of Start or Next (RFC 4954, 4 and 6), which
// other doors may take the enhanced code and text from.
func Reply(err error) *mailkeel.Error {
	e := &mailkeel.Error{Code: 454, Enhanced: [3]int{4, 7, 0}, Message: show(err).Error(), Err: err}
	switch {
	case errors.Is(err, ErrUnsupported):
		e.Code, e.Enhanced, e.Message = 504, [3]int{5, 5, 4}, "unsupported authentication mechanism"
	case errors.Is(err, ErrNeedsTLS):
		e.Code, e.Enhanced, e.Message = 538, [3]int{5, 7, 11}, "encryption required for authentication"
	case errors.Is(err, accounts.ErrBadCredentials), errors.Is(err, accounts.ErrMayNotAct), errors.Is(err, ErrDowngrade):
		e.Code, e.Enhanced = 535, [3]int{5, 7, 8}
	case errors.Is(err, ErrMalformed):
		e.Code, e.Enhanced = 501, [3]int{5, 5, 2}
	}
	return e
}
