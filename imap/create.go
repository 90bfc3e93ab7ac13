package imap

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// create is CREATE (RFC 9051, 6.3.4), perhaps with USE (RFC 6154, 5.3). Names
// above the new one are made too.
func (c *conn) create(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	role, uses := "", 0
	if cmd.more() {
		cmd.list(func() {
			if !cmd.word("USE") {
				cmd.fail("unknown parameter")
				return
			}
			cmd.sp()
			cmd.list(func() {
				uses++
				cmd.want('\\')
				role = useRole(`\` + cmd.atom())
			})
		})
	}
	if err := cmd.end(); err != nil {
		return err
	}
	if uses > 1 || uses == 1 && role == "" {
		return no("USEATTR", "No such special use, or more than one")
	}
	name = strings.TrimSuffix(name, delimiter) // it only says that others will follow
	at, err := c.place(name)
	if err != nil {
		return err
	}
	if at.foreign {
		return c.createForeign(cmd, at, role)
	}
	mb, err := c.access.Create(c.ctx, name, role)
	switch {
	case errors.Is(err, store.ErrExists) && role != "":
		if _, other := c.folder(name); errors.Is(other, store.ErrNotFound) {
			return no("USEATTR", "Another mailbox has that special use")
		}
		return err
	case errors.Is(err, store.ErrInvalid):
		return no(imap.ResponseCodeCannot, "That cannot be the name of a mailbox")
	case err != nil:
		return err
	}
	cmd.code = "MAILBOXID (" + mailboxID(mb.ID) + ")" // RFC 8474, 4.1
	return nil
}

// createForeign makes a mailbox of another account. Its answer does not tell whether
// there is such an account, nor what it has.
func (c *conn) createForeign(cmd *command, at place, role string) error {
	if role != "" {
		return no("USEATTR", "Special uses are of one's own mailboxes")
	}
	if _, err := store.CleanName(at.name); err != nil {
		return no(imap.ResponseCodeCannot, "That cannot be the name of a mailbox")
	}
	if at.owner == "" {
		return store.ErrDenied
	}
	mb, err := c.access.CreateOf(c.ctx, at.owner, at.name)
	if err != nil {
		return err
	}
	cmd.code = "MAILBOXID (" + mailboxID(mb.ID) + ")"
	return nil
}
