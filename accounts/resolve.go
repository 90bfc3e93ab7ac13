package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mailkeel/mailkeel"
)

// The bounds of one resolution.
const (
	maxDepth   = 10
	maxTargets = 1000
	maxSteps   = 10 * maxTargets // with those that are passed over
)

// ErrExpansion means that an address leads through too many aliases or to too
// many targets. It is for the administrator to mend, so mail waits.
var ErrExpansion = errors.New("accounts: alias expands too far")

// A Table finds rows of a directory. Resolve and MaySend make the rules over it, so
// that all directories have the same. Addresses and domains that it is asked for
// are canonical. An error that is none of those named means that it could not be
// asked.
type Table interface {
	// Domain returns one of ours, or ErrNotLocal.
	Domain(ctx context.Context, name string) (Domain, error)
	// Entry returns what has exactly this address, or ErrNoUser.
	Entry(ctx context.Context, addr string) (Entry, error)
	// First returns the account of a domain that was made first and is not
	// disabled, or ErrNoUser.
	First(ctx context.Context, domain string) (Account, error)
	// Home returns the domain that was made first, or ErrNotLocal. It gets the
	// mail for postmaster without a domain.
	Home(ctx context.Context) (Domain, error)
	// ByID returns an account, or ErrNoUser.
	ByID(ctx context.Context, id mailkeel.AccountID) (Account, error)
}

// An Entry is an account or an alias.
type Entry struct {
	Account mailkeel.AccountID // empty for an alias
	Targets []string           // of an alias
}

// Resolve is Directory.Resolve over a Table. An exact address comes first, then
// the address without its plus part, then postmaster and abuse, then the
// catch-all. Targets of an alias that do not exist are passed over, unless none
// are left. It returns ErrExpansion rather than a part of the targets.
func Resolve(ctx context.Context, t Table, addr string) (Resolution, error) {
	if strings.EqualFold(addr, "postmaster") {
		home, err := t.Home(ctx)
		if err != nil {
			return Resolution{}, noUser(err, addr)
		}
		addr = "postmaster@" + home.Name
	}
	r := newResolver(ctx, t, true)
	if err := r.follow(addr, 0); err != nil {
		return Resolution{}, err
	}
	if len(r.targets) == 0 {
		return Resolution{}, noUser(nil, addr)
	}
	return Resolution{r.targets}, nil
}

// noUser is ErrNoUser with the address, unless err is a failure to ask.
func noUser(err error, addr string) error {
	if err != nil && !errors.Is(err, ErrNotLocal) && !errors.Is(err, ErrNoUser) {
		return err
	}
	return fmt.Errorf("%w: %.100q", ErrNoUser, addr)
}

// MaySend is Directory.MaySend over a Table: an account may use its own address,
// those of its SendAs, all with plus parts, and aliases that lead to nobody else. A
// catch-all gives no right to the addresses it catches. The null sender, accounts
// that are disabled and accounts that do not exist: no.
func MaySend(ctx context.Context, t Table, id mailkeel.AccountID, addr string) (bool, error) {
	local, domain, err := parts(addr)
	if err != nil {
		return false, nil
	}
	acc, err := t.ByID(ctx, id)
	switch {
	case errors.Is(err, ErrNoUser):
		return false, nil
	case err != nil:
		return false, err
	case acc.Disabled:
		return false, nil
	}
	base, _, _ := strings.Cut(local, "+")
	for _, own := range append([]string{acc.Address}, acc.SendAs...) {
		if name, ok := strings.CutPrefix(own, "*@"); ok {
			if name, err := CanonicalDomain(name); err == nil && name == domain {
				return true, nil
			}
			continue
		}
		l, d, err := parts(own)
		if err == nil && d == domain && (l == local || base != "" && l == base) {
			return true, nil
		}
	}
	r := newResolver(ctx, t, false)
	switch err := r.follow(addr, 0); {
	case errors.Is(err, ErrNoUser), errors.Is(err, ErrNotLocal), errors.Is(err, ErrExpansion):
		return false, nil
	case err != nil:
		return false, err
	}
	for _, target := range r.targets {
		if target.Account != id {
			return false, nil
		}
	}
	return len(r.targets) > 0, nil
}

// resolver follows aliases.
type resolver struct {
	ctx      context.Context
	table    Table
	fallback bool // go to postmaster and catch-all addresses
	steps    int
	domains  map[string]Domain // that were asked for; without a name if not ours
	seen     map[string]bool   // our addresses that were followed: whether they led to a target
	got      map[Target]bool   // with only what tells targets apart
	hits     int               // how often a target was reached
	targets  []Target
}

