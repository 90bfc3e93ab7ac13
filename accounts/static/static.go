// Package static is a directory of accounts that is written down in the program:
// for tests, small embeddings and appliances with one mailbox.
package static

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/password"
)

// A Directory knows the accounts and aliases of its fields. They are not changed
// after the first call of a method; Check finds mistakes in them, which all
// methods return too. It is used from many goroutines.
type Directory struct {
	// Domains are those that are ours; empty means those of the accounts and
	// aliases.
	Domains  []accounts.Domain
	Accounts []Account
	Aliases  []accounts.Alias
	// Hasher checks passwords that are in PHC form; nil means a zero one.
	Hasher *password.Hasher
	// Compared is called for each password that was compared, if it is set.
	// Tests count with it.
	Compared func()
	// Tokens says whose a bearer token is, for OAUTHBEARER and XOAUTH2; nil
	// offers neither.
	Tokens accounts.TokenFunc
	// Certificates says whose the certificate of a client is, for EXTERNAL; nil
	// does not offer it.
	Certificates accounts.CertificateFunc
	// Impersonation lets administrators act as the accounts of their domains by
	// the authorization identity of SASL: read their mail, and send for them.
	Impersonation bool

	own   password.Hasher
	once  sync.Once
	err   error
	index index
	mu    sync.Mutex // for row.keys
}

// An Account is one with its password.
type Account struct {
	// Account has an ID made of the address if it has none: give one if the
	// address may change and the mail outlives the process.
	accounts.Account
	// Password is plain, or a hash in the PHC form of package password; empty
	// means that nobody can log in.
	Password string
	// SCRAM are the keys of a Password that is a hash. Without them the
	// Directory offers no SCRAM-SHA-256. Keys of plain passwords are made when
	// they are needed, and then with each login.
	SCRAM accounts.SCRAMKeys
}

type index struct {
	domains  []accounts.Domain
	byDomain map[string]accounts.Domain
	entries  map[string]accounts.Entry
	rows     []*row
	byID     map[mailkeel.AccountID]*row
	hashed   bool // some passwords are hashes
	plain    bool // and some are not
	scram    bool
	secret   []byte // for SCRAM keys of unknown logins
}

type row struct {
	accounts.Account
	plain bool
	pass  string
	keys  accounts.SCRAMKeys
}

var (
	_ accounts.Directory          = (*Directory)(nil)
	_ accounts.Roster             = (*Directory)(nil)
	_ accounts.SCRAMAuthenticator = (*Directory)(nil)
	_ accounts.Authenticator      = (*Directory)(nil)
	_ accounts.Table              = table{}
)

// Check returns what is wrong with the fields: an address or domain that is none
// or not ours, one that is there twice, a hash that cannot be read.
func (d *Directory) Check() error {
	d.once.Do(func() { d.err = d.build() })
	return d.err
}

func (d *Directory) build() error {
	x := &d.index
	x.byDomain, x.entries, x.byID = map[string]accounts.Domain{}, map[string]accounts.Entry{}, map[mailkeel.AccountID]*row{}
	x.secret = make([]byte, 32)
	rand.Read(x.secret)
	x.scram = true
	var errs []error
	for _, dom := range d.Domains {
		name, err := accounts.CanonicalDomain(dom.Name)
		dom.Name = name
		if _, twice := x.byDomain[name]; err == nil && twice {
			err = fmt.Errorf("%w: %s", accounts.ErrExists, name)
		}
		if err == nil {
			x.domains = append(x.domains, dom)
			x.byDomain[name] = dom
		}
		errs = append(errs, err)
	}
	for _, a := range d.Accounts {
		errs = append(errs, d.addAccount(a))
	}
	for _, a := range d.Aliases {
		errs = append(errs, d.addAddress(a.Address, accounts.Entry{Targets: a.Targets}))
	}
	return errors.Join(errs...)
}

func (d *Directory) addAccount(a Account) error {
	x := &d.index
	r := &row{Account: a.Account, plain: !strings.HasPrefix(a.Password, "$argon2id$"), pass: a.Password, keys: a.SCRAM}
	addr, err := accounts.Canonical(a.Address)
	if err != nil {
		return err
	}
	if r.Address = addr; r.ID == "" {
		sum := sha256.Sum256([]byte("mailkeel static account " + addr))
		r.ID = mailkeel.AccountID("a" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:26]))
	}
	if x.byID[r.ID] != nil {
		return fmt.Errorf("%w: account ID %s", accounts.ErrExists, r.ID)
	}
	x.plain = x.plain || r.plain && r.pass != ""
	if !r.plain {
		if _, err := password.Parse(a.Password); err != nil {
			return fmt.Errorf("%s: %w", addr, err)
		}
		x.hashed = true
		x.scram = x.scram && len(a.SCRAM.StoredKey) > 0
	}
	if err := d.addAddress(addr, accounts.Entry{Account: r.ID}); err != nil {
		return err
	}
	x.byID[r.ID] = r
	x.rows = append(x.rows, r)
	return nil
}

