package mailtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
)

// A Message is one that was filed for an account, or that left for elsewhere.
type Message struct {
	// Account is the address of the account, and Mailbox the folder where it was
	// filed; both are empty for one that left.
	Account, Mailbox string
	// From is the reverse-path, empty for a bounce, and To are the recipients, by
	// the envelope.
	From string
	To   []string
	// Envelope is all of it, for one that left.
	Envelope *mailkeel.Envelope
	// ID is the message within its account, and UID within the mailbox.
	ID  store.MessageID
	UID store.UID
	// Flags are those with which it was filed, and Received when.
	Flags    []string
	Received time.Time
	// Raw is all of it, with the fields that the server put in front.
	Raw []byte

	seq   uint64 // in which it came
	owner mailkeel.AccountID
	box   store.MailboxID

	once sync.Once
	read parsed
}

// String describes it on one line.
func (m *Message) String() string {
	where := m.Account + " " + m.Mailbox
	if m.Account == "" {
		where = "left for " + strings.Join(m.To, ", ")
	}
	return fmt.Sprintf("%s: from %q, subject %q, %d bytes", where, m.Header("From"), m.Header("Subject"), len(m.Raw))
}

// Delete removes a message from its mailbox, and from what Messages knows. One that was
// moved since is only forgotten.
func (s *Server) Delete(ctx context.Context, m *Message) error {
	s.change(func() {
		s.arrived = slices.DeleteFunc(slices.Clone(s.arrived), func(x *Message) bool { return x == m })
	})
	if m.owner == "" {
		return nil
	}
	_, err := s.Store.As(m.owner).Expunge(ctx, m.box, m.UID)
	return err
}

// Follow yields the messages so far and then each as it comes, until ctx ends.
func (s *Server) Follow(ctx context.Context) iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		var last uint64
		for {
			s.mu.Lock()
			all, changed := s.arrived, s.changed
			s.mu.Unlock()
			for _, m := range all {
				if m.seq <= last {
					continue
				}
				last = m.seq
				if !yield(m) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// note adds messages to those that came. mu is held.
func (s *Server) note(ms ...*Message) {
	for _, m := range ms {
		s.count++
		m.seq = s.count
	}
	s.arrived = append(s.arrived, ms...)
}

// watch notes what is filed for an account, until the test ends.
func (s *Server) watch(acc accounts.Account) {
	seen := map[store.MessageID]bool{}
	for c, err := range s.Store.Follow(s.ctx, acc.ID, 0) {
		if err != nil {
			if s.ctx.Err() == nil {
				s.tb.Errorf("mailtest: cannot follow %s: %v", acc.Address, err)
			}
			return
		}
		var fresh []*Message
		for _, row := range c.Messages {
			if row.Expunged || seen[row.ID] {
				continue
			}
			seen[row.ID] = true
			m, err := s.take(acc, row)
			if errors.Is(err, store.ErrNotFound) {
				continue // deleted since
			} else if err != nil {
				if s.ctx.Err() == nil {
					s.tb.Errorf("mailtest: cannot read what was filed for %s: %v", acc.Address, err)
				}
				return
			}
			fresh = append(fresh, m)
		}
		s.change(func() {
			s.note(fresh...)
			s.seen[acc.ID] = c.ModSeq
		})
	}
}

// take reads what was filed.
func (s *Server) take(acc accounts.Account, row store.Message) (*Message, error) {
	m := &Message{Account: acc.Address, ID: row.ID, UID: row.UID, box: row.Mailbox, owner: acc.ID, Flags: row.Flags, Received: row.Received}
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
	if m.Raw, err = io.ReadAll(rc); err != nil {
		return nil, err
	}
	bare := strings.NewReplacer("<", "", ">", "")
	m.From = bare.Replace(m.Header("Return-Path"))
	m.To = []string{acc.Address}
	if to := bare.Replace(m.Header("Delivered-To")); to != "" && !strings.EqualFold(to, acc.Address) {
		m.To = append(m.To, to)
	}
	return m, nil
}

// transport takes what is for elsewhere.
type transport struct{ s *Server }

func (t transport) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	m := &Message{From: env.From, Envelope: env.Only(env.Rcpts...), Received: mailkeel.ClockOr(t.s.opts.Clock).Now()}
	rc, err := c.Open(ctx)
	if err == nil {
		m.Raw, err = io.ReadAll(rc)
		rc.Close()
	}
	if err != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
	}
	for _, r := range env.Rcpts {
		m.To = append(m.To, r.Addr)
	}
	t.s.change(func() { t.s.note(m) })
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Action: mailkeel.Relayed, Hop: "mailtest", Reply: "250 noted"})
}
