package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// entrySpecialUse is the special use of a mailbox as an entry (RFC 6154, 5.4).
const entrySpecialUse = "/private/specialuse"

// A metadataQuery is what GETMETADATA and LIST ask for.
type metadataQuery struct {
	entries []string // as the client wrote them
	deep    int      // levels below them; -1 means all
	max     int64    // bytes of a value; -1 means any number
	longest int64    // of the values that were left out
}

// getMetadata is GETMETADATA (RFC 5464, 4.2). The mailbox "" is the server.
func (c *conn) getMetadata(cmd *command) error {
	q := metadataQuery{max: -1}
	cmd.sp()
	if cmd.peek() == '(' {
		cmd.list(func() {
			switch cmd.keyword() {
			case "MAXSIZE":
				cmd.sp()
				q.max = cmd.number64()
			case "DEPTH":
				cmd.sp()
				switch cmd.keyword() {
				case "0":
					q.deep = 0
				case "1":
					q.deep = 1
				case "INFINITY":
					q.deep = -1
				default:
					cmd.fail("no such depth")
				}
			default:
				cmd.fail("unknown option")
			}
		})
		cmd.sp()
	}
	name := cmd.mailbox()
	cmd.sp()
	cmd.entries(&q)
	if err := cmd.end(); err != nil {
		return err
	}
	var f store.Folder
	var es []store.Metadata
	var err error
	if name == "" {
		es, err = c.serverMetadata()
	} else if f, err = c.folder(name); err == nil {
		es, err = c.access.Metadata(c.ctx, f.ID)
	}
	if err != nil {
		return err
	}
	c.writeMetadata(f, &q, es)
	if q.longest > 0 {
		cmd.code = fmt.Sprintf("METADATA LONGENTRIES %d", q.longest)
	}
	return nil
}

// serverMetadata returns the entries of the server: those of the account, and what
// the server says of itself (RFC 5464, 6.2.1).
func (c *conn) serverMetadata() ([]store.Metadata, error) {
	es, err := c.access.Metadata(c.ctx, 0)
	if c.srv.Comment != "" {
		es = append(es, store.Metadata{Name: "/shared/comment", Value: []byte(c.srv.Comment)})
	}
	if c.srv.Admin != "" {
		es = append(es, store.Metadata{Name: "/shared/admin", Value: []byte(c.srv.Admin)})
	}
	return es, err
}

// entries reads one name of an entry, or a list of them.
func (p *parser) entries(q *metadataQuery) {
	one := func() {
		name := p.astring()
		_, err := store.CleanEntry(name)
		top := strings.EqualFold(name, "/private") || strings.EqualFold(name, "/shared")
		if p.ok() && err != nil && !(top && q.deep != 0) {
			p.fail("not the name of an entry")
		}
		q.entries = append(q.entries, name)
	}
	if p.peek() != '(' {
		one()
		return
	}
	p.list(one)
	if len(q.entries) == 0 {
		p.fail("expected entries")
	}
}

// writeMetadata writes a METADATA response with values (RFC 5464, 4.4.1), NIL for
// what was asked for by name and is not there.
func (c *conn) writeMetadata(f store.Folder, q *metadataQuery, es []store.Metadata) {
	if attr := useAttr(f.Role); attr != "" {
		es = append(es, store.Metadata{Name: entrySpecialUse, Value: []byte(attr)})
	}
	slices.SortFunc(es, func(a, b store.Metadata) int { return strings.Compare(a.Name, b.Name) })
	var out []store.Metadata
	told := map[string]bool{}
	tell := func(name string, e store.Metadata) {
		if told[e.Name] {
			return
		}
		told[e.Name] = true
		if n := int64(len(e.Value)); q.max >= 0 && n > q.max {
			q.longest = max(q.longest, n)
			return
		}
		out = append(out, store.Metadata{Name: name, Value: e.Value})
	}
	for _, asked := range q.entries {
		low := strings.ToLower(asked)
		found := false
		for _, e := range es {
			below, ok := strings.CutPrefix(e.Name, low+"/")
			switch {
			case e.Name == low:
				found = true
				tell(asked, e)
			case ok && (q.deep < 0 || q.deep > strings.Count(below, "/")):
				found = true
				tell(e.Name, e)
			}
		}
		if !found && q.deep == 0 {
			tell(asked, store.Metadata{Name: low})
		}
	}
	if len(out) == 0 {
		return
	}
	c.w.raw("* METADATA ")
	c.w.mailbox(f.Name)
	sep := " ("
	for _, e := range out {
		c.w.raw(sep)
		if strings.IndexFunc(e.Name, func(r rune) bool { return !isASCIIAtom(byte(r)) }) < 0 {
			c.w.raw(e.Name)
		} else {
			c.w.string(e.Name)
		}
		c.w.sp()
		switch {
		case e.Value == nil:
			c.w.raw("NIL")
		case bytes.IndexByte(e.Value, 0) >= 0:
			c.w.literal8(int64(len(e.Value)))
			c.w.raw(string(e.Value))
		default:
			c.w.string(string(e.Value))
		}
		sep = " "
	}
	c.w.byte(')')
	c.w.crlf()
}

