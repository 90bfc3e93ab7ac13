package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
)

// maxRcpts is how many recipients a transaction has: as many as every server
// must take (RFC 5321, 4.5.3.1.8).
const maxRcpts = 100

// window is how many bytes of commands are on their way before their replies are
// read, so that neither side waits for the other's buffer (RFC 2920, 3.1).
const window = 4 << 10

// Deliver sends a message for the recipients of env, in as many transactions as
// the peer wants, and returns a Result for each, in order.
//
// An Err that is ErrSession, for one or more recipients, says that the session
// ended and that the peer did not get to judge them. The session is of no more
// use if Broken says so.
func (c *Client) Deliver(ctx context.Context, env *mailkeel.Envelope, m mailkeel.Content) []mailkeel.Result {
	defer c.bind(ctx)()
	rs := make([]mailkeel.Result, len(env.Rcpts))
	todo := make([]*job, 0, len(env.Rcpts))
	mail, need, err := c.mail(ctx, env, m)
	for i, r := range env.Rcpts {
		rs[i].Hop = c.Host
		if err != nil {
			rs[i].Err = err
			continue
		}
		line, err := c.rcpt(env, r, need)
		if err != nil {
			rs[i].Err = err
			continue
		}
		todo = append(todo, &job{line: line, result: &rs[i]})
	}
	most := maxRcpts
	if n := c.Limit("RCPTMAX"); n > 0 {
		most = min(most, n)
	}
	for len(todo) > 0 {
		n := min(most, len(todo))
		again := c.transaction(ctx, mail, todo[:n], m)
		todo = append(again, todo[n:]...)
	}
	return rs
}

