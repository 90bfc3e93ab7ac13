package imap

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// maxPatterns is how many patterns one LIST may have.
const maxPatterns = 100

// list is LIST (RFC 9051, 6.3.9), with selection and return options (RFC 5258),
// STATUS (RFC 5819), special uses (RFC 6154), MYRIGHTS (RFC 8440) and METADATA (RFC
// 9590).
func (c *conn) list(cmd *command) error {
	var o listOptions
	cmd.sp()
	extended := cmd.peek() == '('
	if extended {
		cmd.listSelect(&o)
		cmd.sp()
	}
	ref := cmd.reference()
	cmd.sp()
	var patterns []string
	if cmd.peek() == '(' {
		extended = true
		cmd.list(func() {
			if len(patterns) == maxPatterns {
				cmd.fail("too many patterns")
			}
			patterns = append(patterns, cmd.listMailbox())
		})
	} else {
		patterns = append(patterns, cmd.listMailbox())
	}
	if cmd.more() {
		extended = true
		if !cmd.word("RETURN") {
			cmd.fail("expected RETURN")
		}
		cmd.sp()
		cmd.listReturn(&o)
	}
	if err := cmd.end(); err != nil {
		return err
	}
	if !extended && patterns[0] == "" { // the question for the delimiter
		c.w.linef(`* LIST (\Noselect) "%s" ""`, delimiter)
		return nil
	}
	l := lister{o: o, extended: extended}
	for _, p := range patterns {
		if p != "" {
			l.patterns = append(l.patterns, newPattern(ref+p))
		}
	}
	folders, err := c.folders()
	if err != nil {
		return err
	}
	var names []string // subscribed, and perhaps no more
	if o.SelectSubscribed {
		if names, err = c.subscriptions(""); err != nil {
			return err
		}
	}
	nodes := slices.DeleteFunc(l.nodes(folders, names), func(n *node) bool { return !n.listed })
	if o.metadata != nil {
		var ids []store.MailboxID
		for _, n := range nodes {
			if n.box != nil {
				ids = append(ids, n.box.ID)
			}
		}
		if l.metadata, err = c.access.MetadataOf(c.ctx, ids...); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := c.writeList(&l, n); err != nil {
			return err
		}
	}
	return nil
}

// listOptions are those of RFC 5258, and more that can be returned.
type listOptions struct {
	imap.ListOptions
	ReturnStatus *statusOptions
	myRights     bool           // RFC 8440
	metadata     *metadataQuery // RFC 9590
}

// reference reads the first argument of LIST, which may be empty.
func (p *parser) reference() string {
	s := p.astring()
	if s == "" {
		return ""
	}
	return p.name(s)
}

// listSelect reads selection options.
func (p *parser) listSelect(o *listOptions) {
	p.list(func() {
		switch p.keyword() {
		case "SUBSCRIBED":
			o.SelectSubscribed, o.ReturnSubscribed = true, true
		case "REMOTE":
			o.SelectRemote = true // there are none
		case "RECURSIVEMATCH":
			o.SelectRecursiveMatch = true
		case "SPECIAL-USE":
			o.SelectSpecialUse, o.ReturnSpecialUse = true, true
		default:
			p.fail("unknown selection option")
		}
	})
	if o.SelectRecursiveMatch && !o.SelectSubscribed && !o.SelectSpecialUse {
		p.fail("RECURSIVEMATCH needs another option")
	}
}

// listReturn reads return options.
func (p *parser) listReturn(o *listOptions) {
	p.list(func() {
		switch p.keyword() {
		case "SUBSCRIBED":
			o.ReturnSubscribed = true
		case "CHILDREN":
			o.ReturnChildren = true
		case "SPECIAL-USE":
			o.ReturnSpecialUse = true
		case "STATUS":
			p.sp()
			o.ReturnStatus = p.statusItems()
		case "MYRIGHTS":
			o.myRights = true
		case "METADATA":
			p.sp()
			o.metadata = &metadataQuery{max: -1}
			p.entries(o.metadata)
		default:
			p.fail("unknown return option")
		}
	})
}

// A node is a name in the hierarchy. Names above a mailbox are there even if no
// mailbox has them.
type node struct {
	name       string
	box        *store.Folder // nil if there is none
	subscribed bool
	children   bool // mailboxes are below it
	chosen     bool // the selection options want it
	below      bool // and want something below it
	hidden     bool // that will not be listed itself
	listed     bool
}

