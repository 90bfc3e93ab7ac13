//go:build !linux

package guard

// QuickAck does nothing here: see quickack_linux.go.
func (c *Conn) QuickAck() {}
