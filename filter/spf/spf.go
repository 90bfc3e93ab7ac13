// Package spf is a filter that asks whether a client may send for the domain of the
// reverse-path, and for the name that it gave in HELO (SPF, RFC 7208).
//
// It is asked at MAIL, so that what it finds is there for whoever comes later: package
// dmarc, a greylist, a script. A "fail" is a bad sign but not a proof, for mail that
// was forwarded fails too: mark it, and leave refusing to DMARC, which knows of
// signatures as well (RFC 7489, 10.1). That is what the mode Mark does here. Enforce refuses
// with 550 5.7.23 (RFC 7372, 3.2).
//
// A check has at most 10 terms that need a look-up, and 2 look-ups in vain. Clients
// that the door trusts, that logged in, or that have no network address are not
// judged.
package spf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/mailauth"
)

// A Resolver looks names up, which end in a dot. *net.Resolver is one.
//
// An error that is a *net.DNSError with IsNotFound means that there is no such
// record; any other, that the answer could not be had.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// Filter is a filter.Filter. Resolver is required.
type Filter struct {
	Resolver Resolver
	// Mode is what a "fail" does: refuse the message; or add to its score only; or
	// nothing. Zero means refuse.
	Mode filter.Mode
	// Scores are what the result for the reverse-path adds, by its word (RFC 8601,
	// 2.7.2). Nil means 3 for fail, 1 for softfail and 0.5 for permerror.
	Scores map[string]float64
	// HeloScore is what a "fail" for the name in HELO adds; zero means 2.
	HeloScore float64
	// NoHelo leaves HELO alone, but for a message without a reverse-path.
	NoHelo bool
}

var _ filter.SenderFilter = (*Filter)(nil)

// Name is "spf".
func (f *Filter) Name() string { return "spf" }

// FilterSender checks. If DNS does not answer, the error says so, beside a result of
// temperror.
func (f *Filter) FilterSender(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	ip, ok := judged(t)
	if !ok {
		return filter.Verdict{}, nil
	}
	helo, from := t.Origin.Hello, t.Env.From
	var v filter.Verdict
	var why []string
	main := mailauth.SPFMailFrom(ctx, f.Resolver, ip, helo, from)
	result := &authres.SPFResult{Value: authres.ResultValue(main.Result), Reason: reason(main)}
	identity := "HELO"
	if from == "" {
		result.Helo = main.Domain
	} else {
		result.From, identity = shown(from, main.Domain), "MAIL FROM"
	}
	v.Results = append(v.Results, result)
	if v.Score = f.score(main.Result); v.Score != 0 || main.Result == mailauth.Fail {
		why = append(why, say(main, identity, ip))
	}
	failed := main.Result == mailauth.Fail
	if from != "" && !f.NoHelo && main.Result != mailauth.TempError {
		// A name that cannot be a host's says nothing, and is told nowhere.
		if h := mailauth.SPFHelo(ctx, f.Resolver, ip, helo); h.Domain != "" && h.Domain != main.Domain && h.Result != mailauth.None {
			v.Results = append(v.Results, &authres.SPFResult{Value: authres.ResultValue(h.Result), Reason: reason(h), Helo: h.Domain})
			if h.Result == mailauth.Fail {
				failed = true
				v.Score += f.heloScore()
				why = append(why, say(h, "HELO", ip))
			}
		}
	}
	if main.Result == mailauth.TempError {
		return filter.Verdict{Results: v.Results}, fmt.Errorf("spf: %s: %w", main.Domain, main.Err)
	}
	v.Why = strings.Join(why, ", ")
	if failed && f.Mode == filter.Enforce {
		v.Refuse = &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 23}, Message: v.Why}
	}
	if f.Mode == filter.Log {
		return f.Mode.Limit(v), nil
	}
	return v, nil
}

// judged returns the address of a client whose mail is judged.
func judged(t *filter.Transaction) (netip.Addr, bool) {
	if t.Origin == nil || t.Env == nil || t.Trusted || t.Origin.Identity != "" {
		return netip.Addr{}, false
	}
	ip := t.Origin.Addr.Addr().Unmap().WithZone("")
	return ip, ip.IsValid()
}

func (f *Filter) score(r mailauth.Result) float64 {
	if f.Scores != nil {
		return f.Scores[string(r)]
	}
	switch r {
	case mailauth.Fail:
		return 3
	case mailauth.SoftFail:
		return 1
	case mailauth.PermError:
		return 0.5
	}
	return 0
}

func (f *Filter) heloScore() float64 {
	if f.HeloScore == 0 {
		return 2
	}
	return f.HeloScore
}

// say tells a result in words.
func say(s mailauth.SPF, identity string, ip netip.Addr) string {
	switch s.Result {
	case mailauth.Fail:
		return fmt.Sprintf("SPF: %s may not send for %s (%s)", ip, s.Domain, identity)
	case mailauth.SoftFail:
		return fmt.Sprintf("SPF: %s should not send for %s (%s)", ip, s.Domain, identity)
	case mailauth.PermError:
		return fmt.Sprintf("SPF: the record of %s is wrong (%s)", s.Domain, identity)
	}
	return fmt.Sprintf("SPF: %s for %s (%s)", s.Result, s.Domain, identity)
}

// reason is why there is an error, in the words of Authentication-Results, which have
// no quotes of others in them.
func reason(s mailauth.SPF) string {
	switch s.Result {
	case mailauth.TempError:
		return "DNS does not answer"
	case mailauth.PermError:
		return "the record is wrong"
	}
	return ""
}

// shown is the reverse-path for Authentication-Results, or only its domain if the local
// part would need quotes.
func shown(from, domain string) string {
	local, _ := addr.Split(from)
	if strings.Trim(local, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+-/?^_{}~") != "" || local == "" || domain == "" {
		return domain
	}
	return local + "@" + domain
}
