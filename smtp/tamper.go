package smtp

import (
	"strings"

	"github.com/mailkeel/mailkeel/internal/tamper"
)

// tampered asks Server.Tamper at a point of the dialog, and reports whether that has
// answered in our place. each is how many replies are due: more than one at the end
// of content over LMTP.
func (w *wire) tampered(point string, each int, size int64) bool {
	s := w.c.s
	if s.Tamper == nil {
		return false
	}
	m := tamper.Moment{Door: s.door(), Local: w.c.g.LocalAddr().String(), Point: point, Login: string(w.c.origin.Identity), Size: size, Flush: func() { w.c.g.Flush() }}
	if _, arg, ok := strings.Cut(string(w.line), " "); ok {
		m.Arg = arg
	}
	if session := w.c.session; session != nil && session.tx != nil {
		m.From = session.tx.env.From
		for _, r := range session.tx.env.Rcpts {
			m.To = append(m.To, r.Addr)
		}
	}
	act := s.Tamper.Ask(w.c.g.Context(), m)
	if act == nil {
		return false
	}
	for range each {
		for _, line := range act.Reply {
			w.say(line)
		}
	}
	if top := w.conn(); top != nil && act.Raw != nil {
		top.Write(act.Raw)
	}
	if act.Close {
		w.c.g.Poison()
	}
	return true
}
