package imap

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

// append is APPEND (RFC 9051, 6.3.12), also of several messages, which are filed
// all or none (MULTIAPPEND, RFC 3502). The messages go from the network to the
// store. What can be refused is refused before the client is asked for it; what is
// small and comes unasked is not looked at twice.
func (c *conn) append(cmd *command) error {
	cmd.sp()
	in := &intake{c: c, cmd: cmd, name: cmd.mailbox(), trusted: !c.appendRefused}
	cmd.streamed = c.srv.maxAppend()
	defer in.close()
	cmd.sp()
	for {
		if err := in.message(); err != nil {
			return err
		}
		if !cmd.more() {
			break
		}
		if err := in.another(); err != nil {
			return err
		}
	}
	if err := cmd.end(); err != nil {
		return err
	}
	in.start()
	placed, err := in.file()
	if c.appendRefused = err != nil; err != nil {
		return tryCreate(err)
	}
	cmd.code = appendUID(placed)
	return nil
}

// file files what came. If nobody has looked at the mailbox, that it is there and has
// room is seen as the rows are written.
func (in *intake) file() ([]store.Placed, error) {
	c := in.c
	if !in.ready {
		placed, err := c.access.AppendTo(c.ctx, in.name, in.ms...)
		if !errors.Is(err, store.ErrNotFound) {
			return placed, err
		}
		// It is another's, or the INBOX that is yet to be made, or not there.
		if in.folder, err = c.folder(in.name); err != nil {
			return nil, err
		}
	}
	return c.access.Append(c.ctx, in.folder.ID, in.ms...)
}

// appendUID is the response code APPENDUID (RFC 4315, 3).
func appendUID(ps []store.Placed) string {
	var uids rangeWriter
	for _, p := range ps {
		uids.add(p.UID)
	}
	return "APPENDUID " + strconv.FormatUint(uint64(ps[0].UIDValidity), 10) + " " + uids.String()
}

// mayAppend refuses what would be refused in the end: n messages of size bytes
// together. With credit, one message of that many bytes goes when they come.
func (c *conn) mayAppend(f store.Folder, size int64, n int, credit int64) error {
	switch {
	case credit == 0:
		return c.access.Room(c.ctx, f.ID, size, n)
	case size > credit:
		return c.access.Room(c.ctx, f.ID, size-credit, n-1)
	case !f.Rights.Has("i"):
		return store.ErrDenied
	}
	return nil
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

// spooling is what a client is told when its message could not be written down.
func spooling(err error) error {
	if err != nil {
		err = fmt.Errorf("imap: spooling: %w", err)
	}
	return err
}
