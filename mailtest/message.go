package mailtest

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	// Flags are those with which it was filed, and Received when.
	Flags    []string
	Received time.Time
	// Raw is all of it, with the fields that the server put in front.
	Raw []byte

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
			s.arrived = append(s.arrived, fresh...)
			s.seen[acc.ID] = c.ModSeq
		})
	}
}

// take reads what was filed.
func (s *Server) take(acc accounts.Account, row store.Message) (*Message, error) {
	m := &Message{Account: acc.Address, Flags: row.Flags, Received: row.Received}
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
	t.s.change(func() { t.s.arrived = append(t.s.arrived, m) })
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{Action: mailkeel.Relayed, Hop: "mailtest", Reply: "250 noted"})
}
