package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// The names of the doors, for Server.Addr.
const (
	SMTP        = "smtp"
	LMTP        = "lmtp"
	Submission  = "submission"
	Submissions = "submissions"
	IMAP        = "imap"
	IMAPS       = "imaps"
	POP3        = "pop3"
	POP3S       = "pop3s"
	HTTP        = "http"
	HTTPS       = "https"
)

// A Listen says where a door is. The zero value is a door that stays shut.
type Listen struct {
	// Addr is "host:port", or several with commas between; port 0 takes a free
	// one. LMTP also takes the path of a Unix socket.
	Addr string
	// Listener, if set, is served instead; the Server closes it.
	Listener net.Listener
}

func (l Listen) off() bool { return l.Listener == nil && l.Addr == "" }

// Check reports whether Addr can be understood, without listening.
func (l Listen) Check() error {
	if l.off() || l.Listener != nil {
		return nil
	}
	for _, a := range l.addresses() {
		if a.Network() == "unix" {
			continue
		}
		_, port, err := net.SplitHostPort(a.String())
		if err == nil {
			_, err = net.LookupPort("tcp", port) // a number or the name of a service
		}
		if err != nil || port == "" {
			return fmt.Errorf("%q is no address: give host:port, such as 127.0.0.1:2525 or :25", a)
		}
	}
	return nil
}

// addresses returns what is listened on.
func (l Listen) addresses() []net.Addr {
	if l.Listener != nil {
		return []net.Addr{l.Listener.Addr()}
	}
	var as []net.Addr
	for a := range strings.SplitSeq(l.Addr, ",") {
		as = append(as, address(strings.TrimSpace(a)))
	}
	return as
}

// paths takes what has no port for the name of a Unix socket, which a door other
// than LMTP takes for a mistake; and so does LMTP if it is the port alone.
func (l Listen) paths() Listen {
	var as []string
	for _, a := range strings.Split(l.Addr, ",") {
		if a = strings.TrimSpace(a); a != "" && !strings.ContainsAny(a, ":/") && strings.Trim(a, "0123456789") != "" {
			a = "./" + a
		}
		as = append(as, a)
	}
	l.Addr = strings.Join(as, ",")
	return l
}

// An address is one that was written down.
type address string

// Network is "unix" for a path.
func (a address) Network() string {
	if strings.ContainsRune(string(a), '/') {
		return "unix"
	}
	return "tcp"
}

func (a address) String() string { return string(a) }

// loopback reports whether only this machine can connect to a.
func loopback(a net.Addr) bool {
	if a.Network() == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// open listens on all addresses of l, or on none.
func (l Listen) open(ctx context.Context) (lns []net.Listener, err error) {
	if l.off() {
		return nil, nil
	}
	if l.Listener != nil {
		return []net.Listener{l.Listener}, nil
	}
	defer func() {
		if err != nil {
			for _, ln := range lns {
				ln.Close()
			}
			lns = nil
		}
	}()
	for _, a := range l.addresses() {
		if a.Network() == "unix" {
			if err := unlinkStale(ctx, a.String()); err != nil {
				return lns, err
			}
		}
		ln, err := new(net.ListenConfig).Listen(ctx, a.Network(), a.String())
		if err != nil {
			return lns, err
		}
		lns = append(lns, ln)
		if a.Network() == "unix" {
			// As open as a loopback address; the directory decides.
			if err := os.Chmod(a.String(), 0o666); err != nil {
				return lns, err
			}
		}
	}
	return lns, nil
}

// unlinkStale removes a socket that nobody listens on any more.
func unlinkStale(ctx context.Context, path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is not a socket", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if c, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		c.Close()
		return fmt.Errorf("%s: another program listens there", path)
	}
	return os.Remove(path)
}

// A door is a name and how its part serves.
type door struct {
	name     string
	login    bool // people log in
	implicit bool // TLS from the start
	listen   func(*Config) Listen
	part     func(*Server) part
}

// doors are in the order in which they open.
var doors = []door{
	{IMAP, true, false, func(c *Config) Listen { return c.IMAP }, func(s *Server) part { return s.IMAP }},
	{IMAPS, true, true, func(c *Config) Listen { return c.IMAPS }, func(s *Server) part { return s.IMAP }},
	{POP3, true, false, func(c *Config) Listen { return c.POP3 }, func(s *Server) part { return s.POP3 }},
	{POP3S, true, true, func(c *Config) Listen { return c.POP3S }, func(s *Server) part { return s.POP3 }},
	{HTTP, true, false, func(c *Config) Listen { return c.HTTP }, func(s *Server) part { return s.Web }},
	{HTTPS, true, true, func(c *Config) Listen { return c.HTTPS }, func(s *Server) part { return s.Web }},
	{Submission, true, false, func(c *Config) Listen { return c.Submission }, func(s *Server) part { return s.MSA }},
	{Submissions, true, true, func(c *Config) Listen { return c.Submissions }, func(s *Server) part { return s.MSA }},
	{LMTP, false, false, func(c *Config) Listen { return c.LMTP.paths() }, func(s *Server) part { return s.LMTP }},
	{SMTP, false, false, func(c *Config) Listen { return c.SMTP }, func(s *Server) part { return s.MX }},
}

// A part serves one or two doors.
type part interface {
	Serve(net.Listener) error
	ServeTLS(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// serving is a door that is open.
type serving struct {
	door
	lns []net.Listener
}

// openAll listens for all doors, or for none.
func openAll(ctx context.Context, c *Config) (open []serving, err error) {
	defer func() {
		if err != nil {
			for _, o := range open {
				for _, ln := range o.lns {
					ln.Close()
				}
			}
		}
	}()
	for _, d := range doors {
		lns, err := d.listen(c).open(ctx)
		if err != nil {
			return open, fmt.Errorf("server: cannot open %s: %w", d.name, err)
		}
		if lns != nil {
			open = append(open, serving{d, lns})
		}
	}
	return open, nil
}
