package webtest

import (
	"net"
	"net/http"
	"sync"
)

// remote is the host to which all names lead. It counts connections, and answers with an image and a cookie.
type remote struct {
	net.Listener
	mu       sync.Mutex
	accepted int
	asked    []*http.Request
	first    []string // what connections said first, for a name in it
}

// overheard is a connection whose first bytes are kept: they name the host, in TLS too.
type overheard struct {
	net.Conn
	r    *remote
	once sync.Once
}

func (c *overheard) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.once.Do(func() {
		c.r.mu.Lock()
		defer c.r.mu.Unlock()
		c.r.first = append(c.r.first, string(p[:n]))
	})
	return n, err
}

var fake = sync.OnceValue(func() *remote {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	r := &remote{Listener: ln}
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
	w.Header().Set("Set-Cookie", "seen=1; Path=/")
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
