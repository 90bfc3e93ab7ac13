package guard_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/mailkeel/mailkeel/internal/guard"
)

func TestWakeInterruptsOneReadAndTheConnectionGoesOn(t *testing.T) {
	for name, withTLS := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			var cfg *tls.Config
			if withTLS {
				cfg = &tls.Config{Certificates: []tls.Certificate{testCert()}}
			}
			g := new(guard.Guard)
			woken := make(chan bool)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go g.Serve(ln, cfg, func(c *guard.Conn) {
				var nc net.Conn = c
				if c.TLS() != nil {
					nc = c.TLS()
				}
				go c.Wake()
				b := make([]byte, 10)
				for range 2 { // once while it waits or before, once before
					n, err := nc.Read(b)
					var ne net.Error
					woken <- n == 0 && errors.As(err, &ne) && ne.Timeout()
					c.Wake()
				}
				nc.Read(b) // the last Wake
				n, err := nc.Read(b)
				if err == nil {
					nc.Write(b[:n])
				}
			})
			defer g.Close()
			var c net.Conn
			if withTLS {
				c, err = tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			} else {
				c, err = net.Dial("tcp", ln.Addr().String())
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 2 {
				if !<-woken {
					t.Fatal("Read did not say that it was woken")
				}
			}
			io.WriteString(c, "hello")
			b := make([]byte, 5)
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
				t.Fatalf("%q, %v", b, err)
			}
		})
	}
}
