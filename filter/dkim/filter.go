package dkim

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/mailauth"
)

// A Resolver looks TXT records up, of names that end in a dot. *net.Resolver is one.
//
// An error that is a *net.DNSError with IsNotFound means that there is none; any
// other, that the answer could not be had.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Filter is a filter.Filter that checks the signatures of a message: the 8 topmost, so
// that a message with a hundred costs no more. Resolver is required.
//
// Each has its result in Authentication-Results, with its domain, its selector and the
// beginning of the signature (RFC 8601, 2.7.1; RFC 6008). A signature is a "fail" if it
// does not match, covers only a part of the body (l=), is over (x=), or is by SHA-1 or a
// key of less than 1,024 bits (RFC 8301). One that fails with a key for testing (t=y) is
// "neutral".
//
// A signature that is broken says no more than none (RFC 6376, 6.1): unless Scores say
// otherwise this filter has no opinion, and leaves it to package dmarc. It never
// refuses. If no signature passes and the key of one could not be had, that is an error
// beside the results.
//
// Clients that logged in or that the door trusts are not judged.
type Filter struct {
	Resolver Resolver
	// Mode: Log adds no score.
	Mode filter.Mode
	// Scores are what the best result adds, by its word: "pass", "fail", "neutral",
	// "permerror", or "none" without a signature. Nil means nothing.
	Scores map[string]float64
	Clock  mailkeel.Clock // for x=; nil means real time
}

var _ filter.MessageFilter = (*Filter)(nil)

// Name is "dkim".
func (f *Filter) Name() string { return "dkim" }

// FilterMessage checks.
func (f *Filter) FilterMessage(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if t.Content == nil || t.Content.Size() == 0 || t.Trusted || t.Origin == nil || t.Origin.Identity != "" {
		return filter.Verdict{}, nil
	}
	rc, err := t.Content.Open(ctx)
	if err != nil {
		return filter.Verdict{}, err
	}
	defer rc.Close()
	all, err := mailauth.VerifyDKIM(ctx, f.Resolver, rc, mailkeel.ClockOr(f.Clock).Now())
	if errors.Is(err, header.ErrTooLarge) {
		all, err = []mailauth.Signature{{Result: mailauth.PermError, Err: err}}, nil
	}
	if err != nil {
		return filter.Verdict{}, err
	}
	v := filter.Verdict{Results: results(all)}
	best := best(all)
	if best.Result == mailauth.TempError {
		return v, errors.New("dkim: " + best.Domain + ": DNS does not answer for the key")
	}
	if v.Score = f.Scores[string(best.Result)]; v.Score != 0 {
		v.Why = "DKIM: " + string(best.Result)
		if best.Domain != "" {
			v.Why += " for " + best.Domain
		}
		if best.Err != nil {
			v.Why += " (" + best.Err.Error() + ")"
		}
	}
	return f.Mode.Limit(v), nil
}

// best is the signature that says most for a message.
func best(all []mailauth.Signature) mailauth.Signature {
	best := mailauth.Signature{Result: mailauth.None}
	rank := map[mailauth.Result]int{mailauth.Pass: 5, mailauth.TempError: 4, mailauth.Neutral: 3, mailauth.Fail: 2, mailauth.PermError: 1}
	for _, s := range all {
		if rank[s.Result] > rank[best.Result] {
			best = s
		}
	}
	return best
}

// results are those for Authentication-Results. Of what the sender wrote only what
// needs no quotes comes in.
func results(all []mailauth.Signature) []authres.Result {
	if len(all) == 0 {
		return []authres.Result{&authres.GenericResult{Method: "dkim", Value: authres.ResultNone}}
	}
	var out []authres.Result
	for _, s := range all {
		p := map[string]string{"header.d": s.Domain, "header.s": token(s.Selector), "header.b": token(s.B)}
		if s.Err != nil {
			p["reason"] = strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' || strings.ContainsRune(`"\;()`, r) {
					return '_'
				}
				return r
			}, s.Err.Error())
		}
		out = append(out, &authres.GenericResult{Method: "dkim", Value: authres.ResultValue(s.Result), Params: p})
	}
	return out
}

// token is s, or "" if it would not stand as it is.
func token(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=._-") != "" || len(s) > 253 {
		return ""
	}
	return s
}
