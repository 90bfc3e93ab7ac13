package smtp

import (
	"slices"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// openFilters gives the connection a chain of its own, where filters have state.
func (c *conn) openFilters() {
	if c.s.Filters == nil {
		return
	}
	o := c.origin
	ctx, cancel := c.context()
	defer cancel()
	c.chain, c.endChain = c.s.Filters.Session(ctx, &o)
}

func (c *conn) closeFilters() {
	if c.endChain == nil {
		return
	}
	if err := c.endChain(); err != nil {
		c.log().Warn("smtp: closing filters", "err", err)
	}
}

// connected asks the filters about the connection as it is now.
func (c *conn) connected() *mailkeel.Error {
	c.verdict = filter.Verdict{}
	if c.chain == nil {
		return nil
	}
	o := c.origin
	ctx, cancel := c.context()
	defer cancel()
	c.verdict = c.chain.Run(ctx, filter.Conn, &filter.Transaction{Origin: &o, Trusted: c.trusted})
	return c.verdict.Refuse
}

// judge asks the filters about a stage of the transaction. What they say of a
// recipient counts once that was accepted, and the rest at once.
func (tx *transaction) judge(stage filter.Stage, rcpt *mailkeel.Recipient, content mailkeel.Content) filter.Verdict {
	c := tx.c
	if c.chain == nil || !c.chain.Asks(stage) {
		if stage != filter.Rcpt {
			tx.verdict.Refuse = nil
		}
		return filter.Verdict{}
	}
	ctx, cancel := c.context()
	defer cancel()
	v := c.chain.Run(ctx, stage, tx.seen(rcpt, content))
	if stage != filter.Rcpt {
		tx.note(v)
		sum := &tx.verdict
		sum.Discard = sum.Discard || v.Discard
		sum.Junk = sum.Junk || v.Junk
		sum.Refuse = v.Refuse
	}
	return v
}

// note adds what filters found to what they found before.
func (tx *transaction) note(v filter.Verdict) {
	sum := &tx.verdict
	sum.Score += v.Score
	sum.Results = slices.Concat(sum.Results, v.Results)
	sum.Prefix = slices.Concat(v.Prefix, sum.Prefix) // later ones stand above
	if v.Why != "" && sum.Why != "" {
		sum.Why += "; "
	}
	sum.Why += v.Why
}

// seen is what filters see. They may keep it, so it is not changed later.
func (tx *transaction) seen(rcpt *mailkeel.Recipient, content mailkeel.Content) *filter.Transaction {
	env := tx.env
	env.Rcpts = slices.Clip(env.Rcpts)
	return &filter.Transaction{Origin: env.Origin, Trusted: tx.c.trusted, Env: &env, Rcpt: rcpt, Content: content,
		Results: tx.verdict.Results, Score: tx.verdict.Score}
}

// done tells the filters how the transaction ended, once.
func (tx *transaction) done(results []mailkeel.Result) {
	if tx == nil || tx.over || tx.c.chain == nil || !tx.c.chain.AsksDone() {
		return
	}
	tx.over = true
	ctx, cancel := tx.c.context()
	defer cancel()
	tx.c.chain.Done(ctx, tx.seen(nil, nil), filter.Outcome{Verdict: tx.verdict, Results: results})
}