// Limit returns a limit that the peer announced (RFC 9422), zero if none.
func (c *Client) Limit(name string) int {
	for word := range strings.FieldsSeq(c.ext["LIMITS"]) {
		if k, v, ok := strings.Cut(word, "="); ok && strings.EqualFold(k, name) {
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}

// A job is one recipient of a transaction.
type job struct {
	line   string // RCPT with its parameters
	result *mailkeel.Result
	took   bool // RCPT was accepted
}

func (j *job) fail(err error) { j.result.Err = err }

// reply notes what the peer said about a recipient.
func (j *job) reply(r Reply, err error) {
	j.result.Reply = r.String()
	if err == nil && r.Code/100 != 2 {
		err = refusal(r, 250)
	}
	j.result.Err = err
}

// transaction sends the message to some recipients. It returns those that the
// peer wants to have in another transaction.
func (c *Client) transaction(ctx context.Context, mail string, jobs []*job, m mailkeel.Content) (again []*job) {
	lost := func(err error) {
		for _, j := range jobs {
			if j.took || j.result.Err == nil && j.result.Reply == "" {
				j.result.Reply = ""
				j.fail(fmt.Errorf("%w: %w", ErrSession, err))
			}
		}
	}
	if err := c.Broken(); err != nil {
		lost(err)
		return nil
	}
	c.Sent++
	r, err := c.envelope(ctx, mail, jobs)
	if err != nil {
		lost(err)
		return nil
	}
	ok := 0
	for _, j := range jobs {
		if j.took {
			ok++
		}
	}
	if ok > 0 {
		jobs, again = slices.Clone(jobs), nil
		jobs = slices.DeleteFunc(jobs, func(j *job) bool {
			// Too many recipients (RFC 5321, 4.5.3.1.10): they come in the
			// next transaction, for this one has some.
			if j.took || !tooMany(j.result.Err) {
				return false
			}
			*j.result = mailkeel.Result{Hop: c.Host}
			again = append(again, j)
			return true
		})
	}
	switch {
	case r.Code == 354:
		c.content(ctx, jobs, ok, m)
	case r.Code/100 == 4, r.Code/100 == 5: // DATA refused: the answer for all that were taken
		for _, j := range jobs {
			if j.took {
				j.reply(r, nil)
			}
		}
	case r.Code != 0: // what does it wait for now?
		lost(c.fail(fmt.Errorf("%w: %s instead of 354", ErrProtocol, r)))
	}
	return again
}

func tooMany(err error) bool {
	var e *mailkeel.Error
	if !errors.As(err, &e) || e.Code != 452 && e.Code != 552 {
		return false
	}
	return e.Enhanced == [3]int{4, 5, 3} || e.Enhanced == [3]int{5, 5, 3} || e.Enhanced[1] == 0 && e.Code == 452
}

// envelope says MAIL, RCPT and DATA and returns the reply to DATA. Results of
// recipients that were refused are final. With no recipient left and nobody
// waiting for the content the Reply has no Code.
func (c *Client) envelope(ctx context.Context, mail string, jobs []*job) (Reply, error) {
	var waiting []func(Reply) // for the replies to come
	onWay := 0
	command := or(c.o.Timeouts.Command, 5*time.Minute)
	collect := func() error {
		for _, fn := range waiting {
			r, err := c.read(ctx, command)
			if err != nil {
				return err
			}
			fn(r)
		}
		waiting, onWay = nil, 0
		return nil
	}
	_, pipelining := c.Ext("PIPELINING")
	say := func(line string, fn func(Reply)) error {
		if err := c.put(line); err != nil {
			return err
		}
		waiting = append(waiting, fn)
		if onWay += len(line); !pipelining || onWay > window {
			return collect()
		}
		return nil
	}
	if c.dirty {
		if err := say("RSET", func(Reply) {}); err != nil {
			return Reply{}, err
		}
	}
	c.dirty = true
	var refused error // MAIL was
	var reply Reply
	if err := say(mail, func(r Reply) {
		if reply = r; r.Code/100 != 2 {
			refused = refusal(r, 250)
		}
	}); err != nil {
		return Reply{}, err
	}
	taken := 0
	for _, j := range jobs {
		if refused != nil {
			break
		}
		if err := say(j.line, func(r Reply) {
			if refused != nil {
				return // it says nothing about the recipient
			}
			j.reply(r, nil)
			if j.took = j.result.Err == nil; j.took {
				taken++
			}
		}); err != nil {
			return Reply{}, err
		}
	}
	all := func() {
		for _, j := range jobs {
			j.took = false
			j.reply(reply, refused)
		}
	}
	if !pipelining && (refused != nil || taken == 0) {
		if refused != nil {
			all()
		}
		return Reply{}, nil
	}
	if err := c.put("DATA"); err != nil {
		return Reply{}, err
	}
	if err := collect(); err != nil {
		return Reply{}, err
	}
	c.asked = true
	r, err := c.read(ctx, or(c.o.Timeouts.Data, 3*time.Minute))
	c.asked = false
	if refused != nil {
		all()
	}
	return r, err
}

// content sends what stands after 354 and reads the answer, or for LMTP one for
// each recipient that was taken. With none it ends at once (RFC 2920, 3.1).
func (c *Client) content(ctx context.Context, jobs []*job, taken int, m mailkeel.Content) {
	fail := func(err error) {
		for _, j := range jobs {
			if j.took {
				j.result.Reply = ""
				j.fail(err)
			}
		}
	}
	switch {
	case taken == 0 && c.o.LMTP: // there will be no reply at all
		c.fail(fmt.Errorf("%w: 354 without a recipient", ErrProtocol))
		return
	case taken == 0:
		if _, err := c.w.WriteString(".\r\n"); err != nil {
			c.fail(err)
			return
		}
	default:
		if sent, err := c.send(ctx, m); err != nil {
			// The peer must not take half a message for a whole one.
			c.fail(err)
			c.Close()
			if !sent {
				err = fmt.Errorf("%w: %w", ErrSession, err)
			}
			fail(err)
			return
		}
	}
	final := or(c.o.Timeouts.Final, 10*time.Minute)
	if !c.o.LMTP {
		c.due = 1
		r, err := c.read(ctx, final)
		if err != nil { // it may have been taken, so no other hop gets it now
			fail(fmt.Errorf("no answer to the content: %w", err))
			return
		}
		c.dirty = false
		for _, j := range jobs {
			if j.took {
				c.done(j, r)
			}
		}
		return
	}
	c.due = taken
	for _, j := range jobs {
		if !j.took {
			continue
		}
		r, err := c.read(ctx, final)
		if err != nil {
			fail(fmt.Errorf("no answer to the content: %w", err))
			return
		}
		c.done(j, r)
		j.took = false
	}
	c.dirty = false
}

// done notes the answer to the content.
func (c *Client) done(j *job, r Reply) {
	j.reply(r, nil)
	if j.result.Err != nil {
		return
	}
	j.result.Action = mailkeel.Relayed
	if _, ok := c.Ext("DSN"); ok {
		j.result.Action = mailkeel.Handed
	}
}

// send streams the content and its end. After an error, sent says that no other
// hop is to be tried: this one may have all of it, or the content cannot be read.
func (c *Client) send(ctx context.Context, m mailkeel.Content) (sent bool, err error) {
	rc, err := m.Open(ctx)
	if err != nil {
		return true, fmt.Errorf("smtpclient: cannot read the message: %w", err)
	}
	defer rc.Close()
	c.pace = true
	defer func() { c.pace = false }()
	if c.chunk == nil {
		c.chunk = make([]byte, writeBuffer)
	}
	d := &dotWriter{w: c.w}
	n, err := io.CopyBuffer(d, struct{ io.Reader }{rc}, c.chunk)
	switch {
	case d.err != nil:
		return false, c.why(ctx, d.err)
	case err != nil:
		return true, fmt.Errorf("smtpclient: cannot read the message: %w", err)
	case n != m.Size():
		return true, fmt.Errorf("smtpclient: the message has %d bytes instead of %d: %w", n, m.Size(), io.ErrUnexpectedEOF)
	}
	d.Close()
	if err := c.w.Flush(); err != nil {
		return true, c.why(ctx, err)
	}
	return true, nil
}

// paced writes to the connection. In a content, the peer has its time for each
// write; commands are written in the time of their replies.
type paced struct{ c *Client }

func (p paced) Write(b []byte) (int, error) {
	if p.c.pace {
		defer p.c.limit(or(p.c.o.Timeouts.Data, 3*time.Minute))()
	}
	return p.c.conn.Write(b)
}
