package pop3

import (
	"context"
	"io"
	"iter"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
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

// serve runs a server over pipes.
func serve(t *testing.T, s *Server) *pipes {
	s.Hostname, s.Auth, s.InsecureAuth = "h", anyone{}, true
	ln := newPipes()
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return ln
}

// answer reads a line byte by byte.
func (p *peer) answer() {
	b := make([]byte, 1)
	for b[0] != '\n' {
		if _, err := p.Read(b); err != nil {
			return
		}
	}
}

// 1,000 hostile clients that are not logged in cost at most 16 MB together, whatever
// they hold back. Over a pipe a write returns when the server has taken it.
func TestHostileClientsBeforeLoginAreCheap(t *testing.T) {
	const n, bar = 1000, 16 << 20
	attacks := [][]string{ // each part but the first waits for an answer
		{strings.Repeat("a", 60_000)},
		{"USER " + strings.Repeat("a", 200)},
		{"USER " + strings.Repeat("a", 240) + "\r\n", "PASS " + strings.Repeat("a", 240)},
		{"AUTH PLAIN " + strings.Repeat("A", 50_000)},
		{"AUTH PLAIN\r\n", strings.Repeat("A", 12_000)},
		{"AUTH LOGIN\r\n", strings.Repeat("AAAA", 1365) + "\r\n", strings.Repeat("A", 12_000)},
	}
	s := &Server{Store: newStore(), MaxConns: 2 * n}
	ln := serve(t, s)
	before := heap()
	peers := make([]*peer, n)
	var wg sync.WaitGroup
	for i := range n {
		p := ln.bare()
		peers[i] = p
		wg.Go(func() {
			p.answer() // greeting
			for j, part := range attacks[i%len(attacks)] {
				if j > 0 {
					p.answer()
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
}

// crowded is a Backend with more messages than anyone wants to file in a test.
type crowded struct {
	store.Backend
	n    int
	size int64
}

type crowdedTx struct {
	store.Tx
	*crowded
}

func (c *crowded) View(ctx context.Context, fn func(store.Tx) error) error {
	return c.Backend.View(ctx, func(tx store.Tx) error { return fn(crowdedTx{tx, c}) })
}

func (c crowdedTx) MailboxByName(id store.AccountID, name string) (store.Mailbox, error) {
	mb, err := c.Tx.MailboxByName(id, name)
	mb.Messages = c.n
	return mb, err
}

func (c crowdedTx) Mailbox(id store.MailboxID) (store.Mailbox, error) {
	mb, err := c.Tx.Mailbox(id)
	mb.Messages = c.n
	return mb, err
}

func (c crowdedTx) Messages(id store.MailboxID, q store.Query) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		for i := range c.n {
			if !yield(store.Message{ID: store.MessageID(i + 1), UID: store.UID(i + 1), Account: "a1", Mailbox: id, Size: c.size + int64(i%2)}, nil) {
				return
			}
		}
	}
}

// A maildrop of 100,000 messages costs 8 bytes for each, also where sizes are odd.
func TestLargeMaildropsAreCheap(t *testing.T) {
	const n, sessions, each = 100_000, 10, 8*100_000 + 64<<10
	s := &Server{Store: &store.Store{Backend: &crowded{Backend: new(memstore.Backend), n: n, size: 3000}, Blobs: new(memblob.Store)}}
	ln := serve(t, s)
	if size := unsafe.Sizeof(row{}); size != 8 {
		t.Errorf("a row has %d bytes", size)
	}
	before := heap()
	var peers []*peer
	for range sessions {
		p := ln.bare()
		peers = append(peers, p)
		p.answer()
		io.WriteString(p, "USER ann\r\n")
		p.answer()
		io.WriteString(p, "PASS secret\r\n")
		p.answer()
	}
	cost := heap() - before
	t.Logf("%d sessions with %d messages cost %d bytes each", sessions, n, cost/sessions)
	if cost > sessions*each {
		t.Errorf("%d sessions cost %d bytes", sessions, cost)
	}
	runtime.KeepAlive(peers)
	p := ln.dial(t)
	if l := p.line(); l != "+OK h ready" {
		t.Error(l)
	}
	p.ok("USER ann")
	if l := p.do("PASS secret"); !strings.HasPrefix(l, "-ERR [IN-USE]") { // the eleventh
		t.Error(l)
	}
	peers[0].Close()
	for p.do("USER ann"); !strings.HasPrefix(p.do("PASS secret"), "+OK"); p.do("USER ann") {
		runtime.Gosched() // it takes a moment until the server knows
		p = ln.dial(t)
		p.line()
	}
	p.ok("UIDL")
	if l := p.lines(); len(l) != n {
		t.Errorf("%d lines", len(l))
	}
	p.ok("LIST")
	if l := p.lines(); len(l) != n || l[1] != "2 3001" {
		t.Errorf("%d lines, %q", len(l), l[1])
	}
	if l := p.ok("STAT"); l != "+OK 100000 300050000" {
		t.Error(l)
	}
}

// Sizes that do not fit into a row are exact too.
func TestHugeMessages(t *testing.T) {
	const size = math.MaxUint32 - 1
	st := &store.Store{Backend: &crowded{Backend: new(memstore.Backend), n: 3, size: size}}
	d, err := openMaildrop(t.Context(), st.As("a1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if got := d.size(i); got != size+int64(i%2) {
			t.Errorf("message %d has %d octets", i, got)
		}
	}
	d.remove(1)
	if d.left != 2 || d.octets != 2*size {
		t.Errorf("%d messages, %d octets", d.left, d.octets)
	}
	d.reset()
	if d.left != 3 || d.octets != 3*size+1 {
		t.Errorf("%d messages, %d octets", d.left, d.octets)
	}
}
