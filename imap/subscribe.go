package imap

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// Whether a mailbox is subscribed stands in its row. But the name that a client
// subscribed stays on its list when the mailbox is deleted, until the client takes
// it off (RFC 9051, 6.3.7), so it is also noted in an Object with this Kind, whose
// ID is the name.
const kindSubscription = "imap-subscription"

const (
	maxSubscriptions = 10_000 // that are noted
	maxNoted         = 255    // bytes of a name that can be; longer ones go with their mailbox
)

// subscribe is SUBSCRIBE and UNSUBSCRIBE (RFC 9051, 6.3.7 and 6.3.8).
func (c *conn) subscribe(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	if err := cmd.end(); err != nil {
		return err
	}
	on := cmd.name == "SUBSCRIBE"
	folder, err := c.folder(name)
	exists := err == nil
	if exists {
		err = c.access.Subscribe(c.ctx, folder.ID, on)
		name = folder.Name
	}
	if err != nil && (exists || !errors.Is(err, store.ErrNotFound)) {
		return err
	}
	names, err := c.subscriptions(name)
	if err != nil {
		return err
	}
	noted := len(names) > 0
	switch {
	case !exists && !noted:
		return no(imap.ResponseCodeNonExistent, "No such mailbox")
	case noted == on, len(name) > maxNoted:
		return nil
	case on:
		if all, err := c.subscriptions(""); err != nil || len(all) >= maxSubscriptions {
			return err
		}
	}
	return c.noteSubscription(name, on)
}

// subscriptions returns the names that clients subscribed; one, or all if name is
// empty.
func (c *conn) subscriptions(name string) (names []string, err error) {
	if len(name) > maxNoted {
		return nil, nil
	}
	objects, err := c.access.Objects(c.ctx, store.ObjectQuery{Kind: kindSubscription, ID: name})
	for _, o := range objects {
		names = append(names, o.ID)
	}
	return names, err
}

func (c *conn) noteSubscription(name string, on bool) error {
	_, err := c.access.PutObject(c.ctx, store.Object{Kind: kindSubscription, ID: name, Deleted: !on})
	return err
}

// renameSubscriptions follows a mailbox to its new name, and those below it.
func (c *conn) renameSubscriptions(from, to string) error {
	names, err := c.subscriptions("")
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, from)
		if err != nil || !ok || rest != "" && !strings.HasPrefix(rest, delimiter) {
			continue
		}
		err = c.noteSubscription(name, false)
		if err == nil && len(to+rest) <= maxNoted {
			err = c.noteSubscription(to+rest, true)
		}
	}
	return err
}
