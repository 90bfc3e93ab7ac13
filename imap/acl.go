package imap

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
)

// The rights of RFC 2086 that RFC 4314, 2.1.1 has split: c is k and x here, and d
// is t and e.
const (
	obsoleteCreate = "kx"
	obsoleteDelete = "te"
)

// getACL is GETACL (RFC 4314, 3.3); the right a. The owner comes first: nobody can
// take rights away there.
func (c *conn) getACL(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	if err := cmd.end(); err != nil {
		return err
	}
	f, err := c.shareable(name, "a")
	if err != nil {
		return err
	}
	gs, err := c.access.Grants(c.ctx, f.ID)
	if err != nil {
		return err
	}
	type line struct {
		who    string
		rights store.Rights
	}
	var lines []line
	for _, g := range append([]store.Grant{{To: f.Account, Rights: store.AllRights}}, gs...) {
		switch id, err := c.srv.Roster.ByID(c.ctx, g.To); {
		case err == nil:
			lines = append(lines, line{id.Address, g.Rights})
		case !errors.Is(err, accounts.ErrNoUser): // who has gone has no rights
			return err
		}
	}
	slices.SortStableFunc(lines[min(1, len(lines)):], func(a, b line) int { return strings.Compare(a.who, b.who) })
	c.w.raw("* ACL ")
	c.w.mailbox(f.Name)
	for _, l := range lines {
		c.w.sp()
		c.w.string(l.who)
		c.w.sp()
		c.w.raw(shownRights(l.rights))
	}
	c.w.crlf()
	return nil
}

// setACL is SETACL (RFC 4314, 3.1); the right a.
func (c *conn) setACL(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	cmd.sp()
	who := cmd.astring()
	cmd.sp()
	given := cmd.astring()
	sign := byte(0)
	if given != "" && (given[0] == '+' || given[0] == '-') {
		sign, given = given[0], given[1:]
	}
	rights := cmd.rights(given)
	if err := cmd.end(); err != nil {
		return err
	}
	return c.grant(name, who, func(old store.Rights) store.Rights {
		switch sign {
		case '+':
			return old + rights
		case '-':
			return store.Rights(strings.Map(func(r rune) rune {
				if strings.ContainsRune(string(rights), r) {
					return -1
				}
				return r
			}, string(old)))
		}
		return rights
	})
}

// deleteACL is DELETEACL (RFC 4314, 3.2); the right a.
func (c *conn) deleteACL(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	cmd.sp()
	who := cmd.astring()
	if err := cmd.end(); err != nil {
		return err
	}
	return c.grant(name, who, func(store.Rights) store.Rights { return "" })
}

// grant changes the rights of an identifier.
func (c *conn) grant(name, who string, change func(store.Rights) store.Rights) error {
	f, err := c.shareable(name, "a")
	if err != nil {
		return err
	}
	id, err := c.identify(who)
	if err != nil {
		return err
	}
	if id.ID == f.Account { // who has all rights, and keeps them
		if r := change(store.AllRights); !r.Has(store.AllRights) {
			return no(imap.ResponseCodeCannot, "The owner of a mailbox has all rights")
		}
		return nil
	}
	err = c.access.Regrant(c.ctx, f.ID, id.ID, change)
	if errors.Is(err, store.ErrNotFound) {
		if _, again := c.shareable(name, "a"); again == nil {
			return errNoUser
		}
	}
	return err
}

// listRights is LISTRIGHTS (RFC 4314, 3.4); the right a. Nothing is tied together.
func (c *conn) listRights(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	cmd.sp()
	who := cmd.astring()
	if err := cmd.end(); err != nil {
		return err
	}
	f, err := c.shareable(name, "a")
	if err != nil {
		return err
	}
	id, err := c.identify(who)
	if err != nil {
		return err
	}
	c.w.raw("* LISTRIGHTS ")
	c.w.mailbox(f.Name)
	c.w.sp()
	c.w.string(who)
	all := shownRights(store.AllRights)
	if id.ID == f.Account {
		c.w.raw(" " + all)
	} else {
		c.w.raw(` "" ` + strings.Join(strings.Split(all, ""), " "))
	}
	c.w.crlf()
	return nil
}

// myRights is MYRIGHTS (RFC 4314, 3.5): for who has one of l, r, i, k, x and a.
func (c *conn) myRights(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	if err := cmd.end(); err != nil {
		return err
	}
	f, err := c.shareable(name, "")
	if err != nil {
		return err
	}
	if !strings.ContainsAny(string(f.Rights), "lrikxa") {
		return store.ErrNotFound
	}
	c.writeMyRights(f)
	return nil
}

func (c *conn) writeMyRights(f store.Folder) {
	c.w.raw("* MYRIGHTS ")
	c.w.mailbox(f.Name)
	c.w.sp()
	c.w.raw(shownRights(f.Rights))
	c.w.crlf()
}

// shareable is folderFor where mailboxes can be shared.
func (c *conn) shareable(name string, need store.Rights) (store.Folder, error) {
	if c.srv.Roster == nil {
		return store.Folder{}, no(imap.ResponseCodeCannot, "Mailboxes are not shared here")
	}
	return c.folderFor(name, need)
}

var errNoUser = no(imap.ResponseCodeNonExistent, "No such user")

// identify returns the account of an identifier. Only addresses are identifiers:
// rights for anyone would let strangers in, and groups may follow.
func (c *conn) identify(who string) (accounts.Identity, error) {
	if strings.HasPrefix(who, "-") {
		return accounts.Identity{}, no(imap.ResponseCodeCannot, "There are no negative rights here")
	}
	if !strings.Contains(who, "@") {
		return accounts.Identity{}, no(imap.ResponseCodeCannot, "Rights are given to addresses of accounts alone")
	}
	id, err := c.srv.Roster.ByAddress(c.ctx, who)
	if errors.Is(err, accounts.ErrNoUser) {
		err = errNoUser
	}
	return id, err
}

// rights reads rights, each once, with the obsolete ones mapped.
func (p *parser) rights(s string) (out store.Rights) {
	for _, r := range s {
		add := store.Rights(r)
		switch {
		case !p.ok():
			return ""
		case r >= 'A' && r <= 'Z':
			p.err = bad("Uppercase rights are not allowed")
		case r == 'c':
			add = obsoleteCreate
		case r == 'd':
			add = obsoleteDelete
		case r > 'z' || r < 'a' || !store.AllRights.Has(add):
			p.err = bad("The " + strconv.QuoteRuneToASCII(r) + " right is not supported")
		}
		for _, r := range add {
			if !strings.ContainsRune(string(out), r) {
				out += store.Rights(r)
			}
		}
	}
	return out
}

// shownRights is r as clients are told: with c and d if there is any of what these
// stood for (RFC 4314, 2.1.1).
func shownRights(r store.Rights) string {
	s := string(r)
	if strings.ContainsAny(s, obsoleteCreate) {
		s += "c"
	}
	if strings.ContainsAny(string(r), obsoleteDelete) {
		s += "d"
	}
	if s == "" {
		return `""`
	}
	return s
}
