package smtp

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/addr"
)

const (
	// maxTargets is how many recipients one RCPT may become: 1,000 by the
	// contract of accounts.Directory, with room for rewriting filters.
	maxTargets = 1000
	// maxEnvelope bounds the memory of an envelope: what recipients take after
	// which a client must begin another message.
	maxEnvelope = 200 << 10
	rcptCost    = 168 // of a recipient, without its strings
	resultCost  = 128 // of what a filter found
)

// rcptOK is a yes in the form of an error: then the engine does not keep a copy of
// each recipient.
var rcptOK = &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 1, 5}, Message: "recipient ok"}

// Rcpt adds a recipient.
func (s *session) Rcpt(_ string, o *gosmtp.RcptOptions) error {
	c, tx := s.c, s.tx
	switch {
	case tx == nil:
		return toWire(no(503, [3]int{5, 5, 1}, "say MAIL first"), "")
	case s.sp != nil:
		return toWire(no(503, [3]int{5, 5, 1}, "message transfer in progress"), "")
	}
	err := s.rcpt(tx, o)
	if err == nil {
		c.w.junk--
		return rcptOK
	}
	c.log().Info("smtp: recipient refused", "id", tx.env.ID, "from", tx.env.From, "to", shown(s.path("TO:")), "err", err)
	if e := (*mailkeel.Error)(nil); mailkeel.Permanent(err) && errors.As(err, &e) && e.Enhanced[1] != 7 || isRelay(err) {
		c.badRcpts++
	}
	out := toWire(err, tx.env.ID)
	if c.badRcpts >= c.s.maxBadRcpts() && !c.trusted && c.origin.Identity == "" {
		c.w.last(line(out), "421 4.7.0 "+c.s.Hostname+" too many bad recipients")
	}
	return out
}

var (
	// errRelay is the answer to recipients that are not ours.
	errRelay  = no(550, [3]int{5, 7, 1}, "relaying denied")
	errNoUser = no(550, [3]int{5, 1, 1}, "no such user here")
)

func isRelay(err error) bool { return err == error(errRelay) }

func (s *session) rcpt(tx *transaction, o *gosmtp.RcptOptions) error {
	c := s.c
	m, err := parse(s.path("TO:"), tx.utf8, 3)
	if err != nil {
		return err
	}
	if len(tx.given) >= c.s.maxRcpts() {
		c.w.junk-- // RFC 5321, 4.5.3.1.10: clients send the rest in another message
		return no(452, [3]int{4, 5, 3}, "too many recipients")
	}
	to := m.String()
	orcpt, err := originalRcpt(o)
	if err != nil {
		return err
	}
	ctx, cancel := c.context()
	defer cancel()
	targets, err := c.resolve(ctx, to)
	if err != nil {
		return err
	}
	rs := tx.recipients(to, targets, mailkeel.Recipient{Orcpt: orcpt, Notify: notify(o.Notify)})

	asked := mailkeel.Recipient{Addr: to, Orcpt: orcpt, Notify: notify(o.Notify), Index: tx.next}
	if len(rs) == 1 {
		asked = rs[0]
	}
	v := tx.judge(filter.Rcpt, &asked, nil)
	if v.Refuse != nil {
		return v.Refuse
	}
	if v.Rewrite != nil {
		if rs, err = c.rewritten(ctx, tx, to, asked, *v.Rewrite); err != nil {
			return err
		}
	}
	if len(rs) > maxTargets {
		return no(452, [3]int{4, 5, 3}, "too many recipients in a group")
	}
	cost := len(v.Prefix) + len(v.Why) + resultCost*len(v.Results)
	for _, r := range rs {
		cost += rcptCost + len(r.Addr) + len(r.Given) + len(r.Orcpt) + len(r.Mailbox)
	}
	if tx.bytes+cost > maxEnvelope && len(tx.given) > 0 {
		c.w.junk--
		return no(452, [3]int{4, 5, 3}, "too many recipients")
	}
	if err := tx.verify(ctx, rs); err != nil {
		return err
	}
	tx.bytes += cost
	tx.note(v)
	tx.env.UTF8 = tx.env.UTF8 || !m.ASCII()
	tx.add(to, rs, v)
	return nil
}

// resolve finds where mail for an address goes. Not to be ours is only right for
// who has logged in.
func (c *conn) resolve(ctx context.Context, to string) ([]accounts.Target, error) {
	in := c.origin.Identity != ""
	far := []accounts.Target{{Addr: to}}
	d := c.s.Directory
	if d == nil {
		if in {
			return far, nil
		}
		return nil, errRelay
	}
	res, err := d.Resolve(ctx, to)
	if errors.Is(err, accounts.ErrNotLocal) && strings.EqualFold(to, "postmaster@"+c.s.Hostname) {
		// RFC 5321, 4.5.1: without a domain, or with our name.
		if r, e := d.Resolve(ctx, "postmaster"); e == nil {
			res, err = r, nil
		}
	}
	switch {
	case err == nil && len(res.Targets) > 0:
		return res.Targets, nil
	case errors.Is(err, accounts.ErrNotLocal) && in:
		return far, nil
	case errors.Is(err, accounts.ErrNotLocal):
		return nil, errRelay
	case err == nil, errors.Is(err, accounts.ErrNoUser):
		return nil, errNoUser
	}
	return nil, c.lookup(ctx, err)
}

