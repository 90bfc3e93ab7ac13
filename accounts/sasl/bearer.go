package sasl

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
)

// bearer is OAUTHBEARER (RFC 7628) and, with another form of messages, XOAUTH2. A
// client whose token is not taken is told why, in JSON, in a challenge that it
// answers with nothing of worth; then the exchange fails.
type bearer struct {
	*exchange
	parse  func(response string) (login, token string, err error)
	report func(*accounts.TokenError) any
	failed error
}

func (b *bearer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case b.failed != nil:
		return nil, false, b.failed
	case response == nil:
		return []byte{}, false, nil
	}
	if b.a.Login, b.a.Password, err = b.parse(string(response)); err != nil {
		return nil, false, err
	}
	auth, ok := accounts.TokensOf(b.auth)
	if !ok { // not any more
		return nil, false, accounts.ErrBadCredentials
	}
	l, err := auth.AuthenticateToken(b.ctx, b.a)
	empty := b.a.Password == ""
	b.a.Login, b.a.Password = "", "" // not held while the client is waited for
	switch {
	case err == nil && empty:
		err = accounts.ErrBadCredentials
	case err == nil:
		b.done(l)
		return nil, true, nil
	}
	if !errors.Is(err, accounts.ErrBadCredentials) {
		return nil, false, err
	}
	told := new(accounts.TokenError)
	errors.As(err, &told)
	challenge, jerr := json.Marshal(b.report(told))
	if jerr != nil {
		return nil, false, err
	}
	b.failed = err
	return challenge, false, nil
}

// pairs reads key=value pairs, each ended by 0x01, and one more 0x01 (RFC 7628,
// 3.1). Those of keys that are not known are passed over.
func pairs(s string, each func(key, value string)) error {
	for {
		pair, rest, ok := strings.Cut(s, "\x01")
		switch {
		case !ok:
			return ErrMalformed
		case pair == "" && rest == "":
			return nil
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" || strings.ContainsFunc(key, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) {
			return ErrMalformed
		}
		each(strings.ToLower(key), value)
		s = rest
	}
}

// token takes a token out of "Bearer <token>" (RFC 6750, 2.1). Nothing at all is the
// question what is needed.
func token(auth string) (string, error) {
	if auth == "" {
		return "", nil
	}
	scheme, t, ok := strings.Cut(auth, " ")
	t = strings.TrimLeft(t, " ")
	body := strings.TrimRight(t, "=")
	if !ok || !strings.EqualFold(scheme, "Bearer") || body == "" || strings.ContainsFunc(body, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	}) {
		return "", ErrMalformed
	}
	return t, nil
}

// parseOAuthBearer reads a GS2 header (RFC 5801, 4) and pairs. Host and port are of
// no use here: TLS has told that it is us.
func parseOAuthBearer(response string) (login, tok string, err error) {
	flag, rest, ok := strings.Cut(response, ",")
	authzid, rest, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 || flag != "n" && flag != "y" || !strings.HasPrefix(rest, "\x01") {
		return "", "", ErrMalformed
	}
	if authzid != "" {
		if login, ok = strings.CutPrefix(authzid, "a="); !ok {
			return "", "", ErrMalformed
		}
		if login, ok = saslname(login); !ok || !name(login) {
			return "", "", ErrMalformed
		}
	}
	found := 0
	auth := ""
	if err := pairs(rest[1:], func(key, value string) {
		if key == "auth" {
			auth = value
			found++
		}
	}); err != nil || found != 1 {
		return "", "", ErrMalformed
	}
	tok, err = token(auth)
	return login, tok, err
}

// saslname undoes what keeps commas out of names (RFC 5801, 4).
func saslname(s string) (string, bool) {
	left := strings.NewReplacer("=2C", "", "=3D", "").Replace(s)
	if strings.ContainsAny(left, "=,") {
		return "", false
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), true
}

// parseXOAuth2 reads the older form, of Google, which names who it is.
func parseXOAuth2(response string) (login, tok string, err error) {
	auth := ""
	users, auths := 0, 0
	err = pairs(response, func(key, value string) {
		switch key {
		case "user":
			login = value
			users++
		case "auth":
			auth = value
			auths++
		}
	})
	if err != nil || users != 1 || auths != 1 || !name(login) {
		return "", "", ErrMalformed
	}
	tok, err = token(auth)
	return login, tok, err
}

// reportOAuthBearer is RFC 7628, 3.2.2.
func reportOAuthBearer(e *accounts.TokenError) any {
	return struct {
		Status  string `json:"status"`
		Schemes string `json:"schemes,omitempty"`
		Scope   string `json:"scope,omitempty"`
		Config  string `json:"openid-configuration,omitempty"`
	}{cmp.Or(e.Status, "invalid_token"), "bearer", e.Scope, e.OpenIDConfiguration}
}

// reportXOAuth2 has the number of an HTTP status.
func reportXOAuth2(e *accounts.TokenError) any {
	status := "401"
	if e.Status != "" && e.Status != "invalid_token" {
		status = "400"
	}
	return struct {
		Status  string `json:"status"`
		Schemes string `json:"schemes"`
		Scope   string `json:"scope,omitempty"`
	}{status, "bearer", e.Scope}
}
