package imap

import "github.com/emersion/go-imap/v2"

// delete is DELETE (RFC 9051, 6.3.5). Mailboxes below it stay, and so does its
// name for as long as they do.
func (c *conn) delete(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	if err := cmd.end(); err != nil {
		return err
	}
	folder, err := c.folder(name)
	if err != nil {
		return err
	}
	if folder.Name == inbox { // of others, the store refuses it to who may know
		return no(imap.ResponseCodeCannot, "INBOX cannot be deleted")
	}
	if err := c.access.Delete(c.ctx, folder.ID); err != nil {
		return err
	}
	if c.sel != nil && c.sel.id == folder.ID {
		c.unselect()
		c.w.linef("* OK [CLOSED] The selected mailbox was deleted")
	}
	return nil
}
