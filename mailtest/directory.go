package mailtest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
)

// directory is a static.Directory that grows: each account makes a new one.
type directory struct {
	mu  sync.Mutex // for put
	now atomic.Pointer[static.Directory]
}

var (
	_ accounts.Directory          = (*directory)(nil)
	_ accounts.SCRAMAuthenticator = (*directory)(nil)
)

func newDirectory() *directory {
	d := &directory{}
	d.now.Store(&static.Directory{})
	return d
}

// put makes an account or changes its password. fresh reports whether it is new.
func (d *directory) put(address, password string) (acc accounts.Account, fresh bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(d.now.Load().Accounts)
	at := slices.IndexFunc(all, func(a static.Account) bool { return strings.EqualFold(a.Address, address) })
	if fresh = at < 0; fresh {
		at = len(all)
		all = append(all, static.Account{Account: accounts.Account{ID: mailkeel.AccountID("id of " + address), Address: address}})
	}
	all[at].Password = password
	next := &static.Directory{Accounts: all}
	if err := next.Check(); err != nil {
		return accounts.Account{}, false, err
	}
	d.now.Store(next)
	return all[at].Account, fresh, nil
}

func (d *directory) Resolve(ctx context.Context, addr string) (accounts.Resolution, error) {
	return d.now.Load().Resolve(ctx, addr)
}

func (d *directory) MaySend(ctx context.Context, id mailkeel.AccountID, addr string) (bool, error) {
	return d.now.Load().MaySend(ctx, id, addr)
}

func (d *directory) Limit(ctx context.Context, id mailkeel.AccountID) (int64, error) {
	return d.now.Load().Limit(ctx, id)
}

func (d *directory) Authenticate(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	return d.now.Load().Authenticate(ctx, a)
}

func (d *directory) SCRAMKeys(ctx context.Context, a accounts.Attempt) (accounts.SCRAMKeys, error) {
	return d.now.Load().SCRAMKeys(ctx, a)
}

func (d *directory) SCRAMDone(ctx context.Context, a accounts.Attempt, ok bool) (accounts.Login, error) {
	return d.now.Load().SCRAMDone(ctx, a, ok)
}