// setMetadata is SETMETADATA (RFC 5464, 4.3): all or nothing.
func (c *conn) setMetadata(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	cmd.sp()
	var es []store.Metadata
	var role *string
	cmd.list(func() {
		e := store.Metadata{Name: cmd.astring()}
		low, err := store.CleanEntry(e.Name)
		if err != nil {
			cmd.fail("not the name of an entry")
		}
		cmd.sp()
		e.Value = cmd.metadataValue()
		if low == entrySpecialUse {
			role = cmd.specialUse(e.Value)
			return
		}
		es = append(es, e)
	})
	if cmd.ok() && len(es) == 0 && role == nil {
		cmd.fail("expected entries")
	}
	if err := cmd.end(); err != nil {
		return err
	}
	var f store.Folder
	if name == "" {
		shared := func(e store.Metadata) bool { return !strings.HasPrefix(strings.ToLower(e.Name), "/private/") }
		if slices.ContainsFunc(es, shared) {
			return no(imap.ResponseCodeNoPerm, "What the server says of itself stands in its configuration")
		}
		if role != nil {
			return no(imap.ResponseCodeCannot, "The server has no special use")
		}
	} else {
		var err error
		if f, err = c.folder(name); err != nil {
			return err
		}
		if role != nil && f.Account != c.account {
			return no(imap.ResponseCodeCannot, "Special uses are of one's own mailboxes")
		}
	}
	err := c.access.SetMetadata(c.ctx, f.ID, role, es...)
	switch {
	case errors.Is(err, store.ErrExists):
		return no("USEATTR", "Another mailbox has that special use")
	case errors.Is(err, store.ErrLimit):
		return no("METADATA TOOMANY", "There are too many entries")
	}
	return err
}

// metadataValue reads a value: a string, a literal8, or NIL as nil.
func (p *parser) metadataValue() []byte {
	tooBig := no(imap.ResponseCode(fmt.Sprintf("METADATA MAXSIZE %d", store.MaxMetadata)), "Value is too big")
	if !p.atLiteral() {
		s, ok := p.nstring()
		if len(s) > store.MaxMetadata && p.ok() {
			p.err = tooBig
		}
		if !ok || !p.ok() {
			return nil
		}
		return []byte(s)
	}
	l := p.lit
	switch {
	case l.size > store.MaxMetadata:
		p.err = tooBig
		return nil
	case l.size > int64(p.left):
		p.err = bad("Literal is too big")
		return nil
	}
	p.accept()
	b := make([]byte, l.size)
	if _, p.err = io.ReadFull(p.in, b); p.err != nil {
		return nil
	}
	p.left -= len(b)
	p.next()
	if !l.binary && bytes.IndexByte(b, 0) >= 0 {
		p.fail("NUL in a literal")
	}
	return b
}

// specialUse is the role that a value of entrySpecialUse stands for, empty for none.
func (p *parser) specialUse(value []byte) *string {
	role := ""
	if attrs := strings.Fields(string(value)); len(attrs) > 0 {
		if role = useRole(attrs[0]); p.ok() && (role == "" || len(attrs) > 1) {
			p.err = no("USEATTR", "No such special use, or more than one")
		}
	}
	return &role
}
