package imap

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// append is APPEND (RFC 9051, 6.3.12), also of a literal8 (RFC 3516) and of UTF8
// (RFC 6855, 4). The message goes from the network to the store. What can be
// refused is refused before the client is asked for it.
func (c *conn) append(cmd *command) error {
	cmd.streamed = c.srv.maxAppend()
	var m store.Append
	cmd.sp()
	name := cmd.mailbox()
	cmd.sp()
	if cmd.peek() == '(' {
		m.Flags = cmd.flags()
		cmd.sp()
	}
	if cmd.peek() == '"' {
		m.Received = storable(cmd.dateTime())
		cmd.sp()
	}
	wrapped := cmd.word("UTF8")
	if wrapped {
		cmd.sp()
		cmd.want('(')
	}
	if !cmd.atLiteral() {
		cmd.fail("expected a literal")
	}
	if cmd.err != nil {
		return cmd.err
	}
	size := cmd.lit.size
	switch {
	case wrapped && (!c.unicode() || !cmd.lit.binary):
		return bad("UTF8 needs a literal8, and UTF8=ACCEPT to be enabled")
	case size > c.srv.maxAppend():
		return no(imap.ResponseCodeTooBig, "Message is too big")
	case size == 0:
		return no(imap.ResponseCodeCannot, "Message is empty")
	}
	folder, err := c.folder(name)
	if err != nil {
		return tryCreate(err)
	}
	if err := c.mayAppend(folder, size); err != nil {
		return err
	}
	w, err := c.srv.Store.Blobs.Create(c.ctx)
	if err != nil {
		return fmt.Errorf("imap: spooling: %w", err)
	}
	defer w.Close()
	cmd.accept()
	broken, err := spool(w, cmd.in, size)
	if err != nil {
		return err
	}
	cmd.next()
	if wrapped {
		cmd.want(')')
	}
	if err := cmd.end(); err != nil {
		return err
	}
	if broken != nil {
		return fmt.Errorf("imap: spooling: %w", broken)
	}
	if st, ok := w.(blob.Stager); ok { // durable while the rows are written
		m.Blob, err = st.Stage()
		m.Wait, m.Open = st.Wait, func(context.Context) (io.ReadCloser, error) { return st.Open() }
	} else {
		m.Blob, err = w.Commit()
	}
	if err != nil {
		return fmt.Errorf("imap: spooling: %w", err)
	}
	placed, err := c.access.Append(c.ctx, folder.ID, m)
	if err != nil {
		return tryCreate(err)
	}
	cmd.code = fmt.Sprintf("APPENDUID %d %d", placed[0].UIDValidity, placed[0].UID)
	return nil
}

// mayAppend refuses what would be refused in the end.
func (c *conn) mayAppend(f store.Folder, size int64) error {
	return c.access.Room(c.ctx, f.ID, size, 1)
}

// spool copies n bytes from a client. When they cannot be written it reads on,
// because they are coming anyway, and says so in broken; err is of the client.
func spool(w io.Writer, r io.Reader, n int64) (broken, err error) {
	buf := make([]byte, min(n, 32<<10))
	for n > 0 {
		k, err := r.Read(buf[:min(n, int64(len(buf)))])
		n -= int64(k)
		if k > 0 && broken == nil {
			_, broken = w.Write(buf[:k])
		}
		if err != nil && n > 0 {
			return broken, err
		}
	}
	return broken, nil
}

// storable keeps dates within what any backend can hold.
func storable(t time.Time) time.Time {
	first, last := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	}
	return t
}
