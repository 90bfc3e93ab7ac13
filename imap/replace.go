package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// replace is REPLACE and UID REPLACE (RFC 8508): an APPEND, and the EXPUNGE of the
// message that it takes the place of, in one step. APPENDUID comes untagged, before
// the EXPUNGE response (RFC 8508, 3.4).
func (c *conn) replace(cmd *command) error {
	cmd.sp()
	set := cmd.oneNumber()
	cmd.sp()
	in := &intake{c: c, cmd: cmd, name: cmd.mailbox()}
	cmd.streamed = c.srv.maxAppend()
	defer in.close()
	cmd.sp()
	if cmd.err != nil {
		return cmd.err
	}
	if err := c.writable(); err != nil {
		return err
	}
	spans, err := c.sel.resolve(set)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return errNoMessage
	}
	uid := c.sel.snap.at(spans[0].lo).uid
	old, err := c.hot(c.sel.id, uid)
	if errors.Is(err, store.ErrNoMessage) {
		return c.missing(cmd)
	} else if err != nil {
		return err
	}
	if f, err := c.folder(in.name); err == nil && f.Account == old.Account {
		in.credit = old.Size
	}
	if err := in.message(); err != nil {
		return err
	}
	if err := cmd.end(); err != nil {
		return err
	}
	placed, err := c.access.Replace(c.ctx, c.sel.id, uid, in.folder.ID, in.ms[0])
	switch {
	case errors.Is(err, store.ErrNoMessage):
		return c.missing(cmd)
	case err != nil:
		return tryCreate(err)
	}
	c.w.raw("* OK [" + appendUID([]store.Placed{placed}) + "] Replacement message ready")
	c.w.crlf()
	return nil
}

// errNoMessage is the answer to the UID of a message that must be there.
var errNoMessage = no(imap.ResponseCodeNonExistent, "No such message")

// missing is the answer to the number of a message that others have expunged.
func (c *conn) missing(cmd *command) error {
	if cmd.uid {
		return errNoMessage
	}
	return errGone
}

// oneNumber reads the sequence number or the UID of one message.
func (cmd *command) oneNumber() imap.NumSet {
	if cmd.uid {
		return imap.UIDSetNum(imap.UID(cmd.nzNumber()))
	}
	if cmd.take('*') {
		return imap.SeqSet{imap.SeqRange{}}
	}
	return imap.SeqSetNum(cmd.nzNumber())
}
