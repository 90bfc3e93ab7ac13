package smtp

import (
	"errors"
	"io"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/addr"
)

// session is what the engine calls: between an EHLO and STARTTLS or the end.
type session struct {
	c    *conn
	conn *gosmtp.Conn
	tx   *transaction // nil before MAIL
	sp   *spool       // of tx, once content came
	// deadline is for all of the content.
	deadline time.Time
}

// A transaction is one message.
type transaction struct {
	c    *conn
	env  mailkeel.Envelope // its Rcpts grow at the end and do not change
	size int64             // that the client announced
	// given has an element for each RCPT command: where in at the positions in
	// env.Rcpts of its recipients end.
	given   []int32
	at      []int32
	first   string  // the address of the first RCPT
	index   []int32 // see find
	next    int     // the next Index
	bytes   int     // of memory, about
	with    string
	verdict filter.Verdict
	drop    []bool // for each of env.Rcpts: a filter discards it
	utf8    bool   // the client asked for SMTPUTF8
	over    bool   // filters were told
}

var (
	_ gosmtp.Session     = (*session)(nil)
	_ gosmtp.AuthSession = (*session)(nil)
)

// newSession is called at the first EHLO of a connection, and at the first after
// STARTTLS.
func newSession(gc *gosmtp.Conn) (gosmtp.Session, error) {
	w, ok := gc.Conn().(*wire)
	if !ok {
		return nil, errors.New("smtp: not our connection")
	}
	if r := w.c.verdict.Refuse; r != nil {
		return nil, toWire(r, "")
	}
	w.c.session = &session{c: w.c, conn: gc}
	return w.c.session, nil
}

// Reset ends the transaction: after RSET, EHLO and a message.
func (s *session) Reset() {
	s.drop()
	s.tx.done(nil)
	s.tx = nil
	s.c.setBusy(false)
}

// drop forgets the chunks that came.
func (s *session) drop() {
	if s.sp != nil {
		s.sp.close()
		s.sp = nil
	}
}

// Logout ends the session: at the end of the connection and before STARTTLS.
func (s *session) Logout() error {
	s.Reset()
	s.c.session = nil
	return nil
}

// Data is not called: wire takes DATA for itself.
func (s *session) Data(io.Reader) error {
	s.c.w.last("421 4.3.0 internal error")
	return errors.New("smtp: the engine has got hold of DATA")
}

// path is the address of the MAIL or RCPT command that is being handled. The
// engine takes quotes away and lets nonsense pass, so it is read anew.
func (s *session) path(keyword string) string {
	line := s.c.w.line
	if len(line) < 5 {
		return ""
	}
	arg := strings.TrimLeft(string(line[5:]), " \t")
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return ""
	}
	arg = strings.TrimLeft(arg[len(keyword):], " \t")
	quoted := false
	for i := 0; i < len(arg); i++ {
		switch b := arg[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '>' && arg[0] == '<':
			return arg[:i+1]
		case (b == ' ' || b == '\t') && arg[0] != '<':
			return arg[:i]
		}
	}
	return arg
}

// parse reads an address, with the last digit of the enhanced code for a bad one.
func parse(path string, utf8 bool, bad int) (addr.Mailbox, error) {
	m, err := addr.Parse(path, utf8)
	switch {
	case errors.Is(err, addr.ErrUTF8): // RFC 6531, 3.5
		return m, no(553, [3]int{5, 6, 7}, "address needs SMTPUTF8")
	case errors.Is(err, addr.ErrLength):
		return m, no(501, [3]int{5, 1, bad}, "address too long")
	case err != nil:
		return m, no(501, [3]int{5, 1, bad}, "bad address syntax")
	}
	return m, nil
}

// word makes a name from the peer fit for a header field: what no name has
// becomes a question mark.
func word(s string, most int) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._:[]", r):
			return r
		}
		return '?'
	}, s[:min(len(s), most)])
}
