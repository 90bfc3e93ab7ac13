package imap

import "github.com/emersion/go-imap/v2"

// unauthenticate is UNAUTHENTICATE (RFC 8437): the connection, its TLS and the
// certificate of the client stay, and everything else is as after the greeting. So
// that a proxy can use a connection for one user after the other, and nothing of
// one comes to the other.
func (c *conn) unauthenticate(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	if c.compressed {
		// What one user said would help to guess what the next one says.
		return no(imap.ResponseCodeCannot, "Not while COMPRESS is active")
	}
	c.leave()
	c.log.Info("imap: logged out by UNAUTHENTICATE")
	c.log = c.base
	c.in.authed, c.in.br.late, c.w.Small, c.w.utf8 = false, false, true, false
	c.early, c.badRow = 0, 0 // failures stay: they are of the peer
	cmd.code = "CAPABILITY " + c.capabilities()
	return nil
}
