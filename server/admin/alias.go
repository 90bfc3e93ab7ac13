package admin

import (
	"context"
	"errors"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
)

// aliasArgs are those of the alias commands.
type aliasArgs struct {
	Address string   `json:"address,omitempty"`
	Targets []string `json:"targets,omitempty"`
	Domain  string   `json:"domain,omitempty"` // of list
}

// An Alias is a row of the alias commands.
type Alias struct {
	Address string   `json:"address"`
	Targets []string `json:"targets"`
	// Warning says which targets lead nowhere, after a change.
	Warning string `json:"warning,omitempty"`
}

// row is an alias as it is shown.
func row(al accounts.Alias) Alias { return Alias{Address: al.Address, Targets: al.Targets} }

// nowhere names those of some addresses of ours that lead nowhere, as a warning:
// they need not exist yet.
func (a *Admin) nowhere(ctx context.Context, addrs ...string) string {
	users, ok := a.Accounts.(accounts.Directory)
	if !ok {
		return ""
	}
	var bad []string
	for _, addr := range addrs {
		_, err := users.Resolve(ctx, addr)
		if errors.Is(err, accounts.ErrNoUser) || errors.Is(err, accounts.ErrExpansion) {
			bad = append(bad, addr)
		}
	}
	if bad == nil {
		return ""
	}
	return "mail to " + strings.Join(bad, ", ") + " reaches nobody: no account has that address"
}

// alias finds one by address, in any case.
func (a *Admin) alias(ctx context.Context, address string) (accounts.Alias, error) {
	_, domain, _ := strings.Cut(address, "@")
	for al, err := range a.Accounts.Aliases(ctx, strings.ToLower(domain)) {
		if err != nil {
			return accounts.Alias{}, err
		}
		if strings.EqualFold(al.Address, address) {
			return al, nil
		}
	}
	return accounts.Alias{}, fail("no such alias: "+address, "alias list shows those that exist")
}

func aliasAdd(a *Admin, ctx context.Context, args aliasArgs, emit Emit) error {
	if _, err := a.alias(ctx, args.Address); err == nil {
		return fail("the alias exists already: "+args.Address, "alias set changes it")
	}
	return a.putAlias(ctx, args, emit)
}

func aliasSet(a *Admin, ctx context.Context, args aliasArgs, emit Emit) error {
	if _, err := a.alias(ctx, args.Address); err != nil {
		return err
	}
	return a.putAlias(ctx, args, emit)
}

func (a *Admin) putAlias(ctx context.Context, args aliasArgs, emit Emit) error {
	al := accounts.Alias{Address: args.Address, Targets: args.Targets}
	if err := a.Accounts.PutAlias(ctx, al); err != nil {
		return err
	}
	if kept, err := a.alias(ctx, al.Address); err == nil {
		al = kept
	}
	r := row(al)
	r.Warning = a.nowhere(ctx, al.Targets...)
	return emit(r)
}

func aliasList(a *Admin, ctx context.Context, args aliasArgs, emit Emit) error {
	if args.Domain != "" {
		if _, err := a.domain(ctx, args.Domain); err != nil {
			return err
		}
	}
	for al, err := range a.Accounts.Aliases(ctx, strings.ToLower(args.Domain)) {
		if err != nil {
			return err
		}
		if err := emit(row(al)); err != nil {
			return err
		}
	}
	return nil
}

func aliasDelete(a *Admin, ctx context.Context, args aliasArgs, emit Emit) error {
	al, err := a.alias(ctx, args.Address)
	if err != nil {
		return err
	}
	if err := a.Accounts.DeleteAlias(ctx, al.Address); err != nil {
		return err
	}
	return emit(row(al))
}
