package dkim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
)

// A Signer is a Transport that signs what leaves (RFC 6376). It stands right before the
// one that brings mail to other servers, so that nothing changes the message any more.
// Next and Keys are required. It is called from many goroutines.
//
// A message is signed if it is ours, in two ways at once: it came to be here, as Ours
// says, and the domain of its From field, or one above that, has Keys. That is
// so of what users write and of our own bounces. All else goes on as it came: what is
// forwarded for strangers keeps their signatures, and one that writes our domain into
// its From field gets none of ours.
//
// What is to be signed does not leave without: if the message cannot be read, or a key
// cannot be had, the error is temporary and the queue tries again. A header that is
// too large to be signed is refused for good.
//
// A message is read once more than it would be without, and is never in memory but for
// its header.
type Signer struct {
	Next mailkeel.Transport
	Keys Keys
	// Ours reports whether a message came to be here. Nil means those that an account
	// submitted, and those that this process composed: that have no Origin. Who only
	// passes on mail of hosts that are trusted may say so for these.
	Ours func(*mailkeel.Envelope) bool
	// MaxHeader is how large a header may be, in bytes; zero means 1 MiB.
	MaxHeader int
	Clock     mailkeel.Clock // nil means real time
	Logger    *slog.Logger   // nil means discard
}

var (
	_ mailkeel.Transport = (*Signer)(nil)
	_ mailkeel.Verifier  = (*Signer)(nil)
	_ delivery.Holder    = (*Signer)(nil)
	_ io.Closer          = (*Signer)(nil)
)

// Deliver signs the message and hands it to Next.
func (s *Signer) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	if s.ours(env) {
		signed, err := s.sign(ctx, c)
		if err != nil {
			if s.Logger != nil {
				s.Logger.Warn("dkim: not signed, and not sent", "envelope", env.ID, "err", err)
			}
			return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
		}
		c = signed
	}
	return mailkeel.Deliver(ctx, s.Next, env, c)
}

// Verify asks Next, if that can tell.
func (s *Signer) Verify(ctx context.Context, env *mailkeel.Envelope, rcpt mailkeel.Recipient, size int64) error {
	if v, ok := s.Next.(mailkeel.Verifier); ok {
		return v.Verify(ctx, env, rcpt, size)
	}
	return nil
}

// Holds asks Next, if that can tell.
func (s *Signer) Holds(ctx context.Context, env *mailkeel.Envelope, rcpt mailkeel.Recipient) error {
	if h, ok := s.Next.(delivery.Holder); ok {
		return h.Holds(ctx, env, rcpt)
	}
	return nil
}

// Close closes Next, if that can be.
func (s *Signer) Close() error {
	if c, ok := s.Next.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (s *Signer) ours(env *mailkeel.Envelope) bool {
	if s.Ours != nil {
		return s.Ours(env)
	}
	return env.Submitter != "" || env.Origin == nil || env.Origin.Identity != ""
}

// later is a failure that may pass.
func later(err error) error {
	return &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 5}, Message: "the message cannot be signed now", Err: fmt.Errorf("dkim: %w", err)}
}

// never is one that is of the message itself.
func never(text string, err error) error {
	return &mailkeel.Error{Code: 554, Enhanced: [3]int{5, 6, 0}, Message: "the message cannot be signed: " + text, Err: err}
}

// sign returns the message with its signatures before it, or as it is if it is not of a
// domain that has keys.
func (s *Signer) sign(ctx context.Context, c mailkeel.Content) (mailkeel.Content, error) {
	rc, err := c.Open(ctx)
	if err != nil {
		return nil, later(err)
	}
	defer rc.Close()
	h, body, err := header.Read(&lineReader{r: rc}, s.MaxHeader)
	switch {
	case errors.Is(err, header.ErrTooLarge):
		return nil, never("its header is too large", err)
	case err != nil:
		return nil, later(err)
	}
	keys, err := s.keys(ctx, h)
	if err != nil {
		return nil, later(err)
	}
	if len(keys) == 0 {
		return c, nil
	}
	names := signedNames(h)
	if len(names) > maxNames {
		return nil, never("it has too many header fields", nil)
	}
	hash, err := hashBody(ctx, body)
	if err != nil {
		return nil, later(err)
	}
	fields := relaxedFields(h, names)
	var prefix bytes.Buffer
	for _, k := range keys {
		field, err := signature(k, mailkeel.ClockOr(s.Clock).Now(), names, fields, hash)
		if err != nil {
			return nil, later(err)
		}
		prefix.Write(field)
	}
	return signed{prefix.Bytes(), c}, nil
}

// keys returns those of the first author's domain that has some. A domain above it
// vouches for it too, as DMARC has it in relaxed mode (RFC 7489, 3.1.1): so a bounce of
// mail.example.org is signed by example.org.
func (s *Signer) keys(ctx context.Context, h *header.Header) ([]Key, error) {
	asked := map[string]bool{}
	for f := range h.All("From") {
		for _, a := range message.ParseAddresses(f.Value()) {
			domain, err := accounts.CanonicalDomain(a.Host)
			if a.Host == "" || a.Host == message.MissingDomain || err != nil || !validName(domain) {
				continue
			}
			org, err := publicsuffix.EffectiveTLDPlusOne(domain)
			if err != nil {
				org = domain
			}
			for !asked[domain] && len(asked) < maxAsked {
				asked[domain] = true
				keys, err := s.Keys.Keys(ctx, domain)
				if err != nil || len(keys) > 0 {
					return keys, err
				}
				_, above, ok := strings.Cut(domain, ".")
				if domain == org || !ok {
					break
				}
				domain = above
			}
		}
	}
	return nil, nil
}

// maxAsked bounds the domains of one message that Keys are asked for.
const maxAsked = 20

// signed is a message with signatures before it.
type signed struct {
	prefix []byte
	mailkeel.Content
}

func (m signed) Size() int64 { return int64(len(m.prefix)) + m.Content.Size() }

func (m signed) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := m.Content.Open(ctx)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(m.prefix), rc), rc}, nil
}
