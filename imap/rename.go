package imap

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// rename is RENAME (RFC 9051, 6.3.6). Mailboxes below it move too.
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
	err = c.access.Rename(c.ctx, folder.ID, strings.TrimSuffix(to, delimiter))
	if errors.Is(err, store.ErrInvalid) {
		return no(imap.ResponseCodeCannot, "It cannot have that name")
	}
	if err != nil || folder.Name == inbox {
		return err
	}
	return c.renameSubscriptions(folder.Name, strings.TrimSuffix(to, delimiter))
}
