package imap

import (
	"bufio"
	"fmt"
	"io"
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

// T14: 1,000 hostile clients that are not logged in cost at most 16 MB together,
// whatever they hold back. Over a pipe a write returns when the server has taken it.
func TestHostileClientsBeforeLoginAreCheap(t *testing.T) {
	const n, bar = 1000, 16 << 20
	attacks := [][]string{ // each part but the first waits for an answer
		{strings.Repeat("a", 8000)},
		{"a LOGIN " + strings.Repeat("a", 8100)},
		{"a LOGIN {4096}\r\n", strings.Repeat("x", 4095)},
		{"a LOGIN {4096}\r\n", strings.Repeat("x", 4096) + " {3900}\r\n", strings.Repeat("y", 3899)},
		{"a ID (" + strings.Repeat(`"a" "b" `, 20) + "\"" + strings.Repeat("c", 7000)},
		{"a AUTHENTICATE PLAIN\r\n", strings.Repeat("A", 5000)},
		{"a LOGIN " + strings.Repeat("a", 300_000)},
		{"a LOGIN {2147483648}\r\n", "b LOGIN {-1}\r\n", "c LOGIN {9223372036854775808}\r\n", "d LOGIN {}\r\n", "e LOGIN {4097}\r\n"},
		{"a NOOP\r\n"},
		{"a AUTHENTICATE LOGIN\r\n", "YQ==\r\n", strings.Repeat("A", 5000)},
	}
	s := &Server{Hostname: "h", Auth: anyone{}, Store: newStore(), InsecureAuth: true, MaxConns: 2 * n}
	ln := newPipes()
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	before := heap()
	peers := make([]*peer, n)
	var wg sync.WaitGroup
	for i := range n {
		p := ln.bare()
		peers[i] = p
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
	cost := heap() - before
	t.Logf("%d clients cost %d KB, %d bytes each", n, cost>>10, cost/n)
	if cost > bar {
		t.Errorf("%d clients cost %d bytes", n, cost)
	}
	runtime.KeepAlive(peers)
	s.Close()
	<-done
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
