package imap

import (
	"maps"
	"slices"
)

// lsub is LSUB (RFC 3501, 6.3.9): subscribed names, of IMAP4rev1 alone. A name
// that is only above one is told as \Noselect if the pattern keeps that one out.
func (c *conn) lsub(cmd *command) error {
	cmd.sp()
	ref := cmd.reference()
	cmd.sp()
	want := cmd.listMailbox()
	if err := cmd.end(); err != nil {
		return err
	}
	folders, err := c.folders()
	if err != nil {
		return err
	}
	names, err := c.subscriptions("")
	if err != nil {
		return err
	}
	for _, f := range folders {
		if f.Subscribed {
			names = append(names, f.Name)
		}
	}
	p := newPattern(ref + want)
	attrs := map[string]string{}
	for _, name := range names {
		if p.match(name) {
			attrs[name] = ""
			continue
		}
		for up := parentName(name); up != ""; up = parentName(up) {
			if _, known := attrs[up]; known {
				break
			}
			if p.match(up) {
				attrs[up] = `\Noselect`
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		c.w.raw("* LSUB (" + attrs[name] + `) "` + delimiter + `" `)
		c.w.mailbox(name)
		c.w.crlf()
	}
	return nil
}
