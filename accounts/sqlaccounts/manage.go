package sqlaccounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// maxList is how many SendAs or AdminOf an account may have.
const maxList = 1000

// address returns the canonical form of an address with a domain.
func address(addr string) (string, error) {
	c, err := accounts.Canonical(addr)
	if err == nil && domainOf(c) == "" {
		err = fmt.Errorf("%w: %.100q", accounts.ErrBadAddress, addr)
	}
	return c, err
}

// tidy makes the fields of an account canonical.
func tidy(a *accounts.Account) (err error) {
	if a.Address, err = address(a.Address); err != nil {
		return err
	}
	for _, s := range a.SendAs {
		name, all := strings.CutPrefix(s, "*@")
		if all {
			_, err = accounts.CanonicalDomain(name)
		} else {
			_, err = address(s)
		}
		if err != nil {
			return err
		}
	}
	for _, s := range a.AdminOf {
		if _, err := accounts.CanonicalDomain(s); s != "*" && err != nil {
			return err
		}
	}
	switch {
	case len(a.SendAs) > maxList || len(a.AdminOf) > maxList:
		return fmt.Errorf("sqlaccounts: more than %d addresses or domains", maxList)
	case a.Quota < 0 || a.MaxMessages < 0:
		return errors.New("sqlaccounts: negative quota")
	case len(a.Name) > 1000 || !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, unicode.IsControl):
		return errors.New("sqlaccounts: name is too long or has control characters")
	}
	return nil
}

func (d *Directory) Account(ctx context.Context, key string) (a accounts.Account, err error) {
	where := `WHERE id = ?`
	if strings.Contains(key, "@") {
		where = `WHERE address = ?`
		if key, err = address(key); err != nil {
			return a, fmt.Errorf("%w: %w", accounts.ErrNoUser, err)
		}
	}
	err = d.db.View(ctx, func(c sqldb.Conn) (err error) {
		a, _, err = table{c}.account(where, key)
		return err
	})
	return a, err
}

// claim makes addr the address of an account, if its domain is ours and nobody has
// it.
func claim(ctx context.Context, c sqldb.Conn, addr string, id mailkeel.AccountID) error {
	t := table{c}
	name := domainOf(addr)
	if _, err := t.Domain(ctx, name); err != nil {
		return fmt.Errorf("%w: %s", err, name)
	}
	if _, err := t.Entry(ctx, addr); !errors.Is(err, accounts.ErrNoUser) {
		if err == nil {
			err = fmt.Errorf("%w: %s", accounts.ErrExists, addr)
		}
		return err
	}
	return c.Exec(`INSERT INTO accounts_address (address, domain, account, targets) VALUES (?, ?, ?, '[]')`, addr, name, string(id))
}

