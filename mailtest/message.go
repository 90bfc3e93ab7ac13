package mailtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
)

// A Message is one that was filed for an account, or that left for elsewhere.
type Message struct {
	// Account is the address of the account, and Mailbox the folder there;
	// both are empty for one that left.
	Account, Mailbox string
	// Envelope is set for one that left.
	Envelope *mailkeel.Envelope
	// Raw is all of it, with the fields that the server put in front.
	Raw []byte
}

// Header returns a field of the header as it is written, unfolded, or "".
func (m *Message) Header(name string) string {
	p, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		return ""
	}
	return p.Header.Get(name)
}

// Body returns what follows the header.
func (m *Message) Body() string {
	p, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		return ""
	}
	b, _ := io.ReadAll(p.Body)
	return string(b)
}

// String describes it on one line.
func (m *Message) String() string {
	where := m.Account + " " + m.Mailbox
	if m.Envelope != nil {
		var to []string
		for _, r := range m.Envelope.Rcpts {
			to = append(to, r.Addr)
		}
		where = "left for " + strings.Join(to, ", ")
	}
	return fmt.Sprintf("%s: from %q, subject %q, %d bytes", where, m.Header("From"), m.Header("Subject"), len(m.Raw))
}

// Wait returns when n messages have been filed in mailboxes of any account, since
// the start, and returns those in the order in which they came. If ctx ends before
// that, or the test does, the test fails with a list of what did arrive. Call it
// from the test's goroutine.
func (s *Server) Wait(ctx context.Context, n int) []*Message {
	s.tb.Helper()
	return s.wait(ctx, n, "filed", &s.filed)
}

// Left is Wait for messages to elsewhere: what a production server would have
// brought to other servers. They count by transaction, not by recipient.
func (s *Server) Left(ctx context.Context, n int) []*Message {
	s.tb.Helper()
	return s.wait(ctx, n, "sent away", &s.left)
}

func (s *Server) wait(ctx context.Context, n int, what string, list *[]*Message) []*Message {
	s.tb.Helper()
	for {
		s.mu.Lock()
		got, changed := *list, s.changed
		s.mu.Unlock()
		if len(got) >= n {
			return got[:n:n]
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.fail(ctx.Err(), n, what)
		case <-s.ctx.Done():
			s.fail(s.ctx.Err(), n, what)
		}
	}
}

func (s *Server) fail(err error, n int, what string) {
	s.tb.Helper()
	var b strings.Builder
	s.mu.Lock()
	for _, m := range append(s.filed[:len(s.filed):len(s.filed)], s.left...) {
		fmt.Fprintf(&b, "\n\t%v", m)
	}
	s.mu.Unlock()
	if b.Len() == 0 {
		b.WriteString(" nothing")
	}
	s.tb.Fatalf("mailtest: %v before %d messages were %s; there are:%s", err, n, what, b.String())
}

// add notes a message and wakes those who wait.
func (s *Server) add(list *[]*Message, m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, m)
	close(s.changed)
	s.changed = make(chan struct{})
}

// watch notes what is filed for an account, until the test ends.
func (s *Server) watch(acc accounts.Account) {
	seen := map[store.MessageID]bool{}
	for c, err := range s.Store.Follow(s.ctx, acc.ID, 0) {
		if err != nil {
			s.tb.Errorf("mailtest: cannot follow %s: %v", acc.Address, err)
			return
		}
		for _, row := range c.Messages {
			if row.Expunged || seen[row.ID] {
				continue
			}
			seen[row.ID] = true
			m, err := s.read(acc, row)
			if errors.Is(err, store.ErrNotFound) {
				continue // deleted since
			} else if err != nil {
				if s.ctx.Err() == nil {
					s.tb.Errorf("mailtest: cannot read what was filed for %s: %v", acc.Address, err)
				}
				return
			}
			s.add(&s.filed, m)
		}
	}
}

func (s *Server) read(acc accounts.Account, row store.Message) (*Message, error) {
	m := &Message{Account: acc.Address}
	mb, _, err := s.Store.As(acc.ID).Select(s.ctx, row.Mailbox)
	if err != nil {
		return nil, err
	}
	m.Mailbox = mb.Name
	rc, err := s.Store.Open(s.ctx, row)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	m.Raw, err = io.ReadAll(rc)
	return m, err
}

// transport takes what is for elsewhere.
type transport struct{ s *Server }

func (t transport) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	rc, err := c.Open(ctx)
	if err != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
	}
	t.s.add(&t.s.left, &Message{Envelope: env.Only(env.Rcpts...), Raw: raw})
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Action: mailkeel.Relayed, Hop: "mailtest", Reply: "250 noted"})
}
