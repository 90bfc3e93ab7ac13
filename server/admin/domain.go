package admin

import (
	"context"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
)

// domainArgs are those of the domain commands.
type domainArgs struct {
	Name       string  `json:"name,omitempty"`
	CatchAll   *string `json:"catch_all,omitempty"`
	Postmaster *string `json:"postmaster,omitempty"`
}

// A Domain is a row of the domain commands.
type Domain struct {
	Name       string `json:"name"`
	CatchAll   string `json:"catch_all,omitempty"`
	Postmaster string `json:"postmaster,omitempty"`
	// Warning says which of them leads nowhere, after a change.
	Warning string `json:"warning,omitempty"`
}

func domainRow(d accounts.Domain) Domain {
	return Domain{Name: d.Name, CatchAll: d.CatchAll, Postmaster: d.Postmaster}
}

// domain finds one by name, in any case.
func (a *Admin) domain(ctx context.Context, name string) (accounts.Domain, error) {
	ds, err := a.Accounts.Domains(ctx)
	if err != nil {
		return accounts.Domain{}, err
	}
	at := slices.IndexFunc(ds, func(d accounts.Domain) bool { return strings.EqualFold(d.Name, name) })
	if at < 0 {
		return accounts.Domain{}, fail("no such domain: "+name, "domain list shows those that exist")
	}
	return ds[at], nil
}

func domainAdd(a *Admin, ctx context.Context, args domainArgs, emit Emit) error {
	if _, err := a.domain(ctx, args.Name); err == nil {
		return fail("the domain exists already: "+args.Name, "domain set changes it")
	}
	return a.putDomain(ctx, accounts.Domain{Name: args.Name}, args, emit)
}

func domainSet(a *Admin, ctx context.Context, args domainArgs, emit Emit) error {
	d, err := a.domain(ctx, args.Name)
	if err != nil {
		return err
	}
	return a.putDomain(ctx, d, args, emit)
}

func (a *Admin) putDomain(ctx context.Context, d accounts.Domain, args domainArgs, emit Emit) error {
	set(&d.CatchAll, args.CatchAll)
	set(&d.Postmaster, args.Postmaster)
	if err := a.Accounts.PutDomain(ctx, d); err != nil {
		return err
	}
	if kept, err := a.domain(ctx, d.Name); err == nil {
		d = kept // with the name as it is written there
	}
	r := domainRow(d)
	var to []string
	for _, addr := range []string{d.CatchAll, d.Postmaster} {
		if addr != "" {
			to = append(to, addr)
		}
	}
	r.Warning = a.nowhere(ctx, to...)
	return emit(r)
}

func domainList(a *Admin, ctx context.Context, _ domainArgs, emit Emit) error {
	ds, err := a.Accounts.Domains(ctx)
	if err != nil {
		return err
	}
	for _, d := range ds {
		if err := emit(domainRow(d)); err != nil {
			return err
		}
	}
	return nil
}

func domainDelete(a *Admin, ctx context.Context, args domainArgs, emit Emit) error {
	d, err := a.domain(ctx, args.Name)
	if err != nil {
		return err
	}
	if err := a.Accounts.DeleteDomain(ctx, d.Name); err != nil {
		return err
	}
	return emit(domainRow(d))
}