func (d *Directory) addAddress(addr string, e accounts.Entry) error {
	x := &d.index
	addr, err := accounts.Canonical(addr)
	if err != nil {
		return err
	}
	name := domainOf(addr)
	if name == "" { // postmaster alone
		return fmt.Errorf("%w: %s", accounts.ErrBadAddress, addr)
	}
	if x.byDomain[name].Name == "" {
		if len(d.Domains) > 0 {
			return fmt.Errorf("%w: %s", accounts.ErrNotLocal, addr)
		}
		x.byDomain[name] = accounts.Domain{Name: name}
		x.domains = append(x.domains, x.byDomain[name])
	}
	if _, twice := x.entries[addr]; twice {
		return fmt.Errorf("%w: %s", accounts.ErrExists, addr)
	}
	x.entries[addr] = e
	return nil
}

func (d *Directory) Resolve(ctx context.Context, addr string) (accounts.Resolution, error) {
	if err := d.Check(); err != nil {
		return accounts.Resolution{}, err
	}
	return accounts.Resolve(ctx, table{&d.index}, addr)
}

func (d *Directory) MaySend(ctx context.Context, id mailkeel.AccountID, addr string) (bool, error) {
	if err := d.Check(); err != nil {
		return false, err
	}
	return accounts.MaySend(ctx, table{&d.index}, id, addr)
}

func (d *Directory) Limit(ctx context.Context, id mailkeel.AccountID) (mailkeel.Quota, error) {
	if err := d.Check(); err != nil {
		return mailkeel.Quota{}, err
	}
	acc, err := table{&d.index}.ByID(ctx, id)
	return mailkeel.Quota{Bytes: acc.Quota, Messages: acc.MaxMessages}, err
}

func (d *Directory) ByID(ctx context.Context, id mailkeel.AccountID) (accounts.Identity, error) {
	if err := d.Check(); err != nil {
		return accounts.Identity{}, err
	}
	acc, err := table{&d.index}.ByID(ctx, id)
	return acc.Identity(), err
}

func (d *Directory) ByAddress(ctx context.Context, addr string) (accounts.Identity, error) {
	if err := d.Check(); err != nil {
		return accounts.Identity{}, err
	}
	addr, err := accounts.Canonical(addr)
	if err != nil {
		return accounts.Identity{}, fmt.Errorf("%w: %w", accounts.ErrNoUser, err)
	}
	e, err := table{&d.index}.Entry(ctx, addr)
	if err == nil && e.Account == "" {
		err = accounts.ErrNoUser
	}
	if err != nil {
		return accounts.Identity{}, err
	}
	return d.ByID(ctx, e.Account)
}

// Authenticate compares a plain password in a time that does not depend on where it
// differs, and computes a hash for every login if any account has one, so that
// nobody can tell which have.
func (d *Directory) Authenticate(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	if err := d.Check(); err != nil {
		return accounts.Login{}, err
	}
	r := d.row(a.Login)
	hash, plain := "", ""
	if r != nil && r.plain {
		plain = r.pass
	} else if r != nil {
		hash = r.pass
	}
	want, got := sha256.Sum256([]byte(plain)), sha256.Sum256([]byte(a.Password))
	ok := subtle.ConstantTimeCompare(want[:], got[:]) == 1 && plain != ""
	if d.index.hashed {
		same, err := d.hasher().Verify(ctx, hash, a.Password)
		if err != nil {
			return accounts.Login{}, err
		}
		ok = ok || same
	}
	if d.Compared != nil {
		d.Compared()
	}
	if !ok {
		return accounts.Login{}, accounts.ErrBadCredentials
	}
	return r.login(), nil
}

// HasSCRAM reports whether every account with a password has SCRAM keys.
func (d *Directory) HasSCRAM() bool { return d.Check() == nil && d.index.scram }

func (d *Directory) SCRAMKeys(_ context.Context, a accounts.Attempt) (accounts.SCRAMKeys, error) {
	if err := d.Check(); err != nil {
		return accounts.SCRAMKeys{}, err
	}
	login, err := accounts.Canonical(a.Login)
	if err != nil {
		login = a.Login
	}
	keys := d.hasher().FakeSCRAM(d.index.secret, login)
	r := d.row(a.Login)
	known := r != nil && r.pass != ""
	var made accounts.SCRAMKeys
	if d.index.plain { // once for each login, known or not, so that nobody can tell
		pass := ""
		if known && r.plain {
			pass = r.pass
		}
		if made, err = d.hasher().SCRAM(pass); err != nil {
			return accounts.SCRAMKeys{}, err
		}
	}
	if !known {
		return keys, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case r.keys.StoredKey != nil:
	case r.plain:
		r.keys = made
	default:
		r.keys = keys
	}
	return r.keys, nil
}

func (d *Directory) SCRAMDone(_ context.Context, a accounts.Attempt, ok bool) (accounts.Login, error) {
	if err := d.Check(); err != nil {
		return accounts.Login{}, err
	}
	if r := d.row(a.Login); ok && r != nil && r.pass != "" {
		return r.login(), nil
	}
	return accounts.Login{}, accounts.ErrBadCredentials
}

func (d *Directory) hasher() *password.Hasher {
	if d.Hasher != nil {
		return d.Hasher
	}
	return &d.own
}

// row returns the account that may log in with this login, or nil.
func (d *Directory) row(login string) *row {
	addr, err := accounts.Canonical(login)
	if err != nil {
		return nil
	}
	if r := d.index.byID[d.index.entries[addr].Account]; r != nil && !r.Disabled {
		return r
	}
	return nil
}

func (r *row) login() accounts.Login {
	return accounts.Login{Account: r.ID, AdminOf: slices.Clone(r.AdminOf)}
}