// recipients makes those of targets, numbered from tx.next on.
func (tx *transaction) recipients(to string, targets []accounts.Target, like mailkeel.Recipient) []mailkeel.Recipient {
	rs := make([]mailkeel.Recipient, len(targets))
	for i, t := range targets {
		r := like
		r.Addr, r.Account, r.Mailbox, r.Index = to, t.Account, strings.Clone(t.Mailbox), tx.next+i
		if r.Given = ""; t.Addr != to {
			r.Addr, r.Given = t.Addr, to
		}
		rs[i] = r
	}
	return rs
}

// rewritten makes the recipients of what a filter put in the place of one.
func (c *conn) rewritten(ctx context.Context, tx *transaction, to string, was, is mailkeel.Recipient) ([]mailkeel.Recipient, error) {
	m, err := addr.Parse(is.Addr, true)
	if err != nil { // whoever wrote it, it goes into commands and header fields
		e := no(451, [3]int{4, 3, 0}, "cannot handle the address now")
		e.Err = fmt.Errorf("smtp: a filter rewrote %s to %.100q: %w", to, is.Addr, err)
		return nil, e
	}
	is.Addr, is.Index = m.String(), tx.next
	if is.Given == "" && is.Addr != to {
		is.Given = to
	}
	if is.Account != was.Account || is.Addr == was.Addr || c.s.Directory == nil {
		return []mailkeel.Recipient{is}, nil
	}
	res, err := c.s.Directory.Resolve(ctx, is.Addr)
	switch {
	case errors.Is(err, accounts.ErrNotLocal): // the filter may send mail elsewhere
		is.Account, is.Mailbox = "", ""
		return []mailkeel.Recipient{is}, nil
	case errors.Is(err, accounts.ErrNoUser):
		return nil, errNoUser
	case err != nil:
		return nil, c.lookup(ctx, err)
	}
	return tx.recipients(to, res.Targets, is), nil
}

// verify asks Next about new recipients. The answer is the worst of theirs.
func (tx *transaction) verify(ctx context.Context, rs []mailkeel.Recipient) error {
	v, ok := tx.c.s.Next.(mailkeel.Verifier)
	if !ok {
		return nil
	}
	var bad error
	env := tx.seen(nil, nil).Env
	for _, r := range rs {
		err := v.Verify(ctx, env, r, tx.size)
		e := (*mailkeel.Error)(nil)
		switch {
		case err == nil:
		case !errors.As(err, &e):
			tx.c.log().Warn("smtp: cannot verify", "id", tx.env.ID, "err", err)
		case mailkeel.Permanent(err):
			return err
		default:
			bad = err
		}
	}
	return bad
}

// add joins recipients to the envelope, each only once.
func (tx *transaction) add(to string, rs []mailkeel.Recipient, v filter.Verdict) {
	if len(tx.given) == 0 {
		tx.first = to
	}
	// In steps, because append would make room for a quarter more.
	if n := len(tx.env.Rcpts) + len(rs); n > cap(tx.env.Rcpts) {
		bigger := make([]mailkeel.Recipient, len(tx.env.Rcpts), max(n, len(tx.env.Rcpts)+min(len(tx.env.Rcpts), rcptStep)))
		copy(bigger, tx.env.Rcpts)
		tx.env.Rcpts = bigger
	}
	for _, r := range rs {
		r.Junk = r.Junk || v.Junk
		at, known := tx.find(r)
		if !known {
			at = len(tx.env.Rcpts)
			tx.env.Rcpts = append(tx.env.Rcpts, r)
			tx.drop = append(tx.drop, v.Discard)
			tx.next = r.Index + 1
		} else {
			tx.drop[at] = tx.drop[at] && v.Discard
		}
		tx.at = append(tx.at, int32(at))
	}
	tx.given = append(tx.given, int32(len(tx.at)))
}

// rcptStep is how many more recipients there is room for when there is none.
const rcptStep = 16

// of returns the positions in env.Rcpts of what the i-th RCPT became.
func (tx *transaction) of(i int) []int32 {
	from := int32(0)
	if i > 0 {
		from = tx.given[i-1]
	}
	return tx.at[from:tx.given[i]]
}

// find looks for a recipient that would get the same copy, and takes note of r if
// there is none. Its table is small: a map would cost a quarter of the rest.
func (tx *transaction) find(r mailkeel.Recipient) (int, bool) {
	n := len(tx.env.Rcpts)
	if len(tx.index) < 2*(n+1) {
		tx.index = make([]int32, max(16, 2*len(tx.index)))
		for i := range tx.env.Rcpts {
			tx.index[tx.slot(&tx.env.Rcpts[i])] = int32(i + 1)
		}
	}
	i := tx.slot(&r)
	if at := tx.index[i]; at > 0 {
		return int(at - 1), true
	}
	tx.index[i] = int32(n + 1)
	return 0, false
}

// slot is where r stands in the index, or an empty place for it.
func (tx *transaction) slot(r *mailkeel.Recipient) int {
	key := func(r *mailkeel.Recipient) (mailkeel.AccountID, string) {
		if r.Account == "" {
			return "", r.Addr
		}
		return r.Account, r.Mailbox
	}
	account, name := key(r)
	i := int(maphash.Comparable(tx.c.s.seed, [2]string{string(account), name}) % uint64(len(tx.index)))
	for ; tx.index[i] > 0; i = (i + 1) % len(tx.index) {
		if a, n := key(&tx.env.Rcpts[tx.index[i]-1]); a == account && n == name {
			break
		}
	}
	return i
}
