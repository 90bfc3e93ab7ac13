package imap

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// rename is RENAME (RFC 9051, 6.3.6). Mailboxes below it move too. They stay with
// their owner: the message IDs, the quota and the rights are bound to the account.
func (c *conn) rename(cmd *command) error {
	cmd.sp()
	from := cmd.mailbox()
	cmd.sp()
	to := cmd.mailbox()
	if err := cmd.end(); err != nil {
		return err
	}
	folder, err := c.folder(from)
	if err != nil {
		return err
	}
	to = strings.TrimSuffix(to, delimiter)
	was, err := c.place(folder.Name)
	if err != nil {
		return err
	}
	if folder.Account == c.account { // also one that has the name of a foreign one
		was = place{name: folder.Name}
	}
	is, err := c.place(to)
	if err != nil {
		return err
	}
	if was.foreign != is.foreign || was.owner != is.owner {
		return no(imap.ResponseCodeCannot, "A mailbox stays with its owner")
	}
	err = c.access.Rename(c.ctx, folder.ID, is.name)
	if errors.Is(err, store.ErrInvalid) {
		return no(imap.ResponseCodeCannot, "It cannot have that name")
	}
	if err != nil || was.name == inbox {
		return err
	}
	return c.renameSubscriptions(folder.Name, to)
}
