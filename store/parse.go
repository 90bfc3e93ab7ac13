package store

import (
	"context"
	"errors"
	"io"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store/blob"
)

// Parse reads a message once and returns what Delivery.Cold wants of it. It never
// fails because of what the bytes are; an error means that they could not be
// read. It runs outside of transactions. Offsets in Structure count from the
// start of the blob, where no Prefix is.
func (s *Store) Parse(ctx context.Context, info blob.Info) (Cold, error) {
	return s.ParseFrom(ctx, func(ctx context.Context) (io.ReadCloser, error) { return s.Blobs.Open(ctx, info.Ref, 0, -1) })
}

// ParseFrom is Parse of a blob that need not be visible yet; open reads it.
func (s *Store) ParseFrom(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (Cold, error) {
	rc, err := open(ctx)
	if err != nil {
		return Cold{}, err
	}
	defer rc.Close()
	m, err := message.Parse(rc)
	if err != nil {
		return Cold{}, err
	}
	return Cold{
		Envelope:  message.EncodeEnvelope(&m.Envelope, m.Usual),
		Structure: message.EncodePart(&m.Root),
		Preview:   []byte(m.Preview),
	}, nil
}

// parseLate parses messages of one account for which that is not done, and keeps
// what it finds, so that it is done once. A damaged one stays as it is.
func (s *Store) parseLate(ctx context.Context, ms []Message, out map[MessageID]Cold) error {
	var done []Message
	for _, m := range ms {
		was := out[m.ID]
		if was.Check(&m) != nil {
			continue // who reads it is told
		}
		c, err := s.Parse(ctx, blob.Info{Ref: m.Blob})
		if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrUnreadable) {
			continue // the others can be read
		} else if err != nil {
			return err
		}
		c.Account, c.ID, c.Prefix = m.Account, m.ID, was.Prefix
		c.seal(&m)
		done = append(done, m)
		out[m.ID] = c
	}
	if done == nil {
		return nil
	}
	return s.Backend.Update(ctx, func(tx Tx) error {
		if _, err := tx.Accounts(ms[0].Account); err != nil {
			return err
		}
		var rows []Cold
		for _, m := range done {
			_, err := tx.MessageByID(m.Account, m.ID)
			if errors.Is(err, ErrNotFound) {
				continue // it has gone, and its cold row with it
			} else if err != nil {
				return err
			}
			rows = append(rows, out[m.ID])
		}
		return tx.PutCold(rows)
	})
}
