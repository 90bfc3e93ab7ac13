package imap

import (
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/store"
)

// errBadURL means that a URL leads to nothing that the client may read here.
var errBadURL = errors.New("imap: bad URL")

// catenate reads the parts of CATENATE (RFC 4469, 4) into w, one after the other:
// literals, and what the client has in its mailboxes already.
func (in *intake) catenate(w *spool) (err error) {
	cmd := in.cmd
	cmd.want('(')
	for first := true; cmd.ok() && (first || !cmd.take(')')); first = false {
		if !first {
			cmd.sp()
		}
		switch {
		case cmd.word("TEXT"):
			cmd.sp()
			if !cmd.atLiteral() {
				cmd.fail("expected a literal")
			}
			if cmd.ok() {
				err = w.literal()
			}
		case cmd.word("UTF8"): // RFC 6855, 4
			cmd.sp()
			cmd.want('(')
			if !cmd.atLiteral() || !cmd.lit.binary || !in.c.unicode() {
				cmd.fail("UTF8 needs a literal8, and UTF8=ACCEPT to be enabled")
			}
			if cmd.ok() {
				err = w.literal()
			}
			cmd.want(')')
		case cmd.word("URL"):
			cmd.sp()
			if s := cmd.astring(); cmd.ok() {
				err = w.url(s)
			}
		default:
			cmd.fail("expected TEXT or URL")
		}
		if err != nil {
			return err
		}
	}
	return cmd.err
}

// url adds what a URL names.
func (s *spool) url(text string) error {
	in := s.in
	if err := in.may(s, 0); err != nil {
		return err
	}
	rc, err := in.c.openURL(text)
	if errors.Is(err, errBadURL) {
		return no(imap.ResponseCode(`BADURL "`+plainURL(text)+`"`), "CATENATE append has failed")
	} else if err != nil {
		return err
	}
	defer rc.Close()
	if err := s.open(); err != nil {
		return err
	}
	// Its size is not always known before. What does not fit is not written.
	buf := make([]byte, spoolBuffer)
	for {
		n, err := rc.Read(buf)
		if n > 0 {
			if err := in.may(s, int64(n)); err != nil {
				return err
			}
			if _, err := s.w.Write(buf[:n]); err != nil {
				return spooling(err)
			}
			s.size, in.total = s.size+int64(n), in.total+int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// openURL opens what a URL of this server names, or returns errBadURL.
func (c *conn) openURL(text string) (io.ReadCloser, error) {
	u, ok := parseURL(text, c.srv.Hostname)
	if !ok || u.user != "" && u.user != c.user {
		return nil, errBadURL
	}
	box, validity := store.MailboxID(0), uint32(0)
	switch {
	case u.mailbox != "":
		f, err := c.folder(u.mailbox)
		if err != nil {
			return nil, badURL(err)
		}
		box, validity = f.ID, f.UIDValidity
	case c.sel != nil:
		box, validity = c.sel.id, c.sel.snap.box.UIDValidity
	default:
		return nil, errBadURL
	}
	if u.validity != 0 && u.validity != validity {
		return nil, errBadURL
	}
	e, err := c.one(box, u.uid)
	if err != nil {
		return nil, badURL(err)
	}
	x, ok, err := e.locate(u.section.Part, u.section.Specifier)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errBadURL
	}
	if len(u.section.HeaderFields)+len(u.section.HeaderFieldsNot) == 0 {
		return c.open(e, x.partial(u.section.Partial))
	}
	rc, err := c.open(e, x)
	if err != nil {
		return nil, err
	}
	var r io.Reader = header.Select(rc, fieldFilter(u.section))
	if p := u.section.Partial; p != nil {
		if _, err := io.CopyN(io.Discard, r, p.Offset); err != nil && err != io.EOF {
			rc.Close()
			return nil, err
		}
		r = io.LimitReader(r, p.Size)
	}
	return readCloser{r, rc}, nil
}

// badURL is errBadURL for what is not there, or not for this client.
func badURL(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrNoMessage) {
		return errBadURL
	}
	return err
}

// hot reads a message of any mailbox. store.ErrNoMessage if it is not there.
func (c *conn) hot(box store.MailboxID, uid store.UID) (m store.Message, err error) {
	q := store.Query{First: uid, Last: uid}
	err = c.access.Scan(c.ctx, box, q, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) (err error) {
		m = store.Message{}
		for m, err = range ms {
		}
		return err
	})
	if err == nil && m.UID == 0 {
		err = store.ErrNoMessage
	}
	return m, err
}

// one is hot, with the cold row.
func (c *conn) one(box store.MailboxID, uid store.UID) (e *entry, err error) {
	m, err := c.hot(box, uid)
	if err != nil {
		return nil, err
	}
	cold, err := c.access.Cold(c.ctx, box, m.ID)
	if err != nil {
		return nil, err
	}
	e = &entry{msg: &m}
	var ok bool
	if e.cold, ok = cold[m.ID]; !ok {
		return nil, store.ErrDamaged
	}
	return e, e.cold.Check(e.msg)
}

// plainURL makes a URL fit between quotation marks.
func plainURL(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < 1000; i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
