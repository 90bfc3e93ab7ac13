package imap

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// viewCounter counts how often a backend is read.
type viewCounter struct {
	store.Backend
	n atomic.Int64
}

func (v *viewCounter) View(ctx context.Context, fn func(store.Tx) error) error {
	v.n.Add(1)
	return v.Backend.View(ctx, fn)
}

// One goroutine reads for all sessions of an account, for NOTIFY and for IDLE.
func TestNewsAreReadOnce(t *testing.T) {
	const sessions = 40
	b := &viewCounter{Backend: new(memstore.Backend)}
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: b, Blobs: new(memblob.Store)}}
	addr := start(t, s)
	peers := make([]*peer, sessions)
	for i := range peers {
		p := dial(t, addr)
		p.ok("LOGIN ann secret")
		if i == 0 {
			p.ok("CREATE other")
		}
		if i%2 == 0 {
			p.ok("SELECT INBOX")
		}
		p.ok("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))")
		if i%4 == 0 {
			p.send("i IDLE")
			p.line()
		}
		peers[i] = p
	}
	before := b.n.Load()
	put(t, s.Store, "a1", "other", "1\n")
	for _, p := range peers {
		if l := p.line(); !strings.HasPrefix(l, `* STATUS "other" (MESSAGES 1 `) {
			t.Error(l)
		}
	}
	put(t, s.Store, "a1", inbox, "1\n")
	for i, p := range peers {
		want := `* STATUS "INBOX" (MESSAGES 1 `
		if i%2 == 0 {
			want = "* 1 EXISTS"
		}
		if l := p.line(); !strings.HasPrefix(l, want) {
			t.Error(i, l)
		}
	}
	// Two by each put, two by the feed and one by the view for each hint.
	if n := b.n.Load() - before; n > 20 {
		t.Errorf("%d sessions were told with %d reads", sessions, n)
	}
}

// When too much changes at once the client is told so, and is not told more.
func TestNotifyOverflows(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
	addr := start(t, s)
	a := s.Store.As("a1")
	if _, err := a.Folder(t.Context(), inbox); err != nil {
		t.Fatal(err)
	}
	top, err := a.Create(t.Context(), "top", "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxNotices {
		if _, err := a.Create(t.Context(), fmt.Sprint("top/", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	p := dial(t, addr)
	p.ok("LOGIN ann secret")
	p.ok("NOTIFY SET (personal (MailboxName))")
	if err := a.Rename(t.Context(), top.ID, "roof"); err != nil {
		t.Fatal(err)
	}
	if l := p.line(); !strings.HasPrefix(l, "* OK [NOTIFICATIONOVERFLOW] ") {
		t.Error(l)
	}
	if lines := p.ok("CREATE more"); len(lines) != 1 {
		t.Error(lines)
	}
	if n := len(s.state.feeds.open); n != 0 {
		t.Error(n, "feeds are open")
	}
	p.ok("NOTIFY SET (personal (MailboxName))")
	if lines := p.ok("CREATE evenmore"); len(lines) != 2 {
		t.Error(lines)
	}
}

// What another process does is told too.
func TestNotifySeesOtherProcesses(t *testing.T) {
	one := newStore()
	other := &store.Store{Backend: one.Backend, Blobs: one.Blobs}
	p := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}, Store: one}))
	q := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}, Store: other}))
	p.ok("LOGIN ann secret")
	q.ok("LOGIN ann secret")
	p.ok("NOTIFY SET (personal (MailboxName MessageNew MessageExpunge))")
	for i := range 5 {
		q.ok("CREATE box%d", i)
		if l := p.line(); l != fmt.Sprintf(`* LIST (\Subscribed) "/" "box%d"`, i) {
			t.Error(l)
		}
	}
}

// All that NOTIFY holds is given back when the session ends, in whatever state.
func TestNotifyEndsWithTheSession(t *testing.T) {
	for _, last := range []string{"LOGOUT", "UNAUTHENTICATE", "NOTIFY NONE", "UNSELECT", ""} {
		s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore(), Hostname: "h"}
		ln := newPipes()
		done := make(chan error)
		go func() { done <- s.Serve(ln) }()
		p := ln.dial(t)
		p.line()
		p.ok("LOGIN ann secret")
		p.ok("SELECT INBOX")
		p.ok("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MailboxName))")
		p.ok("NOOP")
		if last != "" {
			p.do(last)
		}
		p.Close()
		s.Close()
		<-done
		if n := len(s.state.feeds.open); n != 0 {
			t.Errorf("after %q: %d feeds", last, n)
		}
		for _, v := range s.state.views.open {
			if len(v.idle) != 0 || v.quit != nil || v.refs != 0 {
				t.Errorf("after %q a view is followed", last)
			}
		}
	}
}
