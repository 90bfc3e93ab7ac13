// Package mailauth tells who vouches for a message: SPF (RFC 7208), DKIM (RFC 6376)
// and what DMARC (RFC 7489) makes of both.
package mailauth

import (
	"context"
	"errors"
	"io"
	"net"
	"net/mail"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// maxSignatures is how many DKIM signatures of one message are looked at: each costs
// a look-up and some work.
const maxSignatures = 8

// A Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// An Arrival is a message as it came.
type Arrival struct {
	Addr  netip.Addr // who connected
	Hello string     // what it called itself
	From  string     // the reverse-path
	// Author are the values of all From fields.
	Author []string
	// Open returns the message as the sender sent it.
	Open func() (io.ReadCloser, error)
}

// A Result is a word of RFC 8601: "pass", "fail", "softfail", "neutral", "none",
// "temperror" or "permerror".
type Result string

// A Signature is one of DKIM.
type Signature struct {
	Domain string
	Result Result
	Err    error // why not
}

// Results are what was found.
type Results struct {
	SPF       Result
	SPFDomain string // whose SPF it was: of the reverse-path, or of HELO without one
	SPFErr    error
	DKIM      []Signature // in the order of the fields
	// DMARC is "pass" if a domain that vouches is that of the author, "none" if the
	// author's domain has no policy, and "permerror" without exactly one author.
	DMARC       Result
	DMARCDomain string       // the author's
	DMARCErr    error        // why not
	Policy      dmarc.Policy // what the author's domain wants done, "" without one
}

// Check asks DNS about an arrival. Its error is one of reading the message.
func Check(ctx context.Context, r Resolver, a Arrival) (Results, error) {
	var out Results
	out.spf(ctx, r, a)
	rc, err := a.Open()
	if err != nil {
		return out, err
	}
	defer rc.Close()
	vs, err := dkim.VerifyWithOptions(rc, &dkim.VerifyOptions{
		LookupTXT:        func(domain string) ([]string, error) { return r.LookupTXT(ctx, domain) },
		MaxVerifications: maxSignatures,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return out, err
	}
	for _, v := range vs {
		s := Signature{v.Domain, "pass", v.Err}
		switch {
		case v.Err == nil:
		case dkim.IsTempFail(v.Err):
			s.Result = "temperror"
		case dkim.IsPermFail(v.Err):
			s.Result = "permerror"
		default:
			s.Result = "fail"
		}
		out.DKIM = append(out.DKIM, s)
	}
	out.dmarc(ctx, r, a)
	return out, nil
}

func (out *Results) spf(ctx context.Context, r Resolver, a Arrival) {
	sender := a.From
	if sender == "" {
		sender = "postmaster@" + a.Hello
	}
	_, out.SPFDomain, _ = strings.Cut(sender, "@")
	res, err := spf.CheckHostWithSender(a.Addr.AsSlice(), a.Hello, sender, spf.WithContext(ctx), spf.WithResolver(r))
	out.SPF, out.SPFErr = Result(res), err
}

func (out *Results) dmarc(ctx context.Context, r Resolver, a Arrival) {
	author, err := authorDomain(a.Author)
	if err != nil {
		out.DMARC, out.DMARCErr = "permerror", err
		return
	}
	out.DMARCDomain = author
	lookup := &dmarc.LookupOptions{LookupTXT: func(name string) ([]string, error) { return r.LookupTXT(ctx, name) }}
	rec, err := dmarc.LookupWithOptions(author, lookup)
	org, sub := Organization(author), false
	if errors.Is(err, dmarc.ErrNoPolicy) && org != author {
		rec, err = dmarc.LookupWithOptions(org, lookup)
		sub = true
	}
	switch {
	case errors.Is(err, dmarc.ErrNoPolicy):
		out.DMARC = "none"
		return
	case err != nil && dmarc.IsTempFail(err):
		out.DMARC, out.DMARCErr = "temperror", err
		return
	case err != nil:
		out.DMARC, out.DMARCErr = "permerror", err
		return
	}
	if out.Policy = rec.Policy; sub && rec.SubdomainPolicy != "" {
		out.Policy = rec.SubdomainPolicy
	}
	if out.SPF == "pass" && aligned(author, out.SPFDomain, rec.SPFAlignment) {
		out.DMARC = "pass"
		return
	}
	for _, s := range out.DKIM {
		if s.Result == "pass" && aligned(author, s.Domain, rec.DKIMAlignment) {
			out.DMARC = "pass"
			return
		}
	}
	out.DMARC, out.DMARCErr = "fail", errors.New("neither SPF nor a signature vouches for "+author)
}

// authorDomain is the domain of the one author.
func authorDomain(fields []string) (string, error) {
	if len(fields) != 1 {
		return "", errors.New("there must be exactly one From field")
	}
	all, err := mail.ParseAddressList(fields[0])
	if err != nil {
		return "", err
	}
	if len(all) != 1 {
		return "", errors.New("there must be exactly one address in From")
	}
	domain := all[0].Address[strings.LastIndexByte(all[0].Address, '@')+1:]
	return strings.ToLower(strings.TrimSuffix(domain, ".")), nil
}

// Organization is the organisational domain (RFC 7489, 3.2).
func Organization(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}

func aligned(author, domain string, mode dmarc.AlignmentMode) bool {
	domain = strings.ToLower(domain)
	if mode == dmarc.AlignmentStrict {
		return author == domain
	}
	return Organization(author) == Organization(domain)
}
