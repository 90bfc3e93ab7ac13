package sqlaccounts

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// maxAlias is how many targets one alias may have.
const maxAlias = 1000

func (d *Directory) Domains(ctx context.Context) (ds []accounts.Domain, err error) {
	err = d.db.View(ctx, func(c sqldb.Conn) error {
		ds = nil
		return c.Query(`SELECT name, catchall, postmaster FROM accounts_domain ORDER BY name`, func(r sqldb.Row) error {
			ds = append(ds, accounts.Domain{Name: r.Text(0), CatchAll: r.Text(1), Postmaster: r.Text(2)})
			return nil
		})
	})
	return ds, err
}

func (d *Directory) PutDomain(ctx context.Context, dom accounts.Domain) (err error) {
	if dom.Name, err = accounts.CanonicalDomain(dom.Name); err == nil && strings.HasPrefix(dom.Name, "[") {
		err = fmt.Errorf("%w: domain %s", accounts.ErrBadAddress, dom.Name)
	}
	for _, addr := range []*string{&dom.CatchAll, &dom.Postmaster} {
		if err == nil && *addr != "" {
			*addr, err = address(*addr)
		}
	}
	if err != nil {
		return err
	}
	return d.update(ctx, func(c sqldb.Conn) error {
		return c.Exec(`INSERT INTO accounts_domain (name, catchall, postmaster) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET catchall = excluded.catchall, postmaster = excluded.postmaster`, dom.Name, dom.CatchAll, dom.Postmaster)
	})
}

func (d *Directory) DeleteDomain(ctx context.Context, name string) error {
	name, err := accounts.CanonicalDomain(name)
	if err != nil {
		return fmt.Errorf("%w: %w", accounts.ErrNotLocal, err)
	}
	return d.update(ctx, func(c sqldb.Conn) error {
		used := false
		err := c.Query(`SELECT 1 FROM accounts_address WHERE domain = ? LIMIT 1`, func(sqldb.Row) error { used = true; return nil }, name)
		if err == nil && used {
			err = fmt.Errorf("%w: %s", accounts.ErrInUse, name)
		}
		if err != nil {
			return err
		}
		if err := c.Exec(`DELETE FROM accounts_domain WHERE name = ?`, name); err != nil {
			return err
		}
		if c.Changes() == 0 {
			return fmt.Errorf("%w: %s", accounts.ErrNotLocal, name)
		}
		return nil
	})
}

func (d *Directory) PutAlias(ctx context.Context, a accounts.Alias) error {
	addr, err := address(a.Address)
	if err != nil {
		return err
	}
	if len(a.Targets) == 0 {
		return fmt.Errorf("%w: %s leads nowhere", accounts.ErrBadAddress, addr)
	}
	if len(a.Targets) > maxAlias {
		return fmt.Errorf("%w: %s has more than %d targets", accounts.ErrExpansion, addr, maxAlias)
	}
	for _, t := range a.Targets {
		if _, err := address(t); err != nil {
			return err
		}
	}
	name := domainOf(addr)
	return d.update(ctx, func(c sqldb.Conn) error {
		t := table{c}
		if _, err := t.Domain(ctx, name); err != nil {
			return fmt.Errorf("%w: %s", err, name)
		}
		if e, err := t.Entry(ctx, addr); err == nil && e.Account != "" {
			return fmt.Errorf("%w: %s", accounts.ErrExists, addr)
		} else if err != nil && !errors.Is(err, accounts.ErrNoUser) {
			return err
		}
		err := c.Exec(`INSERT INTO accounts_address (address, domain, account, targets) VALUES (?, ?, '', ?)
			ON CONFLICT (address) DO UPDATE SET targets = excluded.targets`, addr, name, list(a.Targets))
		if err != nil {
			return err
		}
		// The one who makes it too large is told; mail would have to wait.
		_, err = accounts.Resolve(ctx, t, addr)
		if errors.Is(err, accounts.ErrNoUser) {
			err = nil
		}
		return err
	})
}

func (d *Directory) DeleteAlias(ctx context.Context, addr string) error {
	addr, err := address(addr)
	if err != nil {
		return fmt.Errorf("%w: %w", accounts.ErrNoUser, err)
	}
	return d.exec(ctx, accounts.ErrNoUser, `DELETE FROM accounts_address WHERE address = ? AND account = ''`, addr)
}
