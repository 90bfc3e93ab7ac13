// Package dmarc is a filter that asks whether the author of a message, whom people see,
// is who SPF or a signature vouches for, and does what the author's domain wants done if
// not (DMARC, RFC 7489).
//
// It stands in a group after those of spf and dkim, whose results it reads:
//
//	chain := &filter.Chain{Groups: [][]filter.Filter{
//		{&spf.Filter{Resolver: r}, &dkim.Filter{Resolver: r}},
//		{&dmarc.Filter{Resolver: r}},
//	}}
//
// What it judges as the author is what ENVELOPE of IMAP and webmail show, to the byte. A
// message that has not exactly one From field with exactly one address has no author
// that could be judged: it fails (RFC 7489, 6.6.1).
//
// Clients that the door trusts or that logged in are not judged.
package dmarc

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/mailauth"
)

// A Resolver looks TXT records up, of names that end in a dot. *net.Resolver is one.
//
// An error that is a *net.DNSError with IsNotFound means that there is none; any
// other, that the answer could not be had.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Filter is a filter.Filter. Resolver is required.
type Filter struct {
	Resolver Resolver
	// Mode is what a message that fails comes to: what the domain wants, refusing with
	// 550 5.7.1 included; or Junk at the most; or nothing. Zero means what it wants.
	Mode filter.Mode
	// Scores are what a fail adds, by what the author's domain wants done: "none",
	// "quarantine", "reject", and "author" for a message without exactly one author. Nil
	// means 1, 4, 6 and 4. With quarantine and without an author a message is junk, too.
	Scores map[string]float64
	// OneAuthor refuses, with 550 5.7.1, what has not exactly one author.
	OneAuthor bool
	// Draw picks, of the messages that fail, those for which a policy with pct below 100
	// holds: it returns a number from 0 to 99 for a message. Nil means one by the ID of
	// the envelope, which is random.
	Draw func(*mailkeel.Envelope) int
}

var _ filter.MessageFilter = (*Filter)(nil)

// Name is "dmarc".
func (f *Filter) Name() string { return "dmarc" }

// FilterMessage judges. If DNS does not answer, for the policy or for what would vouch,
// the error says so, beside a result of temperror.
func (f *Filter) FilterMessage(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if t.Content == nil || t.Content.Size() == 0 || t.Trusted || t.Origin == nil || t.Origin.Identity != "" {
		return filter.Verdict{}, nil
	}
	rc, err := t.Content.Open(ctx)
	if err != nil {
		return filter.Verdict{}, err
	}
	defer rc.Close()
	author, err := mailauth.FindAuthor(rc)
	switch {
	case errors.Is(err, mailauth.ErrNoAuthor):
		return f.Mode.Limit(f.noAuthor(err)), nil
	case err != nil:
		return filter.Verdict{}, err
	}
	result := &authres.DMARCResult{From: author.Domain}
	v := filter.Verdict{Results: []authres.Result{result}}
	policy, err := mailauth.FindPolicy(ctx, f.Resolver, author.Domain)
	switch {
	case errors.Is(err, mailauth.ErrNoPolicy):
		result.Value = authres.ResultNone
		return v, nil
	case errors.Is(err, mailauth.ErrTemporary):
		result.Value, result.Reason = authres.ResultTempError, "DNS does not answer for the policy"
		return v, fmt.Errorf("dmarc: %s: %w", author.Domain, err)
	case err != nil:
		result.Value, result.Reason = authres.ResultPermError, "the policy is wrong"
		return v, nil
	}
	spf, signatures := evidence(t)
	judged := policy.Judge(author.Domain, spf, signatures)
	result.Value = authres.ResultValue(judged)
	switch judged {
	case mailauth.TempError:
		result.Reason = "DNS does not answer for what may vouch"
		return v, fmt.Errorf("dmarc: %s: %s", author.Domain, result.Reason)
	case mailauth.Fail:
		result.Reason = "neither SPF nor DKIM vouches, the policy is " + policy.Wish
		f.fail(&v, t.Env, author.Domain, policy)
	}
	return f.Mode.Limit(v), nil
}

// fail makes of a policy what is to be done.
func (f *Filter) fail(v *filter.Verdict, env *mailkeel.Envelope, author string, p mailauth.Policy) {
	draw := f.Draw
	if draw == nil {
		draw = byID
	}
	wish := p.Wish
	if p.Percent < 100 {
		wish = p.Sampled(draw(env))
	}
	v.Score = f.score(wish)
	v.Why = fmt.Sprintf("DMARC: neither SPF nor DKIM vouches for %s (policy %s)", author, p.Wish)
	switch wish {
	case "reject":
		v.Refuse = &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 1},
			Message: fmt.Sprintf("neither SPF nor DKIM vouches for %s, which wants such mail refused (DMARC)", author)}
	case "quarantine":
		v.Junk = true
	}
}

// noAuthor is the verdict on a message that nobody, or several, wrote.
func (f *Filter) noAuthor(err error) filter.Verdict {
	_, why, _ := strings.Cut(err.Error(), mailauth.ErrNoAuthor.Error()+": ")
	v := filter.Verdict{
		Junk: true, Score: f.score("author"), Why: "DMARC: not one author: " + why,
		Results: []authres.Result{&authres.DMARCResult{Value: authres.ResultFail, Reason: "not one author, but " + why}},
	}
	if f.OneAuthor {
		v.Refuse = &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 1}, Message: "there must be one author: " + why}
	}
	return v
}

func (f *Filter) score(what string) float64 {
	if f.Scores != nil {
		return f.Scores[what]
	}
	return map[string]float64{"none": 1, "quarantine": 4, "reject": 6, "author": 4}[what]
}

// byID draws by the ID of an envelope.
func byID(env *mailkeel.Envelope) int {
	if env == nil {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(env.ID))
	return int(h.Sum32() % 100)
}

// evidence is what earlier groups found. SPF counts for the reverse-path, and for HELO
// only without one (RFC 7489, 3.1.2).
func evidence(t *filter.Transaction) (spf mailauth.Voucher, signatures []mailauth.Voucher) {
	bounce := t.Env == nil || t.Env.From == ""
	for _, r := range t.Results {
		switch r := r.(type) {
		case *authres.SPFResult:
			name := r.Helo
			if !bounce {
				name = r.From
			}
			if name != "" {
				_, domain := addr.Split("@" + name)
				spf = mailauth.Voucher{Result: mailauth.Result(r.Value), Domain: domain}
			}
		case *authres.DKIMResult:
			signatures = append(signatures, mailauth.Voucher{Result: mailauth.Result(r.Value), Domain: r.Domain})
		case *authres.GenericResult:
			switch r.Method { // of dkim, and of a filter that could not tell
			case "dkim":
				signatures = append(signatures, mailauth.Voucher{Result: mailauth.Result(r.Value), Domain: r.Params["header.d"]})
			case "spf":
				if r.Value == authres.ResultTempError {
					spf = mailauth.Voucher{Result: mailauth.TempError}
				}
			}
		}
	}
	return spf, signatures
}
