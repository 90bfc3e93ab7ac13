package smtp

import (
	"context"
	"errors"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// Mail begins a transaction.
func (s *session) Mail(_ string, o *gosmtp.MailOptions) error {
	if err := s.mail(o); err != nil {
		s.c.log().Info("smtp: sender refused", "hello", s.c.origin.Hello, "from", shown(s.path("FROM:")), "err", err)
		return toWire(err, "")
	}
	s.c.setBusy(true)
	return nil
}

func (s *session) mail(o *gosmtp.MailOptions) error {
	c, srv := s.c, s.c.s
	if c.g.Stopping() {
		c.w.last("421 4.3.2 " + srv.Hostname + " is shutting down")
		return no(421, [3]int{4, 3, 2}, "shutting down")
	}
	if s.tx != nil {
		return no(503, [3]int{5, 5, 1}, "nested MAIL command") // RFC 5321, 3.3
	}
	c.origin.Hello = word(s.conn.Hostname(), 255)
	if srv.Submission && c.origin.Identity == "" {
		return no(530, [3]int{5, 7, 0}, "authentication required") // RFC 4954, 6
	}
	if o.RequireTLS && c.tls == nil {
		return no(530, [3]int{5, 7, 10}, "REQUIRETLS needs TLS") // RFC 8689, 4.1
	}
	if len(o.EnvelopeID) > 100 { // RFC 3461, 4.4
		return no(501, [3]int{5, 5, 4}, "ENVID too long")
	}
	tx := &transaction{c: c, size: o.Size, utf8: o.UTF8, verdict: c.verdict}
	if path := s.path("FROM:"); path != "<>" {
		m, err := parse(path, o.UTF8, 7)
		if err != nil {
			return err
		}
		tx.env.From = m.String()
		tx.env.UTF8 = !m.ASCII()
	}
	if err := c.maySend(tx.env.From); err != nil {
		return err
	}
	origin := c.origin
	origin.Time = srv.now()
	tx.env.Origin = &origin
	tx.env.ID = newID(origin.Time)
	tx.env.Submitter = origin.Identity
	tx.env.RequireTLS = o.RequireTLS
	tx.env.Return, tx.env.EnvelopeID = string(o.Return), o.EnvelopeID
	tx.with = c.protocol()
	if v := tx.judge(filter.Sender, nil, nil); v.Refuse != nil {
		tx.done(nil)
		return v.Refuse
	}
	s.tx = tx
	return nil
}

// maySend says whether who has logged in may use an address. Others may use any,
// and anyone may send reports, whose sender is empty.
func (c *conn) maySend(from string) error {
	id := c.origin.Identity
	if id == "" || from == "" || c.s.Directory == nil {
		return nil
	}
	ctx, cancel := c.context()
	defer cancel()
	ok, err := c.s.Directory.MaySend(ctx, id, from)
	switch {
	case err != nil:
		return c.lookup(ctx, err)
	case !ok:
		return no(553, [3]int{5, 7, 1}, "sender address not owned by the account that has logged in")
	}
	return nil
}

// lookup is the reply when the directory cannot tell.
func (c *conn) lookup(ctx context.Context, err error) error {
	if e := (*mailkeel.Error)(nil); errors.As(err, &e) {
		return err
	}
	e := no(451, [3]int{4, 3, 0}, "cannot look up the address now")
	e.Err = err
	return e
}

// protocol is the word after "with" (RFC 3848; RFC 6531 is added later).
func (c *conn) protocol() string {
	p := "SMTP"
	if c.s.LMTP {
		p = "LMTP"
	} else if c.w.esmtp {
		p = "ESMTP"
	}
	if c.tls != nil {
		p += "S"
	}
	if c.origin.Identity != "" {
		p += "A"
	}
	return p
}
