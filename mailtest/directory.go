package mailtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/internal/addr"
)

// A directory knows the accounts of a test. Unless it is strict it makes one when
// somebody first asks for its address.
type directory struct {
	strict bool
	ours   map[string]bool        // domains; empty means all
	fresh  func(accounts.Account) // told of each new account
	hasher password.Hasher
	secret []byte // for SCRAM keys of unknown logins

	mu      sync.RWMutex
	all     map[string]*account // by address
	first   map[string]string   // the first address of each domain
	aliases map[string][]string // by address
	home    string              // the first domain
	closed  bool                // no account is made any more
}

type account struct {
	accounts.Account
	password string // empty: any, or none if strict
	keys     accounts.SCRAMKeys
}

var (
	_ accounts.Directory          = (*directory)(nil)
	_ accounts.Roster             = (*directory)(nil)
	_ accounts.SCRAMAuthenticator = (*directory)(nil)
	_ accounts.Table              = table{}
)

func newDirectory(strict bool, domains []string, fresh func(accounts.Account)) *directory {
	d := &directory{strict: strict, ours: map[string]bool{}, fresh: fresh, aliases: map[string][]string{}, secret: make([]byte, 32), all: map[string]*account{}, first: map[string]string{}}
	rand.Read(d.secret)
	for _, name := range domains {
		d.ours[strings.ToLower(name)] = true
	}
	return d
}

