package smtp

import (
	"context"
	"slices"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// A Taker may be implemented by Next; queue.Inline is one. It takes over what failed
// for some recipients when others, who share their answer, have the message: the
// client can be told neither no nor to try again.
type Taker interface {
	// TakeOver makes durable that each recipient of env is tried again or its
	// failure reported to the sender, as its result says, and returns results
	// without an Err; or with one, which is temporary, where it could not.
	TakeOver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content, failed []mailkeel.Result) []mailkeel.Result
}

// distribute delivers to those for whom v lets it pass, and returns a result for each
// recipient.
func (tx *transaction) distribute(v filter.Verdict, body *content) []mailkeel.Result {
	s, env := tx.c.s, tx.env
	env.Rcpts = slices.Clone(env.Rcpts)
	results := make([]mailkeel.Result, len(env.Rcpts))
	for i := range env.Rcpts {
		env.Rcpts[i].Junk = env.Rcpts[i].Junk || tx.verdict.Junk || v.Rcpts[i].Junk
		if no := v.Rcpts[i].Refuse; no != nil {
			results[i].Err = no
		}
	}
	units := tx.units()
	spread(units, results)
	var pass []int
	for i := range results {
		if results[i].Err == nil && !v.Rcpts[i].Discard && !tx.drop[i] {
			pass = append(pass, i)
		}
	}

	served := make([]bool, len(results))
	// each calls do for some recipients, together for those with the same header
	// fields before their content.
	each := func(at []int, do func(*mailkeel.Envelope, mailkeel.Content, []mailkeel.Result) []mailkeel.Result) {
		groups := map[string][]int{}
		var order []string
		for _, i := range at {
			p := string(v.Rcpts[i].Prefix)
			if groups[p] == nil {
				order = append(order, p)
			}
			groups[p] = append(groups[p], i)
		}
		for _, p := range order {
			at := groups[p]
			rcpts, was := make([]mailkeel.Recipient, len(at)), make([]mailkeel.Result, len(at))
			for j, i := range at {
				rcpts[j], was[j] = env.Rcpts[i], results[i]
			}
			for j, r := range do(env.Only(rcpts...), body.with([]byte(p)), was) {
				results[at[j]], served[at[j]] = r, r.Err == nil
			}
		}
	}
	ctx, cancel := tx.c.context()
	defer cancel()
	each(pass, func(env *mailkeel.Envelope, c mailkeel.Content, _ []mailkeel.Result) []mailkeel.Result {
		return mailkeel.Deliver(ctx, s.Next, env, c)
	})
	failed := beside(units, results, served)
	if next, ok := s.Next.(Taker); ok {
		each(failed, func(env *mailkeel.Envelope, c mailkeel.Content, was []mailkeel.Result) []mailkeel.Result {
			return next.TakeOver(ctx, env, c, was)
		})
	} else if !s.LMTP {
		// Nobody writes a bounce: what a filter refuses for some is dropped.
		for _, i := range failed {
			if v.Rcpts[i].Refuse != nil {
				tx.c.log().Warn("smtp: dropped for one recipient", "id", env.ID, "from", env.From, "rcpt", env.Rcpts[i].Addr, "err", results[i].Err)
				results[i].Err = nil
			}
		}
	}
	for i, r := range results {
		if r.Err != nil {
			tx.c.log().Warn("smtp: not delivered", "id", env.ID, "from", env.From, "rcpt", env.Rcpts[i].Addr, "err", r.Err)
		}
	}
	return results
}

// units are the recipients that share an answer, by their position: all for SMTP,
// those that one RCPT became for LMTP (RFC 2033, 4.2).
func (tx *transaction) units() [][]int32 {
	if !tx.c.s.LMTP {
		all := make([]int32, len(tx.env.Rcpts))
		for i := range all {
			all[i] = int32(i)
		}
		return [][]int32{all}
	}
	us := make([][]int32, len(tx.given))
	for g := range tx.given {
		us[g] = tx.of(g)
	}
	return us
}

// spread lets a temporary refusal hold for all who share the answer, before anything
// is delivered: the client comes again with the message for all of them.
func spread(units [][]int32, results []mailkeel.Result) {
	for more := true; more; { // units of LMTP can have recipients in common
		more = false
		for _, u := range units {
			var why error
			for _, i := range u {
				if err := results[i].Err; err != nil && !mailkeel.Permanent(err) {
					why = err
					break
				}
			}
			for _, i := range u {
				if err := results[i].Err; why != nil && (err == nil || mailkeel.Permanent(err)) {
					results[i].Err, more = why, true
				}
			}
		}
	}
}

// beside returns who failed while another, who shares the answer, was served.
func beside(units [][]int32, results []mailkeel.Result, served []bool) (at []int) {
	seen := make([]bool, len(results))
	for _, u := range units {
		ok := false
		for _, i := range u {
			ok = ok || served[i]
		}
		for _, i := range u {
			if ok && results[i].Err != nil && !seen[i] {
				seen[i] = true
				at = append(at, int(i))
			}
		}
	}
	return at
}