func (d *Directory) CreateAccount(ctx context.Context, a accounts.Account, password string) (accounts.Account, error) {
	a.SendAs, a.AdminOf = slices.Clone(a.SendAs), slices.Clone(a.AdminOf)
	if err := tidy(&a); err != nil {
		return accounts.Account{}, err
	}
	if password != "" {
		if err := d.hasher().Check(a.Address, password); err != nil {
			return accounts.Account{}, err
		}
	}
	phc, keys, err := d.secrets(ctx, password)
	if err != nil {
		return accounts.Account{}, err
	}
	a.ID = newID()
	err = d.update(ctx, func(c sqldb.Conn) error {
		if err := claim(ctx, c, a.Address, a.ID); err != nil {
			return err
		}
		return c.Exec(`INSERT INTO accounts_account (id, rev, address, domain, name, disabled, quota, maxmessages, shared, sendas, adminof,
			phc, salt, iterations, storedkey, serverkey) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			string(a.ID), a.Address, domainOf(a.Address), a.Name, a.Disabled, a.Quota, a.MaxMessages, a.Shared, list(a.SendAs), list(a.AdminOf),
			phc, keys.Salt, keys.Iterations, keys.StoredKey, keys.ServerKey)
	})
	if err != nil {
		return accounts.Account{}, err
	}
	return a, nil
}

// UpdateAccount runs fn outside of transactions, so that fn may take its time, and
// again if another change came first.
func (d *Directory) UpdateAccount(ctx context.Context, id mailkeel.AccountID, fn func(*accounts.Account) error) (accounts.Account, error) {
	for {
		var old accounts.Account
		var rev int64
		err := d.db.View(ctx, func(c sqldb.Conn) (err error) {
			old, rev, err = table{c}.account(`WHERE id = ?`, string(id))
			return err
		})
		if err != nil {
			return accounts.Account{}, err
		}
		a := old
		a.SendAs, a.AdminOf = slices.Clone(a.SendAs), slices.Clone(a.AdminOf)
		if err := fn(&a); err != nil {
			return accounts.Account{}, err
		}
		if err := tidy(&a); err != nil {
			return accounts.Account{}, err
		}
		a.ID = id
		err = d.update(ctx, func(c sqldb.Conn) error {
			err := c.Exec(`UPDATE accounts_account SET rev = rev + 1, address = ?, domain = ?, name = ?, disabled = ?, quota = ?,
				maxmessages = ?, shared = ?, sendas = ?, adminof = ? WHERE id = ? AND rev = ?`,
				a.Address, domainOf(a.Address), a.Name, a.Disabled, a.Quota, a.MaxMessages, a.Shared, list(a.SendAs), list(a.AdminOf), string(id), rev)
			if errors.Is(err, sqldb.ErrUnique) { // another account has the address
				return fmt.Errorf("%w: %s", accounts.ErrExists, a.Address)
			}
			if err == nil && c.Changes() == 0 {
				err = errChanged
			}
			if err != nil || a.Address == old.Address {
				return err
			}
			if err := claim(ctx, c, a.Address, id); err != nil {
				return err
			}
			return c.Exec(`DELETE FROM accounts_address WHERE address = ?`, old.Address)
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return accounts.Account{}, err
		}
		return a, nil
	}
}

// SetQuota is an UpdateAccount of the limits alone.
func (d *Directory) SetQuota(ctx context.Context, id mailkeel.AccountID, q mailkeel.Quota) error {
	_, err := d.UpdateAccount(ctx, id, func(a *accounts.Account) error {
		a.Quota, a.MaxMessages = q.Bytes, q.Messages
		return nil
	})
	return err
}

func (d *Directory) DeleteAccount(ctx context.Context, id mailkeel.AccountID) error {
	return d.update(ctx, func(c sqldb.Conn) error {
		if err := c.Exec(`DELETE FROM accounts_account WHERE id = ?`, string(id)); err != nil {
			return err
		}
		if c.Changes() == 0 {
			return accounts.ErrNoUser
		}
		if err := c.Exec(`DELETE FROM accounts_address WHERE account = ?`, string(id)); err != nil {
			return err
		}
		return c.Exec(`INSERT INTO accounts_deleted (id) VALUES (?)`, string(id))
	})
}

func (d *Directory) Deleted(ctx context.Context) (ids []mailkeel.AccountID, err error) {
	err = d.db.View(ctx, func(c sqldb.Conn) error {
		ids = nil
		return c.Query(`SELECT id FROM accounts_deleted ORDER BY seq`, func(r sqldb.Row) error {
			ids = append(ids, mailkeel.AccountID(r.Text(0)))
			return nil
		})
	})
	return ids, err
}

func (d *Directory) Purged(ctx context.Context, id mailkeel.AccountID) error {
	return d.exec(ctx, accounts.ErrNoUser, `DELETE FROM accounts_deleted WHERE id = ?`, string(id))
}

// exec runs one statement that changes rows, or returns none.
func (d *Directory) exec(ctx context.Context, none error, q string, args ...any) error {
	return d.update(ctx, func(c sqldb.Conn) error {
		err := c.Exec(q, args...)
		if err == nil && c.Changes() == 0 {
			err = none
		}
		return err
	})
}
