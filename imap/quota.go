package imap

import (
	"errors"
	"math"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
)

// Each account is a quota root (RFC 9208), named by its address, so that those of
// shared mailboxes can be told apart. One's own is also "", which is all there is
// without a Roster.

// A root is a quota root.
type root struct {
	name  string
	owner store.AccountID
}

// rootOf returns the root of an account.
func (c *conn) rootOf(owner store.AccountID) (root, error) {
	r := root{owner: owner}
	if c.srv.Roster == nil {
		return r, nil
	}
	id, err := c.srv.Roster.ByID(c.ctx, owner)
	if errors.Is(err, accounts.ErrNoUser) && owner == c.account {
		return r, nil
	}
	r.name = id.Address
	return r, err
}

var errNoRoot = no(imap.ResponseCodeNonExistent, "No such quota root")

// root finds a root by its name, with what is used of it, for who may know: its
// owner, who may read one of the owner's mailboxes, and administrators. To all
// others it is not there.
func (c *conn) root(name string) (root, store.Usage, error) {
	r := root{name, c.account}
	if name != "" {
		if c.srv.Roster == nil {
			return r, store.Usage{}, errNoRoot
		}
		id, err := c.srv.Roster.ByAddress(c.ctx, name)
		if errors.Is(err, accounts.ErrNoUser) {
			err = errNoRoot
		}
		if err != nil {
			return r, store.Usage{}, err
		}
		r = root{id.Address, id.ID}
	}
	if r.owner == c.account || c.who.Administers(r.name) {
		u, err := c.srv.Store.Usage(c.ctx, r.owner)
		return r, u, err
	}
	shared, err := c.access.Shared(c.ctx)
	for _, f := range shared {
		if f.Account == r.owner && f.Rights.Has("r") {
			u, err := c.access.Quota(c.ctx, f.ID)
			return r, u, err
		}
	}
	if err == nil {
		err = errNoRoot
	}
	return r, store.Usage{}, err
}

// getQuota is GETQUOTA (RFC 9208, 4.1.1).
func (c *conn) getQuota(cmd *command) error {
	cmd.sp()
	name := cmd.astring()
	if err := cmd.end(); err != nil {
		return err
	}
	_, u, err := c.root(name)
	if err != nil {
		return err
	}
	c.writeQuota(name, u)
	return nil
}

// getQuotaRoot is GETQUOTAROOT (RFC 9208, 4.1.2); the right r.
func (c *conn) getQuotaRoot(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	if err := cmd.end(); err != nil {
		return err
	}
	f, err := c.folderFor(name, "r")
	if err != nil {
		return err
	}
	u, err := c.access.Quota(c.ctx, f.ID)
	if err != nil {
		return err
	}
	r, err := c.rootOf(f.Account)
	if err != nil {
		return err
	}
	c.w.raw("* QUOTAROOT ")
	c.w.mailbox(f.Name)
	c.w.sp()
	c.w.string(r.name)
	c.w.crlf()
	c.writeQuota(r.name, u)
	return nil
}

// writeQuota writes a QUOTA response (RFC 9208, 4.2.1): what has no limit is left
// out.
func (c *conn) writeQuota(name string, u store.Usage) {
	c.w.raw("* QUOTA ")
	c.w.string(name)
	sep := " ("
	item := func(name string, used, limit int64) {
		if limit > 0 {
			c.w.raw(sep + name)
			c.w.num(uint64(used))
			c.w.sp()
			c.w.num(uint64(limit))
			sep = " "
		}
	}
	const unit = 1024 // what is begun counts
	item("STORAGE ", u.Bytes/unit+min(1, u.Bytes%unit), u.Limit/unit+min(1, u.Limit%unit))
	item("MESSAGE ", int64(u.Messages), u.MaxMessages)
	if sep == " (" {
		c.w.raw(sep)
	}
	c.w.byte(')')
	c.w.crlf()
}

// setQuota is SETQUOTA (RFC 9208, 4.1.3), for administrators. What is not given has
// no limit afterwards.
func (c *conn) setQuota(cmd *command) error {
	cmd.sp()
	name := cmd.astring()
	cmd.sp()
	var q mailkeel.Quota
	cmd.list(func() {
		resource := cmd.keyword()
		cmd.sp()
		n := cmd.number64()
		switch {
		case !cmd.ok():
		case resource != "STORAGE" && resource != "MESSAGE":
			cmd.err = no(imap.ResponseCodeCannot, "No such resource here")
		case n == 0:
			cmd.err = no(imap.ResponseCodeCannot, "A limit of nothing cannot be kept; leave it out for none")
		case n > math.MaxInt64/1024:
			cmd.err = no(imap.ResponseCodeCannot, "Limit is too large")
		case resource == "STORAGE":
			q.Bytes = n * 1024
		default:
			q.Messages = n
		}
	})
	if err := cmd.end(); err != nil {
		return err
	}
	r, _, err := c.root(name)
	if err != nil {
		return err
	}
	if r.name == "" { // so that an administrator may use it for their own
		if r, err = c.rootOf(c.account); err != nil {
			return err
		}
	}
	if c.srv.Quotas == nil || !c.who.Administers(r.name) {
		return no(imap.ResponseCodeNoPerm, "Quotas are set by administrators")
	}
	switch err := c.srv.Quotas.SetQuota(c.ctx, r.owner, q); {
	case errors.Is(err, accounts.ErrNoUser):
		return errNoRoot
	case err != nil:
		return err
	}
	u, err := c.srv.Store.Usage(c.ctx, r.owner)
	if err != nil {
		return err
	}
	c.writeQuota(name, u)
	return nil
}
