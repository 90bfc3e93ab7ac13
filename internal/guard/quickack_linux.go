package guard

import "syscall"

// QuickAck has the kernel acknowledge at once what has come, where it can. A client
// that sends something in two pieces waits for that (Nagle's algorithm), and the
// kernel would wait 40 ms for a reply to send it along with. It is for places in a
// protocol where the reply comes only after the second piece.
func (c *Conn) QuickAck() {
	t, ok := c.raw.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := t.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
		})
	}
}
