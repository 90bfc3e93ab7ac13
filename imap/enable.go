package imap

import "strings"

// enable is ENABLE (RFC 9051, 6.3.1). Only what was not enabled before is told,
// and the response is there even if that is nothing (RFC 5161, 3.2).
func (c *conn) enable(cmd *command) error {
	var words []string
	for cmd.sp(); cmd.ok(); {
		words = append(words, cmd.keyword())
		if !cmd.more() {
			break
		}
	}
	if err := cmd.end(); err != nil {
		return err
	}
	var done []string
	condstore := c.condstore
	for _, w := range words {
		switch w {
		case "IMAP4REV2":
			if !c.rev2 {
				c.rev2 = true
				done = append(done, " IMAP4rev2")
			}
		case "CONDSTORE":
			if !condstore {
				condstore = true
				c.enableCondstore()
				done = append(done, " CONDSTORE")
			}
		case "QRESYNC":
			if !c.qresync {
				c.qresync = true
				c.enableCondstore()
				done = append(done, " QRESYNC")
			}
		case "UIDONLY":
			if !c.uidOnly {
				c.uidOnly = true
				done = append(done, " UIDONLY")
			}
		case "UTF8=ACCEPT":
			if !c.utf8 {
				c.utf8 = true
				done = append(done, " UTF8=ACCEPT")
			}
		}
	}
	c.w.utf8 = c.unicode()
	c.w.linef("* ENABLED%s", strings.Join(done, ""))
	return nil
}

// unicode reports whether strings are UTF-8 (RFC 6855, 3; RFC 9051, 5.1).
func (c *conn) unicode() bool { return c.utf8 || c.rev2 }
