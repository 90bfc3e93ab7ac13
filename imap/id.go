package imap

// maxIDParams is how many fields ID may have (RFC 2971, 3.3).
const maxIDParams = 30

// id is ID (RFC 2971): who we are. What the client says of itself goes to the log
// at most.
func (c *conn) id(cmd *command) error {
	cmd.sp()
	if cmd.peek() != '(' {
		if _, ok := cmd.nstring(); ok {
			cmd.fail("expected a list or NIL")
		}
	} else {
		n := 0
		var name, version string
		cmd.list(func() {
			if n++; n > maxIDParams {
				cmd.fail("too many fields")
				return
			}
			key := cmd.string()
			cmd.sp()
			switch value, _ := cmd.nstring(); key {
			case "name":
				name = value
			case "version":
				version = value
			}
		})
		if cmd.ok() {
			c.log.Debug("imap: client", "name", name, "version", version)
		}
	}
	if err := cmd.end(); err != nil {
		return err
	}
	c.w.raw(`* ID ("name" `)
	name := c.srv.Name
	if name == "" {
		name = "mailkeel"
	}
	c.w.string(name)
	if v := c.srv.Version; v != "" {
		c.w.raw(` "version" `)
		c.w.string(v)
	}
	c.w.byte(')')
	c.w.crlf()
	return nil
}
