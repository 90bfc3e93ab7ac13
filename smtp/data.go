package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/authres"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/store/blob"
)

// content is a spooled message with what stands before it.
type content struct {
	store  blob.Store
	info   blob.Info
	prefix []byte
}

var _ blob.Stored = (*content)(nil)

func (c *content) Size() int64 { return int64(len(c.prefix)) + c.info.Size }

func (c *content) Stored() (blob.Store, blob.Info, []byte) { return c.store, c.info, c.prefix }

func (c *content) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := c.store.Open(ctx, c.info.Ref, 0, -1)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(c.prefix), rc), rc}, nil
}

// with returns the same content with more fields before it.
func (c *content) with(fields []byte) *content {
	n := *c
	n.prefix = slices.Concat(fields, c.prefix)
	return &n
}

// errAborted means that the client went away or thought better of it. Nobody
// hears the reply.
var errAborted = &mailkeel.Error{Code: 421, Enhanced: [3]int{4, 4, 2}, Message: "message transfer aborted"}

// Data receives a message over SMTP.
func (s *session) Data(r io.Reader) error {
	tx, results, err := s.receive(r)
	if err == nil {
		errs := make([]error, len(results))
		for i, r := range results {
			errs[i] = r.Err
		}
		err = worst(errs)
	}
	return tx.reply(err, results)
}

// LMTPData receives a message over LMTP, where each recipient has its answer.
func (s *session) LMTPData(r io.Reader, status gosmtp.StatusCollector) error {
	tx, results, err := s.receive(r)
	if err != nil || results == nil {
		return tx.reply(err, nil)
	}
	for _, g := range tx.given {
		var errs []error
		var rs []mailkeel.Result
		for _, i := range g.rcpts {
			errs, rs = append(errs, results[i].Err), append(rs, results[i])
		}
		status.SetStatus(g.raw, tx.reply(worst(errs), rs))
	}
	return nil
}

// reply is the answer to the end of content.
func (tx *transaction) reply(err error, results []mailkeel.Result) error {
	id := ""
	if tx != nil {
		id = tx.env.ID
	}
	if err != nil {
		return toWire(err, id)
	}
	how := "filed"
	if slices.ContainsFunc(results, func(r mailkeel.Result) bool { return r.Action == mailkeel.Queued }) {
		how = "queued"
	}
	return &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 0, 0}, Message: "ok: " + how + " as " + id}
}

// receive spools content and delivers it. It returns a result for each recipient,
// or an error for all; neither means that the message was discarded.
func (s *session) receive(r io.Reader) (tx *transaction, results []mailkeel.Result, err error) {
	c := s.c
	pipe, chunks := r.(*io.PipeReader)
	synced := chunks // whether the engine knows where the content ends
	defer func() {
		if p := recover(); p != nil {
			c.log().Error("smtp: panic", "id", tx.id(), "panic", p, "stack", string(debug.Stack()))
			results, err = nil, no(451, [3]int{4, 3, 0}, "internal error (%s)", tx.id())
		}
		if !synced {
			c.w.last("451 4.3.0 internal error")
		}
		tx.done(results)
	}()
	var first []byte
	if chunks {
		// Only now is it sure that this is not left over from before a Reset.
		first = make([]byte, dataBuf)
		n, err := pipe.Read(first)
		if err != nil && err != io.EOF {
			return nil, nil, errAborted
		}
		first = first[:n]
	}
	if tx = s.take(); tx == nil {
		return nil, nil, no(503, [3]int{5, 5, 1}, "no transaction")
	}
	sp := c.newSpool()
	if sp.w != nil {
		defer sp.w.Close()
	}
	if chunks {
		err = c.readChunks(pipe, first, sp)
	} else {
		err = c.readData(sp)
		synced = err == nil || c.g.Poisoned()
	}
	if err != nil {
		c.log().Info("smtp: message aborted", "id", tx.env.ID, "bytes", sp.n, "err", err)
		return tx, nil, err
	}
	sp.end()
	if sp.bad != nil {
		c.log().Info("smtp: message refused", "id", tx.env.ID, "from", tx.env.From, "bytes", sp.n, "err", sp.bad)
		return tx, nil, sp.bad
	}
	var info blob.Info
	if err = sp.err; err == nil {
		info, err = sp.w.Commit()
	}
	if err != nil {
		c.log().Error("smtp: cannot spool", "id", tx.env.ID, "err", err)
		return tx, nil, err
	}
	tx.env.EightBit = sp.eight
	tx.env.UTF8 = tx.env.UTF8 || tx.utf8 && sp.eightTop
	results, err = tx.finish(info)
	if err == nil {
		c.w.junk = 0
	}
	return tx, results, err
}

func (tx *transaction) id() string {
	if tx == nil {
		return ""
	}
	return tx.env.ID
}

