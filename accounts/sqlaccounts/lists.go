package sqlaccounts

import (
	"context"
	"iter"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// page is how many rows are read in one transaction, so that a caller who takes
// its time holds none.
const page = 200

func (d *Directory) Accounts(ctx context.Context, domain string) iter.Seq2[accounts.Account, error] {
	return pages(ctx, d.db, domain, columns, `accounts_account WHERE 1 = 1`,
		func(r sqldb.Row) (accounts.Account, string, error) {
			a, _, err := scan(r)
			return a, a.Address, err
		})
}

func (d *Directory) Aliases(ctx context.Context, domain string) iter.Seq2[accounts.Alias, error] {
	return pages(ctx, d.db, domain, `address, targets`, `accounts_address WHERE account = ''`,
		func(r sqldb.Row) (a accounts.Alias, key string, err error) {
			a.Address = r.Text(0)
			a.Targets, err = unlist(r.Text(1))
			return a, a.Address, err
		})
}

// pages yields columns of rows with an address, in its order. read returns the
// address too.
func pages[T any](ctx context.Context, db sqldb.DB, domain, cols, from string, read func(sqldb.Row) (T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		q, args := `SELECT `+cols+` FROM `+from+` AND address > ?`, []any{"", page}
		if domain != "" {
			name, err := accounts.CanonicalDomain(domain)
			if err != nil {
				return // nobody is there
			}
			q, args = q+` AND domain = ?`, []any{"", name, page}
		}
		q += ` ORDER BY address LIMIT ?`
		for n := page; n == page; {
			var rows []T
			var last string
			err := db.View(ctx, func(c sqldb.Conn) error {
				rows = nil
				return c.Query(q, func(r sqldb.Row) error {
					row, key, err := read(r)
					rows, last = append(rows, row), key
					return err
				}, args...)
			})
			if err != nil {
				yield(zero, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			n, args[0] = len(rows), last
		}
	}
}
