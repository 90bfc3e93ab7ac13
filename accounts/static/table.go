package static

import (
	"context"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/addr"
)

// table is an index as an accounts.Table.
type table struct{ x *index }

func (t table) Domain(_ context.Context, name string) (accounts.Domain, error) {
	if d, ok := t.x.byDomain[name]; ok {
		return d, nil
	}
	return accounts.Domain{}, accounts.ErrNotLocal
}

func (t table) Home(context.Context) (accounts.Domain, error) {
	if len(t.x.domains) == 0 {
		return accounts.Domain{}, accounts.ErrNotLocal
	}
	return t.x.domains[0], nil
}

func (t table) Entry(_ context.Context, addr string) (accounts.Entry, error) {
	if e, ok := t.x.entries[addr]; ok {
		return e, nil
	}
	return accounts.Entry{}, accounts.ErrNoUser
}

func (t table) First(_ context.Context, domain string) (accounts.Account, error) {
	for _, r := range t.x.rows {
		if !r.Disabled && domainOf(r.Address) == domain {
			return r.Account, nil
		}
	}
	return accounts.Account{}, accounts.ErrNoUser
}

func (t table) ByID(_ context.Context, id mailkeel.AccountID) (accounts.Account, error) {
	if r := t.x.byID[id]; r != nil {
		return r.Account, nil
	}
	return accounts.Account{}, accounts.ErrNoUser
}

func domainOf(address string) string {
	_, d := addr.Split(address)
	return d
}
