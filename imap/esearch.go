package imap

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// maxSources is how many mailboxes one ESEARCH may name.
const maxSources = 1000

// esearch is ESEARCH (RFC 7377): SEARCH in several mailboxes, of which each that has
// something is told of with its name. Numbers are UIDs.
func (c *conn) esearch(cmd *command) error {
	cmd.sp()
	p := c.searchParser(cmd)
	from := p.sources()
	r := p.returns()
	p.searchCharset()
	k := p.searchKeys()
	if err := p.fuzzyEnd(r.relevancy); err != nil {
		return err
	}
	c.asksModSeq(p, &r)
	switch only := from.selectedOnly(); {
	case from.selected && c.sel == nil:
		return bad("No mailbox is selected")
	case !only && (r.save || k.refersToSelected()):
		// RFC 7377, 2.1: they mean the selected mailbox.
		return bad("Sequence numbers and $ are of the selected mailbox only")
	}
	if !r.given {
		r.all = true
	}
	if r.update {
		c.noUpdate(cmd.tag, "Only SEARCH and SORT have contexts")
	}
	ids, err := c.resolveSources(from)
	if err != nil {
		return err
	}
	for _, folder := range ids {
		err := c.inside(folder, func() error {
			found, err := c.find(cmd, k)
			if err != nil {
				return c.unsaved(&r, err)
			}
			if r.relevancy {
				if r.score, err = c.relevancy(cmd, k); err != nil {
					return err
				}
			}
			if r.save {
				c.sel.saved = saved(&r, c.sel.snap, found)
			}
			if found.len() > 0 && r.answered() {
				c.boxResult(cmd, &r, folder, found)
			}
			return nil
		})
		// RFC 7377, 2.2: one that is not there, or may not be searched, has nothing.
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDenied) {
			return err
		}
	}
	return nil
}

// boxResult writes an ESEARCH response that says of which mailbox it is.
func (c *conn) boxResult(cmd *command, r *returns, folder store.Folder, found outcome) {
	c.w.raw("* ESEARCH (TAG ")
	c.w.string(cmd.tag)
	c.w.raw(" MAILBOX ")
	c.w.mailbox(folder.Name)
	c.w.raw(" UIDVALIDITY ")
	c.w.num(uint64(folder.UIDValidity))
	c.w.raw(") UID")
	c.resultData(true, r, found)
	c.w.crlf()
}

// inside does fn as if a mailbox were selected.
func (c *conn) inside(folder store.Folder, fn func() error) error {
	if c.sel != nil && c.sel.id == folder.ID {
		return fn()
	}
	v, snap, err := c.srv.state.views.get(c.ctx, c.access, folder.ID)
	if err != nil {
		return err
	}
	defer c.srv.state.views.put(v)
	was := c.sel
	defer func() { c.sel = was }()
	c.sel = &selection{id: folder.ID, view: v, snap: snap, rights: folder.Rights, readOnly: true}
	return fn()
}

// A sourceName is a mailbox of "mailboxes", "subtree" or "subtree-one" (RFC 6237, 5).
type sourceName struct{ how, name string }

// sources are the mailboxes that IN names; without IN it is the selected one.
type sources struct {
	selected, personal, inboxes, subscribed bool
	names                                   []sourceName
}

func (s *sources) selectedOnly() bool {
	return s.selected && !s.personal && !s.inboxes && !s.subscribed && s.names == nil
}

// sources reads IN (...) and the space after it, if it is next.
func (p *searchParser) sources() (s sources) {
	if !p.word("IN") {
		s.selected = true
		return s
	}
	p.sp()
	n := 0
	p.list(func() {
		n++
		if p.peek() == '(' {
			p.fail("no scope option is known") // RFC 7377, 2.2: there are none yet
			return
		}
		switch how := strings.ToLower(p.atom()); how {
		case "selected":
			s.selected = true
		case "personal":
			s.personal = true
		case "inboxes":
			s.inboxes = true
		case "subscribed":
			s.subscribed = true
		case "mailboxes", "subtree", "subtree-one":
			p.sp()
			add := func() {
				if len(s.names) == maxSources {
					p.err = no(imap.ResponseCodeLimit, "Too many mailboxes")
				}
				s.names = append(s.names, sourceName{how, p.mailbox()})
			}
			if p.peek() == '(' {
				p.list(add)
			} else {
				add()
			}
		default:
			p.fail("unknown source of mailboxes")
		}
	})
	if n == 0 {
		p.fail("expected a source of mailboxes")
	}
	p.sp()
	return s
}

// resolveSources returns the mailboxes, each once and by name. Those that are not
// there are left out.
func (c *conn) resolveSources(s sources) (out []store.Folder, err error) {
	if s.selected {
		names := naming{c: c}
		f := store.Folder{Mailbox: c.sel.snap.box, Rights: c.sel.rights}
		if f.Name, _, err = names.name(&f.Mailbox); err != nil {
			return nil, err
		}
		if out = append(out, f); s.selectedOnly() {
			return out, nil
		}
	}
	folders, err := c.folders()
	if err != nil {
		return nil, err
	}
	var subscribed []string // those of others
	if s.subscribed {
		if subscribed, err = c.subscriptions(""); err != nil {
			return nil, err
		}
	}
	for _, f := range folders {
		own := f.Account == c.account
		// "inboxes" are those that new mail is filed in; here it is one.
		if own && s.personal || own && s.inboxes && f.Name == inbox ||
			s.subscribed && (own && f.Subscribed || !own && slices.Contains(subscribed, f.Name)) ||
			slices.ContainsFunc(s.names, func(n sourceName) bool { return n.covers(f.Name) }) {
			out = append(out, f)
		}
	}
	for _, n := range s.names { // one may be read that is not listed
		f, err := c.folder(n.name)
		switch {
		case err == nil:
			out = append(out, f)
		case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDenied):
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b store.Folder) int { return strings.Compare(a.Name, b.Name) })
	seen := map[store.MailboxID]bool{}
	out = slices.DeleteFunc(out, func(f store.Folder) bool {
		was := seen[f.ID]
		seen[f.ID] = true
		return was
	})
	return out, nil
}

// covers reports whether a mailbox belongs to what is named.
func (n sourceName) covers(name string) bool {
	if name == n.name {
		return true
	}
	rest, ok := strings.CutPrefix(name, n.name+delimiter)
	switch n.how {
	case "subtree":
		return ok
	case "subtree-one":
		return ok && !strings.Contains(rest, delimiter)
	}
	return false
}

// refersToSelected reports whether keys name messages by sequence numbers or "$".
func (k *criteria) refersToSelected() bool {
	if len(k.SeqNum) > 0 || slices.ContainsFunc(k.UID, func(s imap.UIDSet) bool { return imap.IsSearchRes(s) }) {
		return true
	}
	for i := range k.Not {
		if k.Not[i].refersToSelected() {
			return true
		}
	}
	for i := range k.Or {
		if k.Or[i][0].refersToSelected() || k.Or[i][1].refersToSelected() {
			return true
		}
	}
	return false
}
