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
	r := resolver{ctx: ctx, table: t, fallback: true, seen: map[string]bool{}, got: map[Target]bool{}}
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
	r := resolver{ctx: ctx, table: t, seen: map[string]bool{}, got: map[Target]bool{}}
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
	fallback bool            // go to postmaster and catch-all addresses
	seen     map[string]bool // canonical addresses that were followed
	got      map[Target]bool // with only what tells targets apart
	targets  []Target
}

// follow adds the targets of addr. ErrNoUser and ErrNotLocal are only returned at
// depth 0, where someone is there to be told.
func (r *resolver) follow(addr string, depth int) error {
	given, domain, err := split(addr)
	if err != nil {
		return r.miss(noUser(nil, addr), depth)
	}
	local := fold(given)
	if key := Join(local, domain); r.seen[key] {
		return nil
	} else if r.seen[key] = true; len(r.seen) > 2*maxTargets {
		return fmt.Errorf("%w: more than %d addresses", ErrExpansion, 2*maxTargets)
	}
	d, err := r.table.Domain(r.ctx, domain)
	if errors.Is(err, ErrNotLocal) && depth > 0 {
		return r.add(Target{Addr: Join(given, domain)}, Target{Addr: Join(given, domain)})
	}
	if err != nil {
		return err
	}
	e, err := r.table.Entry(r.ctx, Join(local, domain))
	folder := ""
	if errors.Is(err, ErrNoUser) {
		if base, _, plus := strings.Cut(local, "+"); plus && base != "" {
			_, folder, _ = strings.Cut(given, "+")
			e, err = r.table.Entry(r.ctx, Join(base, domain))
		}
	}
	if errors.Is(err, ErrNoUser) && r.fallback {
		folder = ""
		e, err = r.others(local, d)
	}
	switch {
	case errors.Is(err, ErrNoUser):
		return r.miss(noUser(nil, addr), depth)
	case err != nil:
		return err
	case e.Account != "":
		return r.add(Target{Addr: Join(local, domain), Account: e.Account, Mailbox: folder}, Target{Account: e.Account, Mailbox: folder})
	case depth == maxDepth:
		return fmt.Errorf("%w: deeper than %d", ErrExpansion, maxDepth)
	}
	for _, target := range e.Targets {
		if err := r.follow(target, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// others finds who gets mail for a local part that has no entry.
func (r *resolver) others(local string, d Domain) (Entry, error) {
	mandatory := local == "postmaster" || local == "abuse"
	switch {
	case mandatory && d.Postmaster != "":
		return Entry{Targets: []string{d.Postmaster}}, nil
	case d.CatchAll != "":
		return Entry{Targets: []string{d.CatchAll}}, nil
	case local == "postmaster":
		acc, err := r.table.First(r.ctx, d.Name)
		return Entry{Account: acc.ID}, err
	}
	return Entry{}, ErrNoUser
}

// miss passes over a target that does not exist.
func (r *resolver) miss(err error, depth int) error {
	if depth > 0 {
		return nil
	}
	return err
}

// add adds a target that is not there yet. key is what tells it from others.
func (r *resolver) add(t, key Target) error {
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
