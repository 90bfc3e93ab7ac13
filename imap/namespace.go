package imap

import (
	"cmp"
	"errors"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
)

// Mailboxes of others are named "Other Users/bob@example.org/Work", as with Cyrus,
// and those of accounts that are no person "Shared Folders/desk@example.org/Work".
const (
	otherUsers    = "Other Users"
	sharedFolders = "Shared Folders"
)

// namespace is NAMESPACE (RFC 2342 and RFC 9051, 6.3.10): one's own mailboxes have
// no prefix, those of others one each.
func (c *conn) namespace(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	c.w.raw(`* NAMESPACE (("" "` + delimiter + `"))`)
	for _, shared := range []bool{false, true} {
		if c.srv.Roster == nil {
			c.w.raw(" NIL")
			continue
		}
		c.w.raw(" ((")
		c.w.mailbox(c.srv.prefix(shared))
		c.w.raw(` "` + delimiter + `"))`)
	}
	c.w.crlf()
	return nil
}

// prefix is what stands before the names of mailboxes of others.
func (s *Server) prefix(shared bool) string {
	name := s.OtherUsers
	if shared {
		name = s.SharedFolders
	}
	if name, err := store.CleanName(name); err == nil && !strings.HasPrefix(name, inbox) {
		return name + delimiter
	}
	if shared {
		return sharedFolders + delimiter
	}
	return otherUsers + delimiter
}

// An address is one component of a name: what is a delimiter in it, or stands for
// one, is written as in a URL.
var (
	escapeAddress   = strings.NewReplacer("%", "%25", delimiter, "%2F")
	unescapeAddress = strings.NewReplacer("%25", "%", "%2F", delimiter)
)

// A place is where a name leads: into whose mailboxes, and to which of them.
type place struct {
	foreign bool
	owner   store.AccountID // empty if nobody has the address; one's own is not given
	name    string          // as the owner knows it
}

// place takes a name apart. What is not below a prefix is one's own. It answers
// alike for addresses that nobody has and those of which one knows nothing.
func (c *conn) place(name string) (p place, err error) {
	if c.srv.Roster == nil {
		return place{name: name}, nil
	}
	for _, shared := range []bool{false, true} {
		prefix := c.srv.prefix(shared)
		rest, ok := strings.CutPrefix(name+delimiter, prefix)
		if !ok {
			continue
		}
		p.foreign = true
		who, box, _ := strings.Cut(rest, delimiter)
		p.name = strings.TrimSuffix(box, delimiter)
		id, err := c.srv.Roster.ByAddress(c.ctx, unescapeAddress.Replace(who))
		switch {
		case errors.Is(err, accounts.ErrNoUser):
		case err != nil:
			return p, err
		case id.Shared == shared && id.ID != c.account && escapeAddress.Replace(id.Address) == who:
			p.owner = id.ID
		}
		return p, nil
	}
	return place{name: name}, nil
}

// folder finds a mailbox by the name that clients use. Every command asks here. The
// Name of what it returns is that name, also for a mailbox of another account, and
// its Role is what it is to this one.
//
// One's own mailboxes come first, should some have been named like those of others.
func (c *conn) folder(name string) (store.Folder, error) { return c.folderFor(name, "") }

// folderFor is folder where the rights need are needed in any case; none means that
// any right will do, and that the rest is up to what is done with the mailbox.
func (c *conn) folderFor(name string, need store.Rights) (store.Folder, error) {
	f, err := c.access.Folder(c.ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return f, err
	}
	p, perr := c.place(name)
	if perr != nil || !p.foreign {
		return f, cmp.Or(perr, err)
	}
	f, err = c.access.FolderOf(c.ctx, p.owner, p.name, need)
	if err != nil {
		return store.Folder{}, err
	}
	f.Name, f.Role = name, ""
	return f, nil
}

// A naming finds the names that clients know for mailboxes of others. It remembers
// whom it has asked about.
type naming struct {
	c      *conn
	before map[store.AccountID]string // what their names begin with; empty if they have gone
}

// name returns the name of a mailbox, and false if its owner has no address.
func (n *naming) name(mb *store.Mailbox) (string, bool, error) {
	if mb.Account == n.c.account {
		return mb.Name, true, nil
	}
	before, known := n.before[mb.Account]
	if !known && n.c.srv.Roster != nil {
		switch id, err := n.c.srv.Roster.ByID(n.c.ctx, mb.Account); {
		case err == nil:
			before = n.c.srv.prefix(id.Shared) + escapeAddress.Replace(id.Address) + delimiter
		case !errors.Is(err, accounts.ErrNoUser):
			return "", false, err
		}
	}
	if n.before == nil {
		n.before = map[store.AccountID]string{}
	}
	n.before[mb.Account] = before
	return before + mb.Name, before != "", nil
}

// folders returns all mailboxes that the account may see, its own first, with the
// names that clients use.
func (c *conn) folders() ([]store.Folder, error) {
	own, err := c.access.Folders(c.ctx)
	if err != nil || c.srv.Roster == nil {
		return own, err
	}
	shared, err := c.access.Shared(c.ctx)
	if err != nil || len(shared) == 0 {
		return own, err
	}
	taken := map[string]bool{} // by mailboxes of one's own, which come first
	for _, f := range own {
		if strings.HasPrefix(f.Name, c.srv.prefix(false)) || strings.HasPrefix(f.Name, c.srv.prefix(true)) {
			taken[f.Name] = true
		}
	}
	names := naming{c: c}
	for _, f := range shared {
		name, ok, err := names.name(&f.Mailbox)
		if err != nil {
			return nil, err
		}
		if ok && !taken[name] {
			f.Name, f.Role = name, ""
			own = append(own, f)
		}
	}
	return own, nil
}
