package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/mailkeel/mailkeel/store/blob"
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
	if err := a.mayOpen(ctx, &m, &c); err != nil {
		return nil, err
	}
	return a.store.open(ctx, m, c.Prefix, off, n)
}

// AppendAt appends to buf what OpenAt would read, which is not more than some 100 KB.
func (a *Access) AppendAt(ctx context.Context, buf []byte, m *Message, c *Cold, off, n int64) ([]byte, error) {
	if err := a.mayOpen(ctx, m, c); err != nil {
		return buf, err
	}
	if off < 0 || n < 0 {
		return buf, fmt.Errorf("%w: offset %d, %d bytes", ErrInvalid, off, n)
	}
	size := int64(len(c.Prefix))
	head := c.Prefix[min(off, size):]
	head = head[:min(int64(len(head)), n)]
	if buf = append(buf, head...); n == int64(len(head)) {
		return buf, nil
	}
	return blob.Append(ctx, a.store.Blobs, buf, m.Blob, max(0, off-size), n-int64(len(head)))
}

// mayOpen says why a message cannot be opened.
func (a *Access) mayOpen(ctx context.Context, m *Message, c *Cold) error {
	if m.Account != a.account {
		if _, _, err := a.look(ctx, m.Mailbox, "r"); err != nil {
			return err
		}
	}
	if c.ID != m.ID {
		return fmt.Errorf("%w: message %d has no cold row", ErrDamaged, m.ID)
	}
	return c.Check(m)
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
	return &joined{head, rc}, nil
}

// joined is a prefix and a blob.
type joined struct {
	head []byte
	io.ReadCloser
}

func (j *joined) Read(p []byte) (int, error) {
	if len(j.head) == 0 {
		return j.ReadCloser.Read(p)
	}
	n := copy(p, j.head)
	j.head = j.head[n:]
	return n, nil
}

// WriteTo lets a blob that is in memory be written from there.
func (j *joined) WriteTo(w io.Writer) (int64, error) {
	k, err := w.Write(j.head)
	n := int64(k)
	if j.head = j.head[k:]; err == nil {
		var more int64
		more, err = io.Copy(w, j.ReadCloser)
		n += more
	}
	return n, err
}
