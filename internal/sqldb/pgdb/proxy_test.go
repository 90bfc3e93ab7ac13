package pgdb_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testpg"
)

// A proxy stands between a client and the server, and breaks connections.
type proxy struct {
	// cut makes it close the connection on which the client speaks next: with 1
	// before the server hears it, with 2 after.
	cut  atomic.Int32
	conn string
}

func startProxy(t *testing.T, c *testpg.Cluster, schema string) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	p := &proxy{conn: fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable search_path=%s", addr.Port, schema)}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { p.serve(client, filepath.Join(c.Dir, ".s.PGSQL.5432")) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	return p
}

func (p *proxy) serve(client net.Conn, socket string) {
	defer client.Close()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	var broken atomic.Bool
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || broken.Load() {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		cut := p.cut.Swap(0)
		if cut == 1 {
			break
		}
		if cut == 2 {
			broken.Store(true)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
		if cut == 2 {
			// The server answers; nobody hears it. Its socket is closed when
			// it has read all.
			server.(*net.UnixConn).CloseWrite()
			_, _ = io.Copy(io.Discard, server)
			break
		}
	}
	server.Close()
	client.Close()
	<-back
}
