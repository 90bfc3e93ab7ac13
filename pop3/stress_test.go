package pop3

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/store"
)

// While mail arrives, several clients fetch and delete all there is, into one
// maildrop that nobody locks. Nothing may be lost: what was delivered was fetched by
// one of them at least, and a unique-id names one message for ever.
func TestFetchersLoseNothing(t *testing.T) {
	const writers, fetchers, each = 2, 3, 60
	s := &Server{InsecureAuth: true, Store: newStore(), Auth: anyone{}}
	addr := start(t, s)
	var mu sync.Mutex
	byID := map[string]string{}
	fetched := map[string]bool{}
	var writing, fetching sync.WaitGroup
	written := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				put(t, s.Store, "a1", "INBOX", fmt.Sprintf("Subject: %d-%d\r\n\r\n.\r\n%s", w, i, strings.Repeat("..x\r\n", i)))
			}
		})
	}
	// session fetches and deletes all, and returns how many there were.
	session := func() int {
		p := dial(t, addr)
		defer p.Close()
		p.login("ann")
		p.ok("UIDL")
		ids := p.lines()
		for _, l := range ids {
			n, id, _ := strings.Cut(l, " ")
			size := strings.Fields(p.do("LIST %s", n))[2]
			if l := p.do("RETR %s", n); l == "-ERR No such message" {
				continue // another was faster
			} else if l != "+OK "+size+" octets" {
				t.Errorf("RETR %s: %q", n, l)
				return 0
			}
			text := strings.Join(p.lines(), "\r\n") + "\r\n"
			if fmt.Sprint(len(text)) != size {
				t.Errorf("%d bytes, not %s", len(text), size)
			}
			subject, _, _ := strings.Cut(text, "\r\n")
			mu.Lock()
			if was := byID[id]; was != "" && was != text {
				t.Errorf("%s is %q, and was %q", id, text, was)
			}
			byID[id], fetched[subject] = text, true
			mu.Unlock()
			p.ok("DELE %s", n)
		}
		p.ok("QUIT")
		return len(ids)
	}
	for range fetchers {
		fetching.Go(func() {
			for over := false; ; {
				n := session()
				if over && n == 0 {
					return
				}
				select {
				case <-written:
					over = true
				default:
				}
				if t.Failed() {
					return
				}
			}
		})
	}
	writing.Wait()
	close(written)
	fetching.Wait()
	if len(fetched) != writers*each {
		t.Errorf("%d messages were fetched, want %d", len(fetched), writers*each)
	}
	if f, err := s.Store.As("a1").Folder(t.Context(), "INBOX"); err != nil || f.Messages != 0 {
		t.Errorf("%d messages are left, %v", f.Messages, err)
	}
}

// What a recipient's copy has in front of the shared content is part of it, and of
// its octets.
func TestPrefixCounts(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	w, err := s.Store.Blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const prefix, text = "Return-Path: <>\r\nDelivered-To: ann@example.org\r\n", "Subject: x\r\n\r\n.hello\r\n"
	if _, err := bytes.NewBufferString(text).WriteTo(w); err != nil {
		t.Fatal(err)
	}
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	cold, err := s.Store.Parse(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Store.Deliver(t.Context(), store.Delivery{Blob: info, Cold: cold, Targets: []store.Target{{Account: "a1", Prefix: []byte(prefix)}}})
	if err != nil || out[0].Err != nil {
		t.Fatal(err, out)
	}
	p := dial(t, start(t, s))
	p.login("ann")
	if l := p.ok("RETR 1"); l != fmt.Sprintf("+OK %d octets", len(prefix+text)) {
		t.Error(l)
	}
	if got := strings.Join(p.lines(), "\r\n") + "\r\n"; got != prefix+text {
		t.Errorf("%q", got)
	}
	p.ok("TOP 1 0")
	if got := strings.Join(p.lines(), "\r\n"); got != prefix+"Subject: x\r\n" {
		t.Errorf("%q", got)
	}
}
