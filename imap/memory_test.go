package imap

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// heap returns the bytes that are alive.
func heap() (bytes int64) {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// memory returns the bytes that are alive, and those of stacks.
func memory() (alive, stacks int64) {
	for range 4 { // each halves stacks of which little is used
		runtime.GC()
	}
	alive = heap()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return alive, int64(m.StackInuse)
}

// T14: 1,000 hostile clients that are not logged in cost at most 16 MB together, stacks
// and all, whatever they hold back and do not read. Over a pipe a write returns when
// the server has taken it.
func TestT14_HostileClientsBeforeLoginAreCheap(t *testing.T) {
	attacks := [][]string{ // each part but the first waits for an answer
		{strings.Repeat("a", 8000)},
		{"a LOGIN " + strings.Repeat("a", 8100)},
		{"a LOGIN {4096}\r\n", strings.Repeat("x", 4095)},
		{"a LOGIN {4096}\r\n", strings.Repeat("x", 4096) + " {1900}\r\n", strings.Repeat("y", 1899)},
		{"a LOGIN {4096}\r\n", strings.Repeat("x", 4096) + " {3900}\r\n", strings.Repeat("y", 3899)},
		{"a ID (" + strings.Repeat(`"a" "b" `, 20) + "\"" + strings.Repeat("c", 7000)},
		{"a AUTHENTICATE PLAIN\r\n", strings.Repeat("A", 5000)},
		{"a LOGIN " + strings.Repeat("a", 300_000)},
		{"a LOGIN {2147483648}\r\n", "b LOGIN {-1}\r\n", "c LOGIN {9223372036854775808}\r\n", "d LOGIN {}\r\n", "e LOGIN {4097}\r\n"},
		{"a NOOP\r\n"}, // and does not read the answer
		{"a AUTHENTICATE LOGIN\r\n", "YQ==\r\n", strings.Repeat("A", 5000)},
		{"a AUTHENTICATE XOAUTH2\r\n", strings.Repeat("A", 8190)},
		{"a AUTHENTICATE XOAUTH2 " + strings.Repeat("A", 8100)},
		{"a AUTHENTICATE XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=a@x.org\x01auth=Bearer "+strings.Repeat("t", 4000)+"\x01\x01")) + "\r\n", strings.Repeat("A", 8190)},
		{"a AUTHENTICATE SCRAM-SHA-256 " + base64.StdEncoding.EncodeToString([]byte("n,,n=ann,r="+strings.Repeat("r", 1900))) + "\r\n", strings.Repeat("A", 8190)},
		{"a LOGIN \"" + strings.Repeat("\\\"", 4000)},
		{"a LOGIN {2000+}\r\n" + strings.Repeat("x", 2000) + " {2000+}\r\n" + strings.Repeat("x", 1999)},
		{"a UNKNOWN " + strings.Repeat("(", 8000)},
	}
	const n = 1000
	bar := int64(16 << 20)
	if raceEnabled {
		bar += bar / 2
	}
	alive, stacks := besiege(n, attacks...)
	t.Logf("%d clients cost %d KB, %d bytes each, of which %d are stacks", n, (alive+stacks)>>10, (alive+stacks)/n, stacks/n)
	if alive+stacks > bar {
		t.Errorf("%d clients cost %d bytes", n, alive+stacks)
	}
	for _, attack := range attacks { // stacks, which the runtime keeps for a while, would blur it
		if alive, _ := besiege(n/10, attack); alive > bar/10 {
			t.Errorf("%.40q: %d clients cost %d bytes", attack, n/10, alive)
		}
	}
}

// besiege serves clients that attack, one like the next, and returns what they cost.
func besiege(n int, attacks ...[]string) (alive, stacks int64) {
	s := &Server{Hostname: "h", Auth: grants(), Store: newStore(), InsecureAuth: true, MaxConns: 2 * n}
	ln := newPipes()
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	peers, ends := make([]*peer, n), make([]net.Conn, n)
	for i := range n {
		a, b := net.Pipe()
		peers[i], ends[i] = &peer{Conn: a}, b
	}
	smallStacks()
	before, used := memory()
	var wg sync.WaitGroup
	for i, p := range peers {
		ln.ch <- ends[i]
		wg.Go(func() {
			b := make([]byte, 1)
			line := func() {
				for b[0] = 0; b[0] != '\n'; {
					if _, err := p.Read(b); err != nil {
						return
					}
				}
			}
			line() // greeting
			for j, part := range attacks[i%len(attacks)] {
				if j > 0 {
					line()
				}
				io.WriteString(p, part)
			}
		})
	}
	wg.Wait()
	alive, stacks = memory()
	runtime.KeepAlive(peers)
	runtime.KeepAlive(ends)
	s.Close()
	<-done
	return alive - before, stacks - used
}

// smallStacks has the runtime begin stacks small: it makes new ones as large as those
// that it found, on average, and tests that came before have left few and large ones.
func smallStacks() {
	const n = 10_000
	var up, down sync.WaitGroup
	end := make(chan struct{})
	up.Add(n)
	for range n {
		down.Go(func() { up.Done(); <-end })
	}
	up.Wait()
	runtime.GC()
	runtime.GC()
	close(end)
	down.Wait()
}

// What an idle session costs is logged; the bound is generous.
func TestIdleSessionsAreCheap(t *testing.T) {
	const n = 500
	s := &Server{Hostname: "h", Auth: anyone{}, Store: newStore(), InsecureAuth: true, MaxPerAccount: 2 * n}
	ln := newPipes()
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	for i := range 1000 {
		put(t, s.Store, "a1", inbox, fmt.Sprintf("%d\n", i))
	}
	before := heap()
	peers := make([]*peer, n)
	var wg sync.WaitGroup
	for i := range n {
		p := ln.bare()
		p.t = t
		peers[i] = p
		wg.Go(func() {
			p.br = bufio.NewReader(p.Conn)
			p.line()
			p.ok("LOGIN ann secret")
			p.ok("SELECT INBOX")
			p.send("i IDLE")
			p.line()
			p.br = nil
		})
	}
	wg.Wait()
	cost := heap() - before
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d sessions in IDLE cost %d bytes of heap each; all stacks are %d KB", n, cost/n, m.StackInuse>>10)
	if cost > n*20<<10 {
		t.Errorf("%d sessions cost %d bytes", n, cost)
	}
	// A delivered message reaches all of them.
	begin := time.Now()
	put(t, s.Store, "a1", inbox, "new\n")
	for _, p := range peers {
		wg.Go(func() {
			p.br = bufio.NewReader(p.Conn)
			if l := p.line(); l != "* 1001 EXISTS" {
				t.Error(l)
			}
		})
	}
	wg.Wait()
	t.Log("told after", time.Since(begin))
	s.Close()
	<-done
}
