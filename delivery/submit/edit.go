package submit

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store/blob"
)

// An edited message is what goes out, and what its writer keeps.
type edited struct {
	content mailkeel.Content
	sent    mailkeel.Content // with Bcc
	utf8    bool             // the header is not ASCII
}

// edit completes the header: From, Sender, Date and Message-ID are there and true,
// Bcc and Return-Path are not. As long as nothing has to go, what is missing goes
// in front and the message itself is not touched.
func (t *Transport) edit(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) (edited, error) {
	rc, err := c.Open(ctx)
	if err != nil {
		return edited{}, err
	}
	defer rc.Close()
	br := bufio.NewReader(rc)
	begin, _ := br.Peek(len(">From "))
	mbox := header.Mbox(begin)
	h, body, err := header.Read(br, t.MaxHeader)
	if errors.Is(err, header.ErrTooLarge) {
		return edited{}, refuse(552, [3]int{5, 3, 4}, "the header is too large")
	} else if err != nil {
		return edited{}, err
	}
	front, drop, err := t.author(ctx, env, h)
	if err != nil {
		return edited{}, err
	}
	if !h.Has("Date") {
		front = append(front, field{"Date", t.now().Format(time.RFC1123Z)})
	}
	if !h.Has("Message-ID") {
		front = append(front, field{"Message-ID", t.messageID(env)})
	}
	var prefix []byte
	for _, f := range front {
		line, err := header.Format(f.name, f.value)
		if err != nil {
			return edited{}, refuse(554, [3]int{5, 6, 0}, "cannot write the field %s", f.name)
		}
		prefix = append(prefix, line...)
	}
	m := edited{utf8: slices.ContainsFunc(h.Bytes(), func(b byte) bool { return b >= 0x80 })}
	m.sent = infront(prefix, c)
	m.content = m.sent
	drop = append(drop, "Bcc", "Resent-Bcc", "Return-Path")
	// What begins with the body would become part of the header in front of it.
	headless := h.Size() == 0
	if !mbox && !headless && !slices.ContainsFunc(drop, h.Has) {
		return m, nil
	}
	n, err := io.Copy(io.Discard, body)
	if err != nil {
		return edited{}, err
	}
	rewrite := func() mailkeel.Content {
		head := append(slices.Clone(prefix), h.Bytes()...)
		if headless {
			head = append(head, "\r\n"...)
		}
		return &rewritten{orig: c, head: head, max: t.MaxHeader, size: int64(len(head)) + n}
	}
	// The separator of a mailbox file would end the header behind what is in
	// front of it; reading passed over it.
	if mbox || headless {
		m.sent = rewrite()
	}
	for _, name := range drop {
		h.Remove(name)
	}
	m.content = rewrite()
	return m, nil
}

type field struct{ name, value string }

// author finds out who wrote the message. It returns fields to add and the names of
// those to remove.
func (t *Transport) author(ctx context.Context, env *mailkeel.Envelope, h *header.Header) (add []field, drop []string, err error) {
	switch n := h.Count("From"); {
	case n > 1:
		return nil, nil, refuse(554, [3]int{5, 6, 0}, "the message has %d From fields", n)
	case n == 0 && env.From == "":
		return nil, nil, refuse(554, [3]int{5, 6, 0}, "the message has no From field")
	case n == 0:
		return []field{{"From", "<" + env.From + ">"}}, nil, nil
	}
	foreign, err := t.foreign(ctx, env.Submitter, h.Get("From"))
	if err != nil {
		return nil, nil, err
	}
	if foreign != "" && (!t.ForeignFrom || env.From == "") {
		return nil, nil, refuse(550, [3]int{5, 7, 1}, "you may not write as %s", foreign)
	}
	mine := false // Sender is, and is the only one
	if h.Count("Sender") == 1 {
		other, err := t.foreign(ctx, env.Submitter, h.Get("Sender"))
		if err != nil && !mailkeel.Permanent(err) {
			return nil, nil, err
		}
		mine = err == nil && other == ""
	}
	if h.Has("Sender") && !mine {
		drop = append(drop, "Sender")
	}
	if foreign != "" && !mine {
		add = append(add, field{"Sender", "<" + env.From + ">"})
	}
	return add, drop, nil
}

