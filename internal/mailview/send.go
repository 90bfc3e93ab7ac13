package mailview

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/store"
)

// A SendError says who did not get a message.
type SendError struct {
	// Refused are those for whom the server would not take it, or not now.
	Refused []Refusal
	// Sent is how many others it was sent to.
	Sent int
	// Draft is what is left: the message to those who are in Refused.
	Draft Draft
}

// A Refusal says why a message was not taken for an address.
type Refusal struct {
	Addr   string
	Reason string // for people, on one line, in the words of the server that refused
	// Temporary means that it may be taken later.
	Temporary bool
	Err       error
}

func (e *SendError) Error() string {
	if len(e.Refused) == 0 {
		return "mailview: not sent"
	}
	return fmt.Sprintf("mailview: not sent to %s: %s", e.Refused[0].Addr, e.Refused[0].Reason)
}

// Unwrap returns why the message was refused for each address.
func (e *SendError) Unwrap() (all []error) {
	for _, r := range e.Refused {
		all = append(all, r.Err)
	}
	return all
}

// Send saves a draft and submits it. If all recipients are taken the draft goes, and
// what it answers or forwards is marked. Before anything leaves: *AddressError,
// ErrNoRecipient, and the errors of SaveDraft. *SendError if some or all are refused:
// then the draft is kept, for those alone. A Send that is repeated with the same Draft
// does not send twice; if it has gone already it is store.ErrNoMessage.
func (b *Box) Send(ctx context.Context, d Draft, drop []string, add ...Upload) error {
	to, err := recipients(&d)
	if err != nil {
		return err
	}
	s, err := b.save(ctx, d, drop, add)
	if err != nil {
		return err
	}
	env := &mailkeel.Envelope{
		ID: b.envelopeID(s, to), From: b.address, Submitter: b.account, EightBit: s.letter.eightBit,
		UTF8: !ascii(b.address),
	}
	for i, r := range to {
		env.Rcpts = append(env.Rcpts, mailkeel.Recipient{Addr: r.addr, Index: i})
		env.UTF8 = env.UTF8 || !ascii(r.addr)
	}
	refused := map[string]bool{}
	out := &SendError{Draft: s.draft}
	for i, r := range mailkeel.Deliver(ctx, b.mail.Submit, env, &content{b: b, k: s.known, off: s.letter.localSize}) {
		if r.Err == nil {
			out.Sent++
			continue
		}
		refused[to[i].addr] = true
		out.Refused = append(out.Refused, Refusal{Addr: to[i].addr, Reason: reason(r.Err), Temporary: !mailkeel.Permanent(r.Err), Err: r.Err})
	}
	// What is left to do does not depend on who waits for it any more.
	ctx = context.WithoutCancel(ctx)
	if out.Sent > 0 {
		b.answered(ctx, &s.draft)
	}
	if len(out.Refused) == 0 {
		if _, err := b.access.Expunge(ctx, s.folder, s.draft.UID); err != nil {
			b.mail.logger().Error("mailview: a draft that was sent is still there", "account", b.account, "uid", s.draft.UID, "err", err)
		}
		return nil
	}
	if out.Sent > 0 {
		out.Draft = b.rest(ctx, s.draft, refused)
	}
	return out
}

// recipients returns whom a draft goes to, each once.
func recipients(d *Draft) (out []recipient, err error) {
	seen := map[string]bool{}
	for _, f := range [...]struct{ name, list string }{{"to", d.To}, {"cc", d.Cc}, {"bcc", d.Bcc}} {
		list, err := parseTyped(f.list)
		var bad *AddressError
		if errors.As(err, &bad) {
			bad.Field = f.name
		}
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if key := sameAddr(r.addr); !seen[key] {
				seen[key] = true
				out = append(out, r)
			}
		}
	}
	switch {
	case len(out) == 0:
		return nil, ErrNoRecipient
	case len(out) > maxRecipients:
		return nil, fmt.Errorf("%w: %d recipients", store.ErrLimit, len(out))
	}
	return out, nil
}

// sameAddr is equal for addresses that are one: only their domain has no case.
func sameAddr(a string) string {
	local, domain := addr.Split(a)
	if d, err := addr.Domain(domain); err == nil {
		domain = d
	}
	return local + "@" + domain
}

// envelopeID names what is sent: the same message of the same draft to the same people
// has the same one, so that sending it again is harmless, and another has another.
func (b *Box) envelopeID(s *saved, to []recipient) string {
	type file struct {
		Name, Type string
		Size       int64
	}
	what := struct {
		Account              mailkeel.AccountID
		ID, Subject, Text    string
		Rcpts, To, Cc        []string
		Files                []file
		InReplyTo, Reference []string
	}{Account: b.account, ID: s.draft.ID, Subject: s.draft.Subject, Text: s.draft.Text, InReplyTo: s.letter.inReplyTo, Reference: s.letter.references}
	for _, r := range to {
		what.Rcpts = append(what.Rcpts, r.addr)
	}
	for _, r := range s.letter.to {
		what.To = append(what.To, r.addr)
	}
	for _, r := range s.letter.cc {
		what.Cc = append(what.Cc, r.addr)
	}
	for _, a := range s.draft.Attachments {
		what.Files = append(what.Files, file{a.Name, a.Type, a.Size})
	}
	data, _ := json.Marshal(what)
	return fmt.Sprintf("web-%.16x", sha256.Sum256(data))
}

// content is a draft as it is sent: without the field that is for us alone.
type content struct {
	b   *Box
	k   *known
	off int64
}

func (c *content) Size() int64 { return c.k.m.Size - c.off }

func (c *content) Open(ctx context.Context) (io.ReadCloser, error) {
	return c.b.access.OpenAt(ctx, *c.k.m, c.k.cold, c.off, -1)
}

// reason is what a person is told of a failure.
func reason(err error) string {
	var e *mailkeel.Error
	if errors.As(err, &e) {
		s, _ := line(e.Reply(), 500)
		return s
	}
	return "temporary failure"
}

// answered marks what a draft answers or forwards, if it may be marked.
func (b *Box) answered(ctx context.Context, d *Draft) {
	flag := store.FlagAnswered
	switch {
	case d.Kind == New || d.Re == (Ref{}):
		return
	case d.Kind == Forward:
		flag = keyForwarded
	}
	_, _, err := b.access.SetFlags(ctx, d.Re.Folder, store.FlagChange{Add: []string{flag}}, d.Re.UID)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDenied) {
		b.mail.logger().Warn("mailview: what was answered is not marked", "account", b.account, "err", err)
	}
}

// rest saves what is left of a draft that was sent to some. It is another message, with
// another Message-ID, for it may be changed before it is sent.
func (b *Box) rest(ctx context.Context, d Draft, refused map[string]bool) Draft {
	left := d
	left.ID = b.newID()
	for _, list := range []*string{&left.To, &left.Cc, &left.Bcc} {
		var keep []recipient
		for _, r := range entries(*list) {
			if refused[r.addr] {
				keep = append(keep, r)
			}
		}
		*list = fieldTyped(keep)
	}
	s, err := b.save(ctx, left, nil, nil)
	if err != nil {
		b.mail.logger().Error("mailview: what is left of a draft is not saved", "account", b.account, "uid", d.UID, "err", err)
		return d // sent again as it is, it reaches nobody twice
	}
	return s.draft
}

func fieldTyped(list []recipient) (s string) {
	for i, r := range list {
		if i > 0 {
			s += ", "
		}
		s += Address{Name: r.name, Addr: r.addr}.String()
	}
	return s
}
