package smtp

import (
	"slices"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// openFilters gives the filters that keep state for a connection one of its own.
func (c *conn) openFilters() {
	if c.chain == nil {
		return
	}
	ctx, cancel := c.context()
	defer cancel()
	o := c.origin
	c.chain, c.endFilters = c.chain.Session(ctx, &o)
}

// judge asks the filters about a stage of the transaction and adds what they say
// to what was said before.
func (tx *transaction) judge(stage filter.Stage, rcpt *mailkeel.Recipient, content mailkeel.Content) filter.Verdict {
	c := tx.c
	if c.chain == nil {
		return filter.Verdict{}
	}
	ctx, cancel := c.context()
	defer cancel()
	ft := tx.seen(rcpt, content)
	v := c.chain.Run(ctx, stage, ft)
	sum := &tx.verdict
	sum.Score += v.Score
	sum.Results = append(slices.Clip(sum.Results), v.Results...)
	sum.Prefix = slices.Concat(v.Prefix, sum.Prefix) // later ones stand above
	if v.Why != "" && sum.Why != "" {
		sum.Why += "; "
	}
	sum.Why += v.Why
	if stage != filter.Rcpt { // there it is about one
		sum.Discard = sum.Discard || v.Discard
		sum.Junk = sum.Junk || v.Junk
		sum.Refuse = v.Refuse
	}
	return v
}

// seen is what filters see. They may keep it, so it is not changed later.
func (tx *transaction) seen(rcpt *mailkeel.Recipient, content mailkeel.Content) *filter.Transaction {
	env := tx.env
	env.Rcpts = slices.Clip(env.Rcpts)
	return &filter.Transaction{Origin: env.Origin, Trusted: tx.c.trusted, Env: &env, Rcpt: rcpt, Content: content, Results: tx.verdict.Results, Score: tx.verdict.Score}
}

// done tells the filters how the transaction ended, once.
func (tx *transaction) done(results []mailkeel.Result) {
	if tx == nil || tx.over || tx.c.chain == nil {
		return
	}
	tx.over = true
	ctx, cancel := tx.c.context()
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			tx.c.log().Error("smtp: filter panicked", "id", tx.env.ID, "panic", p)
		}
	}()
	tx.c.chain.Done(ctx, tx.seen(nil, nil), filter.Outcome{Verdict: tx.verdict, Results: results})
}
