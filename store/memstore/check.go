package memstore

import (
	"context"
	"slices"

	"github.com/mailkeel/mailkeel/store"
)

var _ store.Checker = (*Backend)(nil)

// AccountIDs sorts all accounts.
func (b *Backend) AccountIDs(ctx context.Context, after store.AccountID, max int) (ids []store.AccountID, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for id := range b.rows.accounts {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), max)], ctx.Err()
}

// CheckRows finds nothing: there is nothing that Tx does not show.
func (b *Backend) CheckRows(context.Context, bool, func(store.Finding) error) error { return nil }
