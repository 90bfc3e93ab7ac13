package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/certs"
	"github.com/mailkeel/mailkeel/server"
)

// web serves a handler at a Web on a free port of loopback.
func web(t *testing.T, w *server.Web, implicit bool) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		if implicit {
			done <- w.ServeTLS(ln)
		} else {
			done <- w.Serve(ln)
		}
	}()
	t.Cleanup(func() {
		w.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr()
}

var says = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr, " ", r.Proto) })

// askOn sends one request over a connection and returns the body.
func askOn(t *testing.T, c net.Conn) (string, error) {
	t.Helper()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x.test\r\n\r\n"); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func dialWeb(t *testing.T, a net.Addr, first string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, first)
	return c
}

// TestWebProxies: who connects is told by proxies that are named, and by nobody else; and
// connections are counted by it.
func TestWebProxies(t *testing.T) {
	w := &server.Web{Handler: says, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, MaxPerIP: 2}
	at := web(t, w, false)
	from := func(ip string) net.Conn { return dialWeb(t, at, "PROXY TCP4 "+ip+" 127.0.0.1 4000 80\r\n") }
	held := []net.Conn{from("192.0.2.1"), from("192.0.2.1")}
	for _, c := range held {
		if got, err := askOn(t, c); err != nil || got != "192.0.2.1:4000 HTTP/1.1" {
			t.Errorf("%q %v", got, err)
		}
	}
	if got, err := askOn(t, from("192.0.2.1")); err == nil {
		t.Errorf("a third connection of one address: %q", got)
	}
	if got, err := askOn(t, from("192.0.2.2")); err != nil || got != "192.0.2.2:4000 HTTP/1.1" {
		t.Errorf("another address: %q %v", got, err)
	}
	if got, err := askOn(t, dialWeb(t, at, "")); err == nil {
		t.Errorf("a proxy that does not say: %q", got)
	}
	// One that ends makes room; the server learns of it in its own time.
	held[0].Close()
	for range 1000 {
		if _, err := askOn(t, from("192.0.2.1")); err == nil {
			return
		}
	}
	t.Error("no room after one has ended")
}

// TestWebForeignProxy: a header of who is no proxy is none.
func TestWebForeignProxy(t *testing.T) {
	w := &server.Web{Handler: says, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	at := web(t, w, false)
	if got, err := askOn(t, dialWeb(t, at, "PROXY TCP4 192.0.2.1 127.0.0.1 4000 80\r\n")); err == nil && strings.HasPrefix(got, "192.0.2.1") {
		t.Errorf("believed: %q", got)
	}
}

// TestWebMaxConns: there are no more than so many.
func TestWebMaxConns(t *testing.T) {
	w := &server.Web{Handler: says, MaxConns: 2}
	at := web(t, w, false)
	for range 2 {
		if _, err := askOn(t, dialWeb(t, at, "")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := askOn(t, dialWeb(t, at, "")); err == nil {
		t.Errorf("a third connection: %q", got)
	}
}

// TestWebTLS: browsers get HTTP/2, and are not asked for a certificate.
func TestWebTLS(t *testing.T) {
	own := &certs.SelfSigned{Names: []string{"127.0.0.1"}}
	if err := own.Load(); err != nil {
		t.Fatal(err)
	}
	w := &server.Web{Handler: says, TLS: &tls.Config{GetCertificate: own.GetCertificate, ClientAuth: tls.RequireAnyClientCert}}
	at := web(t, w, true)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get("https://" + at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || !strings.HasSuffix(string(b), "HTTP/2.0") {
		t.Errorf("%q %v", b, err)
	}
}

// TestWebShutdown: a request that is worked on comes to its end.
func TestWebShutdown(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	c := config()
	c.HTTP = at("127.0.0.1:0")
	c.Web = func(p server.WebParts) (http.Handler, error) {
		if p.Store == nil || p.Directory == nil || p.Auth == nil || p.Submit == nil || p.KV == nil || p.Hostname != "mx.x.test" {
			t.Errorf("parts are missing: %+v", p)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-leave
			io.WriteString(w, "whole")
		}), nil
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	conn := dialWeb(t, s.Addr(server.HTTP), "")
	got := make(chan string, 1)
	go func() {
		b, err := askOn(t, conn)
		got <- fmt.Sprint(b, err)
	}()
	<-entered
	stop()
	close(leave)
	if g := <-got; g != "whole<nil>" {
		t.Errorf("%q", g)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWebInStore: connections that ask for nothing do not hold up the end for the 5 s of
// net/http: once in three times at least, for the machine may be slow.
func TestWebInStore(t *testing.T) {
	for try := 0; ; try++ {
		w := &server.Web{Handler: says}
		at := web(t, w, false)
		idle := dialWeb(t, at, "")
		if _, err := askOn(t, dialWeb(t, at, "")); err != nil { // so idle was accepted
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		err := w.Shutdown(ctx)
		cancel()
		idle.SetDeadline(time.Now().Add(30 * time.Second))
		if n, err := idle.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes on a connection that asked nothing", n)
		}
		if err == nil {
			return
		}
		if try == 2 {
			t.Fatal(err)
		}
	}
}

// TestWebConfig: pages need somebody who makes them.
func TestWebConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*server.Config)
		want string
	}{
		"HTTP without Web":  {func(c *server.Config) { c.HTTP = at(":80") }, "http needs Config.Web"},
		"HTTPS without TLS": {func(c *server.Config) { c.HTTPS = at(":443") }, "https needs Config.TLS"},
		"a Web that fails": {func(c *server.Config) {
			c.Web = func(server.WebParts) (http.Handler, error) { return nil, errors.New("no logo") }
		}, "no logo"},
	} {
		c := config()
		tt.edit(&c)
		if _, err := server.New(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
