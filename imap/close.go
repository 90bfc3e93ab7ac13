package imap

// close is CLOSE (RFC 9051, 6.4.1), which expunges without telling, and UNSELECT
// (6.4.2), which does not.
func (c *conn) close(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	if cmd.name == "CLOSE" && !c.sel.readOnly && c.sel.rights.Has("e") {
		snap, err := c.sel.view.refresh(c.ctx)
		if err != nil {
			return err
		}
		if uids := marked(snap, snap.everything()); len(uids) > 0 {
			if _, err := c.access.ExpungeMarked(c.ctx, c.sel.id, uids...); err != nil {
				return err
			}
		}
	}
	c.unselect()
	return nil
}
