package mailtest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// hangs is how long the end of a test waits for clients to leave, in real time.
const hangs = 2 * time.Second

// open are the connections of a server.
type open struct {
	mu  sync.Mutex
	all map[*trackedConn]struct{}
}

// A trackedConn is known until it is closed. It keeps what a TCP connection can do.
type trackedConn struct {
	*net.TCPConn
	door string
	in   *open
}

// track notes a connection to a door.
func (o *open) track(c net.Conn, door string) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	t := &trackedConn{tcp, door, o}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[*trackedConn]struct{}{}
	}
	o.all[t] = struct{}{}
	return t
}

func (c *trackedConn) Close() error {
	c.in.mu.Lock()
	delete(c.in.all, c)
	c.in.mu.Unlock()
	return c.TCPConn.Close()
}

// names are those that are open: "imap from 127.0.0.1:40000".
func (o *open) names() (all []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.all {
		all = append(all, fmt.Sprintf("%s from %s", c.door, c.RemoteAddr()))
	}
	slices.Sort(all)
	return all
}

// end waits until the server has ended, which ctx has told it to. Clients that do not
// leave are named, and cut off.
func (s *Server) end(done <-chan error) error {
	t := time.NewTimer(hangs)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
	}
	s.tb.Logf("mailtest: at the end of the test these connections are still in the middle of something, and are cut off: %s%s", strings.Join(s.open.names(), ", "), s.dialogs())
	now, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(now)
	return <-done
}