func newResolver(ctx context.Context, t Table, fallback bool) *resolver {
	return &resolver{ctx: ctx, table: t, fallback: fallback, domains: map[string]Domain{}, seen: map[string]bool{}, got: map[Target]bool{}}
}

// domain returns one of ours, or ErrNotLocal.
func (r *resolver) domain(name string) (Domain, error) {
	d, ok := r.domains[name]
	if !ok {
		var err error
		if d, err = r.table.Domain(r.ctx, name); err != nil && !errors.Is(err, ErrNotLocal) {
			return d, err
		}
		r.domains[name] = d
	}
	if d.Name == "" {
		return d, fmt.Errorf("%w: %s", ErrNotLocal, name)
	}
	return d, nil
}

// follow adds the targets of addr. ErrNoUser and ErrNotLocal are only returned at
// depth 0, where someone is there to be told.
func (r *resolver) follow(addr string, depth int) error {
	if r.steps++; r.steps > maxSteps {
		return fmt.Errorf("%w: more than %d steps", ErrExpansion, maxSteps)
	}
	given, domain, err := split(addr)
	if domain == "" {
		return r.miss(addr, depth)
	}
	d, far := r.domain(domain)
	switch {
	case far != nil && (depth == 0 || !errors.Is(far, ErrNotLocal)):
		return far
	case err != nil:
		return r.miss(addr, depth)
	case far != nil:
		t := Target{Addr: join(given, domain)}
		return r.add(t, t)
	}
	key := join(fold(given), domain)
	if led, again := r.seen[key]; again {
		if led {
			r.hits++
		}
		return nil
	}
	r.seen[key] = false
	before := r.hits
	err = r.local(given, d, depth)
	r.seen[key] = r.hits > before
	return err
}

// local follows an address of a domain that is ours.
func (r *resolver) local(given string, d Domain, depth int) error {
	local, folder := fold(given), ""
	addr := join(local, d.Name)
	e, err := r.table.Entry(r.ctx, addr)
	if base, _, plus := strings.Cut(local, "+"); plus && base != "" && errors.Is(err, ErrNoUser) {
		_, folder, _ = strings.Cut(given, "+")
		e, err = r.table.Entry(r.ctx, join(base, d.Name))
	}
	switch {
	case errors.Is(err, ErrNoUser) && r.fallback:
		return r.others(local, d, depth)
	case errors.Is(err, ErrNoUser):
		return r.miss(addr, depth)
	case err != nil:
		return err
	case e.Account != "":
		return r.add(Target{Addr: addr, Account: e.Account, Mailbox: folder}, Target{Account: e.Account, Mailbox: folder})
	}
	for _, target := range e.Targets {
		if err := r.deeper(target, depth); err != nil {
			return err
		}
	}
	return nil
}

// deeper follows a target of an alias.
func (r *resolver) deeper(addr string, depth int) error {
	if depth == maxDepth {
		return fmt.Errorf("%w: deeper than %d", ErrExpansion, maxDepth)
	}
	return r.follow(addr, depth+1)
}

// others finds who gets mail for a local part that has no entry. Somebody reads
// postmaster's mail as long as there is anybody (RFC 5321, 4.5.1).
func (r *resolver) others(local string, d Domain, depth int) error {
	before := r.hits
	if (local == "postmaster" || local == "abuse") && d.Postmaster != "" {
		if err := r.deeper(d.Postmaster, depth); err != nil || r.hits > before {
			return err
		}
	}
	if d.CatchAll != "" {
		if err := r.deeper(d.CatchAll, depth); err != nil || r.hits > before {
			return err
		}
	}
	addr := join(local, d.Name)
	if local != "postmaster" {
		return r.miss(addr, depth)
	}
	acc, err := r.table.First(r.ctx, d.Name)
	if errors.Is(err, ErrNoUser) {
		return r.miss(addr, depth)
	}
	if err != nil {
		return err
	}
	return r.add(Target{Addr: addr, Account: acc.ID}, Target{Account: acc.ID})
}

// miss passes over a target that does not exist.
func (r *resolver) miss(addr string, depth int) error {
	if depth > 0 {
		return nil
	}
	return noUser(nil, addr)
}

// add adds a target that is not there yet. key is what tells it from others.
func (r *resolver) add(t, key Target) error {
	r.hits++
	if r.got[key] {
		return nil
	}
	if len(r.targets) == maxTargets {
		return fmt.Errorf("%w: more than %d targets", ErrExpansion, maxTargets)
	}
	r.got[key] = true
	r.targets = append(r.targets, t)
	return nil
}
