package imap

import (
	"errors"

	"github.com/mailkeel/mailkeel/store"
)

// close is CLOSE (RFC 9051, 6.4.1), which expunges without telling, and UNSELECT
// (6.4.2), which does not.
func (c *conn) close(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	if cmd.name == "CLOSE" && !c.sel.readOnly && c.sel.rights.Has("e") {
		// One that somebody has deleted meanwhile has nothing to expunge.
		if err := c.expungeAll(); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	c.unselect()
	return nil
}

// expungeAll expunges what is marked in the selected mailbox.
func (c *conn) expungeAll() error {
	snap, err := c.sel.view.refresh(c.ctx)
	if err != nil {
		return err
	}
	uids := marked(snap, snap.everything())
	if len(uids) == 0 {
		return nil
	}
	_, err = c.access.ExpungeMarked(c.ctx, c.sel.id, uids...)
	return err
}
