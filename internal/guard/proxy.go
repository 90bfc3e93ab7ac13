package guard

import (
	"bufio"
	"net"

	"github.com/pires/go-proxyproto"
)

// readProxy reads the PROXY header and takes the peer's address from it. A proxy
// that speaks for itself (LOCAL, UNKNOWN) keeps its own.
func (c *Conn) readProxy() error {
	br := bufio.NewReaderSize(c, 256)
	h, err := proxyproto.Read(br)
	if err != nil {
		return err
	}
	if n := br.Buffered(); n > 0 {
		rest, _ := br.Peek(n)
		c.mu.Lock()
		c.pre = append([]byte(nil), rest...)
		c.mu.Unlock()
	}
	src, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok || h.Command.IsLocal() || src.IP == nil || src.IP.IsUnspecified() {
		return nil
	}
	c.remote, c.addr = src, addrPort(src)
	return nil
}
