package smtp

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/tamper"
)

// errAborted means that the connection ended, or ends, within content. The client
// was told, if it is there.
var errAborted = errors.New("smtp: connection ended within content")

// data does DATA (RFC 5321, 4.1.1.4). It returns what the engine gets.
func (w *wire) data() ([]byte, error) {
	s, ok := w.ready()
	if !ok {
		return nil, nil
	}
	if s.sp != nil {
		w.say("503 5.5.1 message transfer in progress")
		return nil, nil
	}
	w.say("354 end data with <CR><LF>.<CR><LF>")
	s.begin()
	return w.end(w.take(func() error { return w.content(s.sp.Write) }), true)
}

// chunk does BDAT (RFC 3030, 2). A command that does not say how long its chunk is
// leaves no way to tell where the next command begins, and is the last one.
func (w *wire) chunk() ([]byte, error) {
	args := strings.Fields(string(w.line[4:]))
	var size uint64
	err := errors.New("arguments")
	if len(args) == 1 || len(args) == 2 && strings.EqualFold(args[1], "LAST") {
		size, err = strconv.ParseUint(args[0], 10, 62)
	}
	if err != nil {
		w.last("501 5.5.4 bad BDAT command, closing connection")
		return nil, io.EOF
	}
	if most := w.c.s.maxBytes(); int64(size) > 2*most+spare || w.wasted > 2*most+spare {
		w.last("552 5.3.4 message too large, closing connection")
		return nil, io.EOF
	}
	s, ok := w.ready()
	if !ok {
		w.wasted += int64(size)
		if err := w.take(func() error { return w.bytes(int64(size), func([]byte) bool { return true }) }); err != nil {
			return nil, err
		}
		return nil, nil
	}
	if s.sp == nil {
		s.begin()
	}
	if size >= 1<<10 {
		w.junk-- // a chunk of a size that real clients send
	}
	return w.end(w.take(func() error { return w.bytes(int64(size), s.sp.Write) }), len(args) == 2)
}

// ready returns the session if it waits for content, and else says so.
func (w *wire) ready() (*session, bool) {
	s := w.c.session
	switch {
	case s == nil:
		w.say("503 5.5.1 say EHLO first")
	case s.tx == nil:
		w.say("503 5.5.1 say MAIL first")
	case len(s.tx.given) == 0:
		w.say("503 5.5.1 no valid recipients")
	default:
		return s, true
	}
	return nil, false
}

// begin makes a spool for the transaction.
func (s *session) begin() {
	srv := s.c.s
	s.deadline = time.Now().Add(srv.messageTimeout())
	s.sp = &spool{max: srv.maxBytes(), line: srv.maxLine(), header: srv.maxHeader(), hops: srv.maxHops(),
		own: srv.authservID(), loose: srv.LooseLines, inHeader: true}
	s.sp.w, s.sp.err = srv.Blobs.Create(s.c.g.Context())
}

// take reads content by means of read, within its deadlines. After an error the
// connection is at its end.
func (w *wire) take(read func() error) error {
	c := w.c
	limit := time.Now().Add(c.s.messageTimeout())
	if s := c.session; s != nil && s.sp != nil {
		limit = s.deadline
	}
	c.g.SetLimit(limit)
	c.g.SetIdle(c.s.dataTimeout())
	defer c.g.SetIdle(c.s.commandTimeout())
	err := read()
	var ne net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrShortWrite): // much too much
		w.last("552 5.3.4 message too large, closing connection")
	case errors.As(err, &ne) && ne.Timeout():
		w.last("421 4.4.2 " + c.s.Hostname + " timeout, closing connection")
	default:
		c.g.Poison()
	}
	return errAborted
}

// end answers a piece of content, all of it if last is set, and returns what the
// engine gets.
func (w *wire) end(err error, last bool) ([]byte, error) {
	s := w.c.session
	tx, sp := s.tx, s.sp
	switch {
	case err != nil:
		w.c.log().Info("smtp: message aborted", "id", tx.env.ID, "from", tx.env.From, "bytes", sp.n, "err", err)
		return nil, err
	case !last && sp.bad == nil && sp.err == nil:
		w.say("250 2.0.0 chunk received")
		return nil, nil
	}
	w.shrink() // others can have the large buffer while this one waits for a sync
	each := 1
	if w.c.s.LMTP && last {
		each = len(tx.given)
	}
	if w.tampered(tamper.Content, each, sp.n) {
		tx.done(nil)
		w.hush = true
		return rset, nil
	}
	results, err := tx.receive(sp)
	if w.tampered(tamper.Taken, each, sp.n) {
		tx.done(results)
		w.hush = true
		return rset, nil
	}
	if !w.c.s.LMTP || !last {
		w.say(tx.answer(err, results))
	} else {
		for g := range tx.given { // RFC 2033, 4.2
			var own []mailkeel.Result
			for _, i := range tx.of(g) {
				if results != nil {
					own = append(own, results[i])
				}
			}
			w.say(tx.answer(err, own))
		}
	}
	tx.done(results)
	w.hush = true
	return rset, nil
}

// answer is the reply to the end of content, for the recipients that had results.
func (tx *transaction) answer(err error, results []mailkeel.Result) string {
	how := "filed"
	if err == nil {
		errs := make([]error, len(results))
		for i, r := range results {
			errs[i] = r.Err
			if r.Action == mailkeel.Queued {
				how = "queued"
			}
		}
		err = worst(errs)
	}
	if err != nil {
		return line(toWire(err, tx.env.ID))
	}
	return "250 2.0.0 ok: " + how + " as " + tx.env.ID
}

// receive delivers spooled content. It returns a result for
// each recipient, or an error for all; neither means that it was discarded.
func (tx *transaction) receive(sp *spool) (results []mailkeel.Result, err error) {
	c := tx.c
	defer func() {
		if p := recover(); p != nil {
			c.log().Error("smtp: panic", "id", tx.env.ID, "panic", p, "stack", string(debug.Stack()))
			results, err = nil, no(451, [3]int{4, 3, 0}, "internal error (%s)", tx.env.ID)
		}
	}()
	sp.end()
	if sp.bad != nil {
		c.log().Info("smtp: message refused", "id", tx.env.ID, "from", tx.env.From, "bytes", sp.n, "err", sp.bad)
		return nil, sp.bad
	}
	var body *spooled
	if err = sp.err; err == nil {
		body, err = newSpooled(c.s.Blobs, sp.w, sp.kept)
	}
	if err != nil {
		c.log().Error("smtp: cannot spool", "id", tx.env.ID, "err", err)
		return nil, err
	}
	tx.env.EightBit = sp.eight
	tx.env.UTF8 = tx.env.UTF8 || tx.utf8 && sp.eightTop
	if results, err = tx.finish(body); err == nil {
		c.w.junk, c.w.wasted = 0, 0
	}
	return results, err
}
