package admin

import (
	"context"
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
	return emit(Alias(al))
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
		if err := emit(Alias(al)); err != nil {
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
	return emit(Alias(al))
}