// A lister decides what LIST shows.
type lister struct {
	o        listOptions
	patterns []*pattern
	metadata map[store.MailboxID][]store.Metadata
	extended bool
}

func (l *lister) match(name string) bool {
	return slices.ContainsFunc(l.patterns, func(p *pattern) bool { return p.match(name) })
}

// nodes returns the hierarchy by name.
func (l *lister) nodes(folders []store.Folder, subscribed []string) []*node {
	byName := make(map[string]*node, len(folders))
	get := func(name string) *node {
		n := byName[name]
		if n == nil {
			n = &node{name: name}
			byName[name] = n
		}
		return n
	}
	for i := range folders {
		mb := &folders[i]
		n := get(mb.Name)
		n.box, n.subscribed = mb, mb.Subscribed
	}
	for _, name := range subscribed {
		if n := get(name); n.box == nil {
			n.subscribed = true
		}
	}
	for i := range folders {
		for up := parentName(folders[i].Name); up != ""; up = parentName(up) {
			n := get(up)
			if n.children {
				break // and so are those above it
			}
			n.children = true
		}
	}
	out := make([]*node, 0, len(byName))
	for _, n := range byName {
		out = append(out, n)
	}
	for _, n := range out {
		n.chosen = (!l.o.SelectSubscribed || n.subscribed) &&
			(!l.o.SelectSpecialUse || n.box != nil && useAttr(n.box.Role) != "")
		matches := l.match(n.name)
		n.listed = n.chosen && matches
		if !n.chosen || !l.o.SelectRecursiveMatch {
			continue
		}
		for up := parentName(n.name); up != ""; up = parentName(up) {
			a := get(up)
			if a.below && (a.hidden || matches) {
				break
			}
			a.below = true
			a.hidden = a.hidden || !matches
		}
	}
	if l.o.SelectRecursiveMatch {
		// A parent is shown for the sake of what is below it only if that is
		// not shown itself (RFC 5258, 3.5). Parents may be new here.
		out = out[:0]
		for _, n := range byName {
			n.listed = n.listed || n.hidden && l.match(n.name)
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *node) int {
		switch {
		case a == b:
			return 0
		case a.name == inbox: // it comes first
			return -1
		case b.name == inbox:
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return out
}

// writeList writes a LIST response, and those with what else was asked for: STATUS
// of what may be read alone (RFC 5819, 2).
func (c *conn) writeList(l *lister, n *node) error {
	var attrs []string
	if n.box == nil {
		if l.extended || c.rev2 {
			attrs = append(attrs, string(imap.MailboxAttrNonExistent))
		} else {
			attrs = append(attrs, string(imap.MailboxAttrNoSelect))
		}
	}
	if n.subscribed && l.o.ReturnSubscribed {
		attrs = append(attrs, string(imap.MailboxAttrSubscribed))
	}
	if l.o.ReturnChildren || !l.extended {
		if n.children {
			attrs = append(attrs, string(imap.MailboxAttrHasChildren))
		} else {
			attrs = append(attrs, string(imap.MailboxAttrHasNoChildren))
		}
	}
	if n.box != nil && (l.o.ReturnSpecialUse || !l.extended) {
		if a := useAttr(n.box.Role); a != "" {
			attrs = append(attrs, a)
		}
	}
	c.w.raw("* LIST (")
	c.w.raw(strings.Join(attrs, " "))
	c.w.raw(`) "` + delimiter + `" `)
	c.w.mailbox(n.name)
	if n.below {
		var why []string
		if l.o.SelectSubscribed {
			why = append(why, `"SUBSCRIBED"`)
		}
		if l.o.SelectSpecialUse {
			why = append(why, `"SPECIAL-USE"`)
		}
		c.w.raw(` ("CHILDINFO" (` + strings.Join(why, " ") + `))`)
	}
	c.w.crlf()
	if n.box == nil {
		return nil
	}
	if l.o.myRights {
		c.writeMyRights(*n.box)
	}
	if es, ok := l.metadata[n.box.ID]; ok {
		c.writeMetadata(*n.box, l.o.metadata, es)
	}
	if l.o.ReturnStatus != nil && n.box.Rights.Has("r") {
		switch err := c.writeStatus(n.box.Mailbox, l.o.ReturnStatus); {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDenied): // since it was listed
		default:
			return err
		}
	}
	return nil
}
