package pop3

import (
	"crypto/tls"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

// capa is CAPA (RFC 2449, 5). Those of USER, SASL and STLS are the same in both
// states, as their RFCs ask.
func (c *conn) capa([]string) error {
	s := c.srv
	c.w.raw("+OK Capability list follows")
	c.w.crlf()
	say := func(words ...string) {
		c.w.raw(strings.Join(words, " "))
		c.w.crlf()
	}
	say("TOP")
	say("UIDL")
	say("RESP-CODES")
	say("AUTH-RESP-CODE")
	say("PIPELINING")
	if s.Expire > 0 {
		say("EXPIRE", strconv.Itoa(s.Expire))
	} else {
		say("EXPIRE NEVER")
	}
	if s.LoginDelay > 0 {
		say("LOGIN-DELAY", strconv.FormatInt(int64((s.LoginDelay+time.Second-1)/time.Second), 10))
	}
	say("UTF8 USER")
	if s.TLS != nil && !c.tls {
		say("STLS")
	}
	if c.mayLogin() {
		say("USER")
	}
	if names := c.offer().Mechanisms(c.tls); len(names) > 0 {
		say("SASL", strings.Join(names, " "))
	}
	name := s.Name
	if name == "" {
		name = "mailkeel"
	}
	if s.Version != "" {
		name += "-" + s.Version
	}
	say("IMPLEMENTATION", name)
	c.w.dot()
	return nil
}

// mayLogin reports whether passwords may be sent now.
func (c *conn) mayLogin() bool {
	return (c.tls || c.srv.InsecureAuth) && accounts.HasPasswords(c.srv.Auth)
}

func (c *conn) offer() sasl.Offer {
	o := sasl.Offer{Auth: c.srv.Auth, Insecure: c.srv.InsecureAuth}
	if t, ok := c.net.(*tls.Conn); ok {
		o.Channel = &sasl.Channel{State: t.ConnectionState(), Shown: c.low.Shown(), Unbound: !c.srv.ChannelBinding}
	}
	return o
}
