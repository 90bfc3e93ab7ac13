package imap

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store/blob"
)

// slowBlobs take a second for each blob, and call then with how many there were.
type slowBlobs struct {
	blob.Store
	clock *testclock.Clock
	opens atomic.Int64
	then  func(int64)
}

func (b *slowBlobs) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	b.clock.Advance(time.Second)
	b.then(b.opens.Add(1))
	return b.Store.Open(ctx, ref, off, n)
}

// slowSearch logs in to a server with messages in INBOX that take a second each to
// search, and selects it.
func slowSearch(t *testing.T, messages int, then func(*peer, int64)) (*Server, *slowBlobs, *peer) {
	clock := new(testclock.Clock)
	s := &Server{InsecureAuth: true, Clock: clock, Store: newStore(), SearchHelpers: -1}
	addr := start(t, s)
	for range messages {
		put(t, s.Store, "a1", inbox, "Subject: x\n\ntext\n")
	}
	var p *peer
	b := &slowBlobs{Store: s.Store.Blobs, clock: clock, then: func(n int64) { then(p, n) }}
	s.Store.Blobs = b
	p = dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	return s, b, p
}

func TestALongSearchTellsThatItGoesOn(t *testing.T) {
	_, _, p := slowSearch(t, 100, func(*peer, int64) {})
	got := p.ok("SEARCH BODY nothing")
	want := []string{`* OK [INPROGRESS ("t" 64 100)] Processed 64% of the messages`, "* SEARCH", "t OK SEARCH completed"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	// A short one says nothing more than before.
	if got := p.ok("SEARCH 1:9 BODY text"); len(got) != 2 || !strings.HasPrefix(got[0], "* SEARCH 1 2 3") {
		t.Errorf("got %q", got)
	}
}

func TestASearchEndsWhenItsClientHasGone(t *testing.T) {
	const messages = 1000
	s, b, p := slowSearch(t, messages, func(p *peer, n int64) {
		if n == 1 {
			p.Conn.(*net.TCPConn).SetLinger(0)
			p.Close()
		}
	})
	p.send("a SEARCH BODY nothing")
	for b.opens.Load() == 0 {
		p.SetReadDeadline(time.Now().Add(time.Minute))
		p.br.ReadString('\n') // waits for Close
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.opens.Load(); n == 0 || n > messages/2 {
		t.Errorf("%d messages were searched for nobody", n)
	}
}
