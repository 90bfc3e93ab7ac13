package sasl

import (
	"errors"
	"strings"
	"unicode"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
)

// scramServer is SCRAM-SHA-256. RFC 5802 puts the server's signature into the
// outcome; SMTP and IMAP have no room there, so it is a challenge that the client
// answers with nothing (RFC 4954, 4; RFC 9051, 6.2.2).
type scramServer struct {
	*exchange
	keys  accounts.SCRAMAuthenticator
	conv  *scram.ServerConversation
	state int // client-first, client-final, the empty answer
	who   accounts.Login
	why   error // of the look-up
}

func newSCRAM(x *exchange) (*scramServer, error) {
	s := &scramServer{exchange: x}
	s.keys, _ = accounts.SCRAMOf(x.auth)
	server, err := scram.SHA256.NewServer(s.lookUp)
	if err != nil {
		return nil, err
	}
	s.conv = server.NewConversation()
	return s, nil
}

// lookUp is called by conv once it knows the login.
func (s *scramServer) lookUp(login string) (c scram.StoredCredentials, err error) {
	var k accounts.SCRAMKeys
	if s.why = s.identify("", login); s.why == nil {
		k, s.why = s.keys.SCRAMKeys(s.ctx, s.a)
	}
	c.KeyFactors = scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations}
	c.StoredKey, c.ServerKey = k.StoredKey, k.ServerKey
	return c, s.why
}

func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if s.state == 0 && response == nil {
		return []byte{}, false, nil
	}
	s.state++
	if s.state == 3 {
		if len(response) > 0 {
			return nil, false, ErrMalformed
		}
		s.done(s.who)
		return nil, true, nil
	}
	text := string(response)
	if strings.ContainsFunc(text, unicode.IsControl) { // encoding/base64 would pass over line breaks
		return nil, false, ErrMalformed
	}
	text, err = s.conv.Step(text)
	if s.state == 1 {
		switch {
		case s.why != nil:
			return nil, false, s.why
		case err != nil:
			return nil, false, errors.Join(ErrMalformed, err)
		case s.conv.AuthzID() != "" && !same(s.conv.AuthzID(), s.conv.Username()):
			return nil, false, ErrMalformed
		}
		return []byte(text), false, nil
	}
	ok := err == nil && s.conv.Valid()
	if s.who, err = s.keys.SCRAMDone(s.ctx, s.a, ok); err != nil {
		return nil, false, err
	}
	if !ok { // an Authenticator must not make yes of no
		return nil, false, accounts.ErrBadCredentials
	}
	return []byte(text), false, nil
}
