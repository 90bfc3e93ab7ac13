package sqlaccounts

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

func (d *Directory) resolve(ctx context.Context, addr string) (r accounts.Resolution, err error) {
	err = d.db.View(ctx, func(c sqldb.Conn) (err error) {
		r, err = accounts.Resolve(ctx, table{c}, addr)
		return err
	})
	return r, err
}

func (d *Directory) MaySend(ctx context.Context, id mailkeel.AccountID, addr string) (ok bool, err error) {
	err = d.db.View(ctx, func(c sqldb.Conn) (err error) {
		ok, err = accounts.MaySend(ctx, table{c}, id, addr)
		return err
	})
	return ok, err
}

func (d *Directory) limit(ctx context.Context, id mailkeel.AccountID) (q mailkeel.Quota, err error) {
	err = d.db.View(ctx, func(c sqldb.Conn) error {
		found := false
		err := c.Query(`SELECT quota, maxmessages FROM accounts_account WHERE id = ?`, func(r sqldb.Row) error {
			q, found = mailkeel.Quota{Bytes: r.Int(0), Messages: r.Int(1)}, true
			return nil
		}, string(id))
		if err == nil && !found {
			err = accounts.ErrNoUser
		}
		return err
	})
	return q, err
}

func (d *Directory) identity(ctx context.Context, where string, key string) (accounts.Identity, error) {
	var a accounts.Account
	err := d.db.View(ctx, func(c sqldb.Conn) (err error) {
		a, _, err = table{c}.account(where, key)
		return err
	})
	return a.Identity(), err
}

func (d *Directory) ByID(ctx context.Context, id mailkeel.AccountID) (accounts.Identity, error) {
	return d.identity(ctx, `WHERE id = ?`, string(id))
}

func (d *Directory) ByAddress(ctx context.Context, addr string) (accounts.Identity, error) {
	addr, err := accounts.Canonical(addr)
	if err != nil {
		return accounts.Identity{}, fmt.Errorf("%w: %w", accounts.ErrNoUser, err)
	}
	return d.identity(ctx, `WHERE address = ?`, addr)
}

// table is a transaction as an accounts.Table.
type table struct{ c sqldb.Conn }

func (t table) domain(where string, args ...any) (d accounts.Domain, err error) {
	found := false
	err = t.c.Query(`SELECT name, catchall, postmaster FROM accounts_domain `+where, func(r sqldb.Row) error {
		d, found = accounts.Domain{Name: r.Text(0), CatchAll: r.Text(1), Postmaster: r.Text(2)}, true
		return nil
	}, args...)
	if err == nil && !found {
		err = accounts.ErrNotLocal
	}
	return d, err
}

func (t table) Domain(_ context.Context, name string) (accounts.Domain, error) {
	return t.domain(`WHERE name = ?`, name)
}

func (t table) Home(context.Context) (accounts.Domain, error) {
	return t.domain(`ORDER BY seq LIMIT 1`)
}

func (t table) Entry(_ context.Context, addr string) (e accounts.Entry, err error) {
	found := false
	err = t.c.Query(`SELECT account, targets FROM accounts_address WHERE address = ?`, func(r sqldb.Row) (err error) {
		found = true
		e.Account = mailkeel.AccountID(r.Text(0))
		e.Targets, err = unlist(r.Text(1))
		return err
	}, addr)
	if err == nil && !found {
		err = accounts.ErrNoUser
	}
	return e, err
}

const columns = `id, address, name, disabled, quota, sendas, adminof, rev, maxmessages, shared`

// scan reads a row of columns.
func scan(r sqldb.Row) (a accounts.Account, rev int64, err error) {
	a = accounts.Account{ID: mailkeel.AccountID(r.Text(0)), Address: r.Text(1), Name: r.Text(2), Disabled: r.Int(3) != 0, Quota: r.Int(4),
		MaxMessages: r.Int(8), Shared: r.Int(9) != 0}
	if a.SendAs, err = unlist(r.Text(5)); err == nil {
		a.AdminOf, err = unlist(r.Text(6))
	}
	return a, r.Int(7), err
}

func (t table) account(where string, args ...any) (a accounts.Account, rev int64, err error) {
	found := false
	err = t.c.Query(`SELECT `+columns+` FROM accounts_account `+where, func(r sqldb.Row) (err error) {
		found = true
		a, rev, err = scan(r)
		return err
	}, args...)
	if err == nil && !found {
		err = accounts.ErrNoUser
	}
	return a, rev, err
}

func (t table) First(_ context.Context, domain string) (accounts.Account, error) {
	a, _, err := t.account(`WHERE domain = ? AND disabled = 0 ORDER BY seq LIMIT 1`, domain)
	return a, err
}

func (t table) ByID(_ context.Context, id mailkeel.AccountID) (accounts.Account, error) {
	a, _, err := t.account(`WHERE id = ?`, string(id))
	return a, err
}

func domainOf(address string) string {
	_, d := addr.Split(address)
	return d
}
