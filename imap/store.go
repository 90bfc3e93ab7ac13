package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// store is STORE and UID STORE (RFC 9051, 6.4.6).
func (c *conn) store(cmd *command) error {
	cmd.sp()
	set := cmd.numSet(cmd.uid)
	cmd.sp()
	op, silent := cmd.storeOp()
	cmd.sp()
	flags := cmd.storeFlags()
	if err := cmd.end(); err != nil {
		return err
	}
	if err := c.writable(); err != nil {
		return err
	}
	spans, err := c.sel.resolve(set)
	if err != nil || len(spans) == 0 {
		return err
	}
	var change store.FlagChange
	switch op {
	case imap.StoreFlagsSet:
		change.Replace, change.Add = true, flags
	case imap.StoreFlagsAdd:
		change.Add = flags
	case imap.StoreFlagsDel:
		change.Remove = flags
	}
	changed, _, err := c.access.SetFlags(c.ctx, c.sel.id, change, c.sel.snap.uids(spans)...)
	if err != nil {
		return err
	}
	if silent {
		changed = c.sel.expected(change, changed)
	}
	c.sel.note(changed)
	is, err := c.sel.view.refresh(c.ctx)
	if err != nil { // it is done, whatever can be read now
		is = c.sel.snap
	}
	gone := false
	for seq, r := range c.sel.snap.all(spans) {
		if _, ok := is.find(r.uid); !ok {
			gone = true
		} else if !silent {
			c.fetchFlags(seq, r, cmd.uid)
		}
	}
	if gone && !cmd.uid {
		return errGone
	}
	return nil
}

// expected returns those messages whose flags are what the client makes them by
// what it was told and by its STORE. Of the others it hears even after .SILENT
// (RFC 9051, 6.4.6): somebody else has changed them.
func (s *selection) expected(change store.FlagChange, ms []store.Message) (out []store.Message) {
	type step struct{ was, is flagSet }
	known := map[step]bool{}
	for _, m := range ms {
		pos, ok := s.snap.find(m.UID)
		if !ok {
			continue
		}
		k := step{s.snap.at(pos).flags, joinFlags(m.Flags)}
		right, seen := known[k]
		if !seen {
			right = leadsTo(k.was, change, m.Flags)
			known[k] = right
		}
		if right {
			out = append(out, m)
		}
	}
	return out
}

// leadsTo reports whether change makes flags of was.
func leadsTo(was flagSet, change store.FlagChange, flags []string) bool {
	has := func(list []string, f string) bool {
		return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, f) })
	}
	var want []string
	if !change.Replace {
		want = slices.DeleteFunc(strings.Fields(was.Value()), func(f string) bool { return has(change.Remove, f) })
	}
	for _, f := range change.Add {
		if !has(want, f) {
			want = append(want, f)
		}
	}
	return len(want) == len(flags) && !slices.ContainsFunc(want, func(f string) bool { return !has(flags, f) })
}

// storeOp reads what to do with flags: FLAGS, +FLAGS or -FLAGS, perhaps .SILENT.
func (p *parser) storeOp() (op imap.StoreFlagsOp, silent bool) {
	word := p.keyword()
	word, silent = strings.CutSuffix(word, ".SILENT")
	switch word {
	case "FLAGS":
		return imap.StoreFlagsSet, silent
	case "+FLAGS":
		return imap.StoreFlagsAdd, silent
	case "-FLAGS":
		return imap.StoreFlagsDel, silent
	}
	p.fail("unknown data item")
	return 0, false
}

// storeFlags reads a list of flags, or flags without parentheses.
func (p *parser) storeFlags() (flags []string) {
	if p.peek() == '(' {
		return p.flags()
	}
	for p.ok() && len(flags) < maxFlags {
		flags = append(flags, p.flag())
		if !p.more() {
			break
		}
	}
	return flags
}