// foreign returns the first address of a field that is not the account's, or "". A
// field without any address that can be read is refused: nobody knows who it names.
func (t *Transport) foreign(ctx context.Context, id mailkeel.AccountID, value string) (string, error) {
	n := 0
	for _, a := range message.ParseAddresses(value) {
		if a.Host == "" && (a.Mailbox != "" || a.Name == "") {
			continue // the name of a group, or its end
		}
		full := a.Mailbox + "@" + a.Host
		if m, err := addr.Parse(full, true); err != nil || a.Mailbox == message.MissingMailbox || a.Host == message.MissingDomain {
			return "", refuse(554, [3]int{5, 6, 0}, "the From or Sender field has no good address")
		} else {
			full = m.String()
		}
		n++
		ok, err := t.Directory.MaySend(ctx, id, full)
		if err != nil {
			return "", err
		}
		if !ok {
			return full, nil
		}
	}
	if n == 0 {
		return "", refuse(554, [3]int{5, 6, 0}, "the From or Sender field has no good address")
	}
	return "", nil
}

// messageID is the same for the same envelope, and does not tell its ID.
func (t *Transport) messageID(env *mailkeel.Envelope) string {
	_, domain := addr.Split(env.From)
	return fmt.Sprintf("<%.16x@%s>", sha256.Sum256([]byte("message-id "+env.ID)), cmp.Or(t.Hostname, domain, "localhost"))
}

// infront returns c with a prefix. If c lies in a blob store, so does what it returns.
func infront(prefix []byte, c mailkeel.Content) mailkeel.Content {
	p := prefixed{prefix, c}
	if len(prefix) == 0 {
		return c
	}
	if st, ok := c.(blob.Staged); ok {
		return staged{stored{p, st}, st}
	}
	if st, ok := c.(blob.Stored); ok {
		return stored{p, st}
	}
	return p
}

// prefixed is a content with something in front.
type prefixed struct {
	prefix []byte
	mailkeel.Content
}

func (p prefixed) Size() int64 { return int64(len(p.prefix)) + p.Content.Size() }

func (p prefixed) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := p.Content.Open(ctx)
	if err != nil {
		return nil, err
	}
	return joined{io.MultiReader(bytes.NewReader(p.prefix), rc), rc}, nil
}

// joined reads one thing and closes another.
type joined struct {
	io.Reader
	io.Closer
}

// stored is a prefixed content whose bytes lie in a blob store.
type stored struct {
	prefixed
	in blob.Stored
}

var _ blob.Stored = stored{}

func (s stored) Stored() (blob.Store, blob.Info, []byte) {
	at, info, before := s.in.Stored()
	return at, info, slices.Concat(s.prefix, before)
}

// staged is one that may be waited for later.
type staged struct {
	stored
	in blob.Staged
}

var _ blob.Staged = staged{}

func (s staged) Stage(at blob.Store) (blob.Adopted, bool, error) {
	a, ok, err := s.in.Stage(at)
	a.Prefix = slices.Concat(s.prefix, a.Prefix)
	return a, ok, err
}

// rewritten is a content with another header. Its body streams from the original.
type rewritten struct {
	orig mailkeel.Content
	head []byte
	max  int
	size int64
}

func (r *rewritten) Size() int64 { return r.size }

func (r *rewritten) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := r.orig.Open(ctx)
	if err != nil {
		return nil, err
	}
	_, body, err := header.Read(rc, r.max)
	if err != nil {
		rc.Close()
		return nil, err
	}
	return joined{io.MultiReader(bytes.NewReader(r.head), body), rc}, nil
}
