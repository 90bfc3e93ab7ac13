package imap

import (
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
	c.sel.note(changed)
	if silent {
		return nil
	}
	for seq, r := range c.sel.snap.all(spans) {
		c.fetchFlags(seq, r, cmd.uid)
	}
	return nil
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
		if !p.take(' ') {
			break
		}
	}
	return flags
}