func (c *conn) newSpool() *spool {
	s := c.s
	sp := &spool{max: s.maxBytes(), line: s.maxLine(), header: s.maxHeader(), hops: s.maxHops(),
		own: s.authservID(), loose: s.LooseLines, inHeader: true}
	sp.w, sp.err = s.Blobs.Create(c.g.Context())
	return sp
}

// readData reads the content of DATA.
func (c *conn) readData(sp *spool) error {
	err := c.w.content(sp.Write)
	var ne net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrShortWrite):
		c.w.last(line(toWire(sp.bad, "")))
		return sp.bad
	case errors.As(err, &ne) && ne.Timeout():
		c.w.last("421 4.4.2 " + c.s.Hostname + " timeout, closing connection")
	default:
		c.g.Poison()
	}
	return errAborted
}

// readChunks reads the content of BDAT, which the engine hands on.
func (c *conn) readChunks(r io.Reader, buf []byte, sp *spool) error {
	n := len(buf)
	buf = buf[:cap(buf)]
	for {
		if n > 0 && !sp.Write(buf[:n]) {
			return sp.bad
		}
		var err error
		if n, err = r.Read(buf); err == io.EOF {
			break
		} else if err != nil {
			return errAborted
		}
	}
	if sp.n != c.w.bytes { // LAST came, but not all that was announced before
		return errAborted
	}
	return nil
}

// finish asks the filters and delivers.
func (tx *transaction) finish(info blob.Info) ([]mailkeel.Result, error) {
	c, s := tx.c, tx.c.s
	body := &content{s.Blobs, info, slices.Concat(tx.verdict.Prefix, tx.received())}
	v := tx.judge(filter.Message, nil, body)
	log := c.log().With("id", tx.env.ID, "from", tx.env.From, "rcpts", len(tx.env.Rcpts), "bytes", info.Size)
	if v.Refuse != nil {
		log.Info("smtp: message refused", "err", v.Refuse, "why", tx.verdict.Why)
		return nil, v.Refuse
	}
	if tx.verdict.Discard {
		log.Info("smtp: message discarded", "why", tx.verdict.Why)
		return nil, nil
	}
	body = body.with(slices.Concat(tx.results(), v.Prefix))

	env := tx.env
	env.Rcpts = slices.Clone(env.Rcpts)
	results := make([]mailkeel.Result, len(env.Rcpts))
	groups := map[string][]int{} // by what stands before the content
	var order []string
	refused := 0
	for i := range env.Rcpts {
		one := v.Rcpts[i]
		env.Rcpts[i].Junk = env.Rcpts[i].Junk || tx.verdict.Junk || one.Junk
		switch {
		case one.Refuse != nil:
			results[i].Err = one.Refuse
			refused++
			continue
		case one.Discard || tx.drop[i]:
			continue
		}
		p := string(one.Prefix)
		if groups[p] == nil {
			order = append(order, p)
		}
		groups[p] = append(groups[p], i)
	}
	if refused > 0 && refused < len(results) && !s.LMTP {
		// There is one answer for all, and a bounce would go to whoever was
		// forged: what a filter refuses for some is dropped for those.
		for i := range results {
			if results[i].Err != nil {
				log.Warn("smtp: dropped for one recipient", "rcpt", env.Rcpts[i].Addr, "err", results[i].Err)
				results[i].Err = nil
			}
		}
	}
	ctx, cancel := c.context()
	defer cancel()
	for _, p := range order {
		at := groups[p]
		rcpts := make([]mailkeel.Recipient, len(at))
		for j, i := range at {
			rcpts[j] = env.Rcpts[i]
		}
		for j, r := range mailkeel.Deliver(ctx, s.Next, env.Only(rcpts...), body.with([]byte(p))) {
			results[at[j]] = r
		}
	}
	for i, r := range results {
		if r.Err != nil {
			log.Warn("smtp: not delivered", "rcpt", env.Rcpts[i].Addr, "err", r.Err)
		}
	}
	log.Info("smtp: message received", "why", tx.verdict.Why)
	return results, nil
}

// results is the Authentication-Results field (RFC 8601) and what the filters
// thought, or nothing if they have found nothing.
func (tx *transaction) results() []byte {
	var b strings.Builder
	v := &tx.verdict
	if len(v.Results) > 0 {
		text := authres.Format(tx.c.s.authservID(), v.Results)
		b.WriteString("Authentication-Results: " + strings.ReplaceAll(oneLine(text), "; ", ";\r\n\t") + "\r\n")
	}
	if v.Score != 0 || v.Junk {
		yes := "No"
		if v.Junk {
			yes = "Yes"
		}
		fmt.Fprintf(&b, "X-Spam-Status: %s, score=%.1f", yes, v.Score)
		if v.Why != "" {
			b.WriteString("\r\n\t(" + strings.NewReplacer("(", "[", ")", "]", "\\", "/").Replace(plain(v.Why)) + ")")
		}
		b.WriteString("\r\n")
	}
	return []byte(b.String())
}

// oneLine takes line breaks and other control characters away.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
