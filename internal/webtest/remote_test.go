package webtest

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/internal/certs"
)

// remote is the host to which all names lead. It counts connections, and answers with an image and a cookie.
type remote struct {
	net.Listener
	tls *tls.Config

	mu       sync.Mutex
	accepted int
	asked    []*http.Request
	first    []string // what connections said first, for a name in it
}

// selfSigned is a certificate, which the browser of these tests takes, and its key.
func selfSigned() (cert, key []byte) {
	text, err := certs.Make([]string{"remote.example"}, time.Now(), 24*time.Hour)
	if err != nil {
		panic(err)
	}
	return text, text
}

// overheard is a connection whose first bytes are kept: they name the host, in TLS too. It speaks TLS with
// who does.
type overheard struct {
	net.Conn
	r     *remote
	once  sync.Once
	begun []byte   // of what the TLS server is to read again
	in    net.Conn // what speaks TLS, or Conn
}

// again reads what was read, and then on.
type again struct {
	net.Conn
	c *overheard
}

func (a again) Read(p []byte) (int, error) {
	if n := copy(p, a.c.begun); n > 0 {
		a.c.begun = a.c.begun[n:]
		return n, nil
	}
	return a.Conn.Read(p)
}

func (c *overheard) Read(p []byte) (int, error) {
	c.once.Do(func() {
		first := make([]byte, 2048)
		n, _ := c.Conn.Read(first)
		c.begun = first[:n]
		c.r.mu.Lock()
		c.r.first = append(c.r.first, string(first[:n]))
		c.r.mu.Unlock()
		c.in = again{c.Conn, c}
		if n > 0 && first[0] == 0x16 { // a handshake
			c.in = tls.Server(c.in, c.r.tls)
		}
	})
	return c.in.Read(p)
}

func (c *overheard) Write(p []byte) (int, error) { return c.in.Write(p) }

var fake = sync.OnceValue(func() *remote {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	cert, err := tls.X509KeyPair(selfSigned())
	if err != nil {
		panic(err)
	}
	r := &remote{Listener: ln, tls: &tls.Config{Certificates: []tls.Certificate{cert}}}
	go http.Serve(r, r)
	return r
})

func remotePort() string {
	_, port, _ := net.SplitHostPort(fake().Addr().String())
	return port
}

func (r *remote) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err == nil {
		r.mu.Lock()
		r.accepted++
		r.mu.Unlock()
		c = &overheard{Conn: c, r: r}
	}
	return c, err
}

// pixel is a GIF of one pixel.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

func (r *remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.asked = append(r.asked, req)
	r.mu.Unlock()
	w.Header().Add("Set-Cookie", "seen=1; Path=/")
	w.Header().Add("Set-Cookie", "tracked=1; Path=/; SameSite=None; Secure") // the only kind that goes out from a page of somebody else
	w.Header().Set("Content-Type", "image/gif")
	w.Header().Set("Connection", "close")
	w.Write([]byte(pixel))
}

// take returns what came since it was asked.
func (r *remote) take() (accepted int, asked []*http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	accepted, asked = r.accepted, r.asked
	r.accepted, r.asked = 0, nil
	return accepted, asked
}