// put makes an account or changes its password.
func (d *directory) put(address, password string) (accounts.Account, error) {
	address, err := accounts.Canonical(address)
	if err != nil {
		return accounts.Account{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.make(address)
	if a == nil {
		return accounts.Account{}, accounts.ErrNoUser
	}
	a.password, a.keys = password, accounts.SCRAMKeys{}
	return a.Account, nil
}

// make returns an account, new or not, or nil at the end of the test. mu is held.
func (d *directory) make(address string) *account {
	a := d.all[address]
	_, domain := addr.Split(address)
	if a == nil && !d.closed && (len(d.ours) == 0 || d.ours[domain]) {
		a = &account{Account: accounts.Account{ID: mailkeel.AccountID("id of " + address), Address: address}}
		d.all[address] = a
		if d.first[domain] == "" {
			d.first[domain] = address
		}
		if d.home == "" {
			d.home = domain
		}
		d.fresh(a.Account)
	}
	return a
}

// alias makes an alias.
func (d *directory) alias(address string, targets []string) error {
	address, err := accounts.Canonical(address)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aliases[address] = targets
	_, domain := addr.Split(address)
	if d.first[domain] == "" { // it is one of ours now
		d.first[domain] = address
	}
	d.home = cmp.Or(d.home, domain)
	return nil
}

// close ends the making of accounts.
func (d *directory) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// list is all accounts.
func (d *directory) list() (out []accounts.Account) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, a := range d.all {
		out = append(out, a.Account)
	}
	return out
}

func (d *directory) Resolve(ctx context.Context, addr string) (accounts.Resolution, error) {
	return accounts.Resolve(ctx, table{d}, addr)
}

// MaySend lets anyone send as anyone, unless the directory is strict.
func (d *directory) MaySend(ctx context.Context, id mailkeel.AccountID, addr string) (bool, error) {
	if !d.strict {
		return true, nil
	}
	return accounts.MaySend(ctx, table{d}, id, addr)
}

func (d *directory) Limit(ctx context.Context, id mailkeel.AccountID) (mailkeel.Quota, error) {
	_, err := table{d}.ByID(ctx, id)
	return mailkeel.Quota{}, err
}

func (d *directory) ByID(ctx context.Context, id mailkeel.AccountID) (accounts.Identity, error) {
	a, err := table{d}.ByID(ctx, id)
	return a.Identity(), err
}

// ByAddress knows those that are there: a question makes no account.
func (d *directory) ByAddress(_ context.Context, addr string) (accounts.Identity, error) {
	addr, err := accounts.Canonical(addr)
	if err != nil {
		return accounts.Identity{}, accounts.ErrNoUser
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	a := d.all[addr]
	if a == nil {
		return accounts.Identity{}, accounts.ErrNoUser
	}
	return a.Identity(), nil
}

func (d *directory) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	login, err := accounts.Canonical(a.Login)
	if err != nil {
		return accounts.Login{}, accounts.ErrBadCredentials
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	acc := d.all[login]
	if acc == nil && !d.strict && d.aliases[login] == nil {
		acc = d.make(login)
	}
	if acc == nil || acc.password != a.Password && (d.strict || acc.password != "") || d.strict && acc.password == "" {
		return accounts.Login{}, accounts.ErrBadCredentials
	}
	return accounts.Login{Account: acc.ID}, nil
}

// HasSCRAM: who takes any password cannot prove to know it.
func (d *directory) HasSCRAM() bool { return d.strict }

func (d *directory) SCRAMKeys(_ context.Context, a accounts.Attempt) (keys accounts.SCRAMKeys, err error) {
	login, err := accounts.Canonical(a.Login)
	if err != nil {
		login = a.Login
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	acc := d.all[login]
	if acc == nil || acc.password == "" {
		return d.hasher.FakeSCRAM(d.secret, login), nil
	}
	if acc.keys.StoredKey == nil {
		acc.keys, err = d.hasher.SCRAM(acc.password)
	}
	return acc.keys, err
}

func (d *directory) SCRAMDone(_ context.Context, a accounts.Attempt, ok bool) (accounts.Login, error) {
	login, err := accounts.Canonical(a.Login)
	d.mu.RLock()
	defer d.mu.RUnlock()
	if acc := d.all[login]; ok && err == nil && acc != nil && acc.password != "" {
		return accounts.Login{Account: acc.ID}, nil
	}
	return accounts.Login{}, accounts.ErrBadCredentials
}

// table is a directory as an accounts.Table.
type table struct{ d *directory }

func (t table) Domain(_ context.Context, name string) (accounts.Domain, error) {
	t.d.mu.RLock()
	defer t.d.mu.RUnlock()
	if len(t.d.ours) > 0 && !t.d.ours[name] || len(t.d.ours) == 0 && t.d.strict && t.d.first[name] == "" {
		return accounts.Domain{}, accounts.ErrNotLocal
	}
	return accounts.Domain{Name: name}, nil
}

func (t table) Home(context.Context) (accounts.Domain, error) {
	t.d.mu.RLock()
	defer t.d.mu.RUnlock()
	if t.d.home == "" {
		return accounts.Domain{}, accounts.ErrNotLocal
	}
	return accounts.Domain{Name: t.d.home}, nil
}

func (t table) Entry(_ context.Context, address string) (accounts.Entry, error) {
	t.d.mu.RLock()
	a, targets := t.d.all[address], t.d.aliases[address]
	t.d.mu.RUnlock()
	if targets != nil {
		return accounts.Entry{Targets: targets}, nil
	}
	// A plus address is that of the account before the plus.
	if local, _ := addr.Split(address); a == nil && !t.d.strict && !strings.Contains(local, "+") {
		t.d.mu.Lock()
		a = t.d.make(address)
		t.d.mu.Unlock()
	}
	if a == nil {
		return accounts.Entry{}, accounts.ErrNoUser
	}
	return accounts.Entry{Account: a.ID}, nil
}

func (t table) First(_ context.Context, domain string) (accounts.Account, error) {
	t.d.mu.RLock()
	defer t.d.mu.RUnlock()
	if a := t.d.all[t.d.first[domain]]; a != nil {
		return a.Account, nil
	}
	return accounts.Account{}, accounts.ErrNoUser
}

func (t table) ByID(_ context.Context, id mailkeel.AccountID) (accounts.Account, error) {
	t.d.mu.RLock()
	defer t.d.mu.RUnlock()
	if address, ok := strings.CutPrefix(string(id), "id of "); ok {
		if a := t.d.all[address]; a != nil {
			return a.Account, nil
		}
	}
	return accounts.Account{}, accounts.ErrNoUser
}
