package sqlaccounts

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// credentials are what an account logs in with. Those of nobody are zero.
type credentials struct {
	account accounts.Account
	phc     string
	keys    accounts.SCRAMKeys
}

// credentials looks up who may log in with a login: an address of an account that
// is not disabled and has a password. The same statement runs for everybody.
func (d *Directory) credentials(ctx context.Context, login string) (k credentials, err error) {
	addr, err := accounts.Canonical(login)
	if err != nil {
		addr = "@" // an address that nobody has
	}
	err = d.db.View(ctx, func(c sqldb.Conn) error {
		k = credentials{}
		return c.Query(`SELECT `+columns+`, phc, salt, iterations, storedkey, serverkey FROM accounts_account
			WHERE address = ? AND disabled = 0 AND phc <> ''`, func(r sqldb.Row) (err error) {
			k.account, _, err = scan(r)
			k.phc = r.Text(10)
			k.keys = accounts.SCRAMKeys{Salt: r.Bytes(11), Iterations: int(r.Int(12)), StoredKey: r.Bytes(13), ServerKey: r.Bytes(14)}
			return err
		}, addr)
	})
	return k, err
}

// verify checks a password, with the same work for nobody.
func (d *Directory) verify(ctx context.Context, a accounts.Attempt) (credentials, error) {
	k, err := d.credentials(ctx, a.Login)
	if err != nil {
		return k, err
	}
	ok, err := d.hasher().Verify(ctx, k.phc, a.Password)
	if err != nil {
		return k, fmt.Errorf("sqlaccounts: account %s: %w", k.account.ID, err)
	}
	if !ok {
		return k, accounts.ErrBadCredentials
	}
	return k, nil
}

func (k credentials) login() accounts.Login {
	return accounts.Login{Account: k.account.ID, AdminOf: k.account.AdminOf}
}

// Authenticate knows an account by its address. A hash that was made with other
// parameters than the Hasher's is made anew.
func (d *Directory) Authenticate(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	k, err := d.verify(ctx, a)
	if err != nil {
		return accounts.Login{}, err
	}
	if h := d.hasher(); h.NeedsRehash(k.phc) || k.keys.Iterations < h.Iterations {
		if err := d.store(ctx, k.account.ID, k.phc, a.Password); err != nil && !errors.Is(err, errChanged) {
			d.logger().Warn("sqlaccounts: could not renew a hash", "account", k.account.ID, "err", err)
		}
	}
	return k.login(), nil
}

func (d *Directory) SCRAMKeys(ctx context.Context, a accounts.Attempt) (accounts.SCRAMKeys, error) {
	login, err := accounts.Canonical(a.Login)
	if err != nil {
		login = a.Login
	}
	fake := d.hasher().FakeSCRAM(d.secret, login)
	k, err := d.credentials(ctx, a.Login)
	switch {
	case err != nil:
		return accounts.SCRAMKeys{}, err
	case k.phc == "":
		return fake, nil
	}
	return k.keys, nil
}

func (d *Directory) SCRAMDone(ctx context.Context, a accounts.Attempt, ok bool) (accounts.Login, error) {
	if !ok {
		return accounts.Login{}, accounts.ErrBadCredentials
	}
	k, err := d.credentials(ctx, a.Login)
	switch {
	case err != nil:
		return accounts.Login{}, err
	case k.phc == "":
		return accounts.Login{}, accounts.ErrBadCredentials
	}
	return k.login(), nil
}

func (d *Directory) SetPassword(ctx context.Context, a accounts.Attempt, password string) error {
	k, err := d.verify(ctx, a)
	if err != nil {
		return err
	}
	if err := d.hasher().Check(k.account.Address, password); err != nil {
		return err
	}
	if err := d.store(ctx, k.account.ID, k.phc, password); !errors.Is(err, errChanged) {
		return err
	}
	return accounts.ErrBadCredentials
}

// ResetPassword sets a password; an empty one takes the login away.
func (d *Directory) ResetPassword(ctx context.Context, id mailkeel.AccountID, password string) error {
	var acc accounts.Account
	err := d.db.View(ctx, func(c sqldb.Conn) (err error) {
		acc, err = table{c}.ByID(ctx, id)
		return err
	})
	if err == nil && password != "" {
		err = d.hasher().Check(acc.Address, password)
	}
	if err != nil {
		return err
	}
	if err := d.store(ctx, id, "", password); !errors.Is(err, errChanged) {
		return err
	}
	return accounts.ErrNoUser
}

// errChanged means that the account has another hash by now, or has gone.
var errChanged = errors.New("sqlaccounts: changed in between")

// secrets are the columns that are made of a password.
func (d *Directory) secrets(ctx context.Context, password string) (phc string, keys accounts.SCRAMKeys, err error) {
	if password == "" {
		return "", keys, nil
	}
	if phc, err = d.hasher().Hash(ctx, password); err != nil {
		return "", keys, err
	}
	keys, err = d.hasher().SCRAM(password)
	return phc, keys, err
}

// store replaces the password of an account, if its hash is still old or if old is
// empty.
func (d *Directory) store(ctx context.Context, id mailkeel.AccountID, old, password string) error {
	phc, keys, err := d.secrets(ctx, password)
	if err != nil {
		return err
	}
	return d.update(ctx, func(c sqldb.Conn) error {
		err := c.Exec(`UPDATE accounts_account SET phc = ?, salt = ?, iterations = ?, storedkey = ?, serverkey = ?
			WHERE id = ? AND (phc = ? OR ? = '')`, phc, keys.Salt, keys.Iterations, keys.StoredKey, keys.ServerKey, string(id), old, old)
		if err == nil && c.Changes() == 0 {
			err = errChanged
		}
		return err
	})
}
