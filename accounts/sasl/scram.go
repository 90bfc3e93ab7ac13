package sasl

import (
	"errors"
	"strings"
	"unicode"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
)

// scramServer is SCRAM-SHA-256 and SCRAM-SHA-256-PLUS. RFC 5802 puts the server's
// signature into the outcome; SMTP and IMAP have no room there, so it is a challenge
// that the client answers with nothing (RFC 4954, 4; RFC 9051, 6.2.2).
type scramServer struct {
	*exchange
	plus  bool
	keys  accounts.SCRAMAuthenticator
	conv  *scram.ServerConversation
	state int // client-first, client-final, the empty answer
	who   accounts.Login
	why   error // of the look-up
}

// begin chooses the channel binding that the client names in its first message
// (RFC 5802, 6). The conversation itself refuses a client that believes that there
// is none, if there is one.
func (s *scramServer) begin(first string) error {
	var ok bool
	if s.keys, ok = accounts.SCRAMOf(s.auth); !ok { // not any more
		return accounts.ErrBadCredentials
	}
	server, err := scram.SHA256.NewServer(s.lookUp)
	if err != nil {
		return err
	}
	flag, _, _ := strings.Cut(first, ",")
	kind, bound := strings.CutPrefix(flag, "p=")
	if bound != s.plus {
		return ErrMalformed
	}
	binding := s.channel.any()
	if bound {
		if binding = s.channel.binding(scram.ChannelBindingType(kind)); !binding.IsSupported() {
			return ErrMalformed
		}
	}
	if flag == "y" && binding.IsSupported() {
		return ErrDowngrade
	}
	s.conv = server.NewConversationWithChannelBinding(binding)
	return nil
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
	if s.state == 1 {
		if err := s.begin(text); err != nil {
			return nil, false, err
		}
	}
	text, err = s.conv.Step(text)
	if s.state == 1 {
		switch {
		case s.why != nil:
			return nil, false, s.why
		case err != nil:
			return nil, false, errors.Join(ErrMalformed, err)
		case s.conv.AuthzID() != "" && !name(s.conv.AuthzID()):
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
	if s.who, err = s.act(s.who, s.conv.AuthzID()); err != nil {
		return nil, false, err
	}
	return []byte(text), false, nil
}
