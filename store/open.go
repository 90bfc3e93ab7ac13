package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
)

// Open reads a message of a mailbox; the right r.
func (a *Access) Open(ctx context.Context, id MailboxID, uid UID) (m Message, rc io.ReadCloser, err error) {
	var prefix []byte
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		ms, err := find(tx, id, []UID{uid}, Since{}, nil)
		if err != nil {
			return err
		}
		if len(ms) == 0 {
			return ErrNotFound
		}
		m = ms[0]
		if mb.Account != a.account {
			set, err := readSeen(tx, &mb, a.account)
			if err != nil {
				return err
			}
			set.view(&m)
		}
		prefix, err = prefixOf(tx, m)
		return err
	})
	if err == nil {
		rc, err = a.store.open(ctx, m, prefix, 0, -1)
	}
	if err != nil {
		return Message{}, nil, err
	}
	return m, rc, nil
}

// OpenAt reads n bytes of a message from offset off, to the end if n < 0. The
// message is from Scan and c from Cold: its Prefix and the blob together are what
// offsets count. ErrDamaged if they do not belong together. The right r: for a
// message of another's mailbox it is looked up again.
func (a *Access) OpenAt(ctx context.Context, m Message, c Cold, off, n int64) (io.ReadCloser, error) {
	if m.Account != a.account {
		if _, _, err := a.look(ctx, m.Mailbox, "r"); err != nil {
			return nil, err
		}
	}
	if c.ID != m.ID {
		return nil, fmt.Errorf("%w: message %d has no cold row", ErrDamaged, m.ID)
	}
	if err := c.Check(&m); err != nil {
		return nil, err
	}
	return a.store.open(ctx, m, c.Prefix, off, n)
}

// Open reads a message: its prefix and then its shared content. ErrDamaged if its
// rows are lost or wrong, blob.ErrNotFound if it names a blob that is not there.
func (s *Store) Open(ctx context.Context, m Message) (io.ReadCloser, error) {
	var prefix []byte
	err := s.Backend.View(ctx, func(tx Tx) (err error) {
		prefix, err = prefixOf(tx, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.open(ctx, m, prefix, 0, -1)
}

// prefixOf returns what stands before the blob of a message.
func prefixOf(tx Tx, m Message) ([]byte, error) {
	for c, err := range tx.Cold(m.Account, m.ID) {
		if err == nil {
			err = c.Check(&m)
		}
		return slices.Clone(c.Prefix), err
	}
	return nil, fmt.Errorf("%w: message %d has no cold row", ErrDamaged, m.ID)
}

// open reads a range of prefix and blob together.
func (s *Store) open(ctx context.Context, m Message, prefix []byte, off, n int64) (io.ReadCloser, error) {
	if off < 0 {
		return nil, fmt.Errorf("%w: offset %d", ErrInvalid, off)
	}
	size := int64(len(prefix))
	head := prefix[min(off, size):]
	if n >= 0 && n <= int64(len(head)) {
		return io.NopCloser(bytes.NewReader(head[:n])), nil
	}
	if n >= 0 {
		n -= int64(len(head))
	}
	rc, err := s.Blobs.Open(ctx, m.Blob, max(0, off-size), n)
	if err != nil || len(head) == 0 {
		return rc, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rc), rc}, nil
}
