package mailauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-msgauth/dmarc"
)

// A Policy is what the domain of an author has published (RFC 7489, 6.3).
type Policy struct {
	Domain string // where the record is: the author's domain or the organisational one
	// Wish is what shall be done with what fails: "none", "quarantine" or "reject".
	Wish string
	// Percent is of how much of it; the rest has the next milder wish.
	Percent    int
	StrictDKIM bool // adkim=s
	StrictSPF  bool // aspf=s
}

// ErrNoPolicy means that a domain has none.
var ErrNoPolicy = errors.New("mailauth: no DMARC policy")

// ErrTemporary means that DNS did not answer.
var ErrTemporary = errors.New("mailauth: DNS does not answer")

// FindPolicy asks for the policy of an author's domain, in A-labels (RFC 7489, 6.6.3).
// Its errors are ErrNoPolicy, ErrTemporary, and others for a record that cannot be
// understood.
func FindPolicy(ctx context.Context, r TXTResolver, domain string) (Policy, error) {
	if strings.HasPrefix(domain, "[") {
		return Policy{}, ErrNoPolicy
	}
	p, err := policyAt(ctx, r, domain, domain)
	if org := Organization(domain); org != domain && errors.Is(err, ErrNoPolicy) {
		return policyAt(ctx, r, org, domain)
	}
	return p, err
}

func policyAt(ctx context.Context, r TXTResolver, at, author string) (Policy, error) {
	rec, err := dmarc.LookupWithOptions(at, &dmarc.LookupOptions{LookupTXT: func(name string) ([]string, error) {
		txts, err := lookupTXT(ctx, r, name)
		return onlyPolicy(txts), err
	}})
	switch {
	case errors.Is(err, dmarc.ErrNoPolicy):
		return Policy{}, ErrNoPolicy
	case dmarc.IsTempFail(err):
		return Policy{}, fmt.Errorf("%w: %w", ErrTemporary, cmp.Or(context.Cause(ctx), err))
	case err != nil:
		return Policy{}, err
	}
	p := Policy{Domain: at, Wish: string(rec.Policy), Percent: 100,
		StrictDKIM: rec.DKIMAlignment == dmarc.AlignmentStrict, StrictSPF: rec.SPFAlignment == dmarc.AlignmentStrict}
	if at != author && rec.SubdomainPolicy != "" {
		p.Wish = string(rec.SubdomainPolicy)
	}
	if rec.Percent != nil {
		p.Percent = *rec.Percent
	}
	return p, nil
}

// onlyPolicy returns the one record that is a policy. Several are none (RFC 7489,
// 6.6.3, step 5).
func onlyPolicy(txts []string) []string {
	var one []string
	for _, txt := range txts {
		if rec, ok := tidyPolicy(txt); ok {
			one = append(one, rec)
		}
	}
	if len(one) > 1 {
		return nil
	}
	return one
}

// tidyPolicy returns of a record the tags that are asked for here, and reports whether
// it is a policy. What is wrong in them is as if it were not there (RFC 7489, 6.3); for a
// wrong p the wish is none if somebody asks for reports (6.6.3, step 6).
func tidyPolicy(txt string) (string, bool) {
	first, rest, _ := strings.Cut(txt, ";")
	k, v, _ := strings.Cut(first, "=")
	if strings.TrimSpace(k) != "v" || strings.TrimSpace(v) != "DMARC1" {
		return "", false
	}
	tags := map[string]string{}
	for tag := range strings.SplitSeq(rest, ";") {
		k, v, ok := strings.Cut(tag, "=")
		if k = strings.ToLower(strings.TrimSpace(k)); ok && tags[k] == "" {
			tags[k] = strings.ToLower(strings.TrimSpace(v))
		}
	}
	out := "v=DMARC1"
	keep := func(tag string, ok func(string) bool) {
		if ok(tags[tag]) {
			out += "; " + tag + "=" + tags[tag]
		}
	}
	wish := func(v string) bool { return v == "none" || v == "quarantine" || v == "reject" }
	mode := func(v string) bool { return v == "r" || v == "s" }
	if !wish(tags["p"]) && strings.Contains(tags["rua"], ":") {
		tags["p"] = "none"
	}
	keep("p", wish)
	keep("sp", wish)
	keep("adkim", mode)
	keep("aspf", mode)
	keep("pct", func(v string) bool { n, err := strconv.ParseUint(v, 10, 8); return err == nil && n <= 100 })
	return out, true
}

// Sampled returns the wish for a message of which a draw from [0,100) was n
// (RFC 7489, 6.6.4).
func (p Policy) Sampled(n int) string {
	switch {
	case n < p.Percent:
		return p.Wish
	case p.Wish == "reject":
		return "quarantine"
	}
	return "none"
}

// A Voucher is a domain that SPF or a signature vouches for, or did not.
type Voucher struct {
	Result Result
	Domain string // "" if it is not known
}

// Judge says whether one of those who vouch is aligned with the author's domain
// (RFC 7489, 3.1): Pass, Fail, or TempError if one that might be could not be asked.
func (p Policy) Judge(author string, spf Voucher, signatures []Voucher) Result {
	out := Fail
	weigh := func(v Voucher, strict bool) {
		aligned := v.Domain != "" && Aligned(author, v.Domain, strict)
		switch {
		case v.Result == Pass && aligned:
			out = Pass
		case v.Result == TempError && (aligned || v.Domain == "") && out == Fail:
			out = TempError
		}
	}
	weigh(spf, p.StrictSPF)
	for _, s := range signatures {
		weigh(s, p.StrictDKIM)
	}
	return out
}

// Aligned reports whether two domains, in A-labels, are one, or if strict is false of
// one organisation.
func Aligned(a, b string, strict bool) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || !strict && Organization(a) == Organization(b)
}
