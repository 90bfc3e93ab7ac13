package mailauth

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
)

// ErrNoAuthor means that a message has not exactly one author with an address.
var ErrNoAuthor = errors.New("mailauth: there is not exactly one author")

func noAuthor(why string) error { return fmt.Errorf("%w: %s", ErrNoAuthor, why) }

// An Author is who a message says that it is from.
type Author struct {
	// Address is what IMAP shows in ENVELOPE, and webmail shows.
	Address message.Address
	// Domain is its domain in A-labels and lower case, or an address literal.
	Domain string
}

// FindAuthor reads the header of a message. What it finds is what message.Parse finds,
// for nobody may be judged who is not shown. Without exactly one From field with
// exactly one address (RFC 7489, 6.6.1) it returns ErrNoAuthor; other errors are those
// of r.
func FindAuthor(r io.Reader) (Author, error) {
	fields := 0
	m, err := message.Parse(header.Select(r, func(name []byte) bool {
		from := len(name) == len("from") && strings.EqualFold(string(name), "from")
		if from {
			fields++
		}
		return from
	}))
	if err != nil {
		return Author{}, err
	}
	all := m.Envelope.From
	switch {
	case fields == 0:
		return Author{}, noAuthor("no From field")
	case fields > 1:
		return Author{}, noAuthor(fmt.Sprintf("%d From fields", fields))
	case len(all) == 0:
		return Author{}, noAuthor("nobody in From")
	}
	for _, a := range all {
		if a.Host == "" {
			return Author{}, noAuthor("a group in From")
		}
	}
	if len(all) > 1 {
		return Author{}, noAuthor(fmt.Sprintf("%d addresses in From", len(all)))
	}
	a := Author{Address: all[0]}
	if a.Address.Mailbox == message.MissingMailbox || a.Address.Host == message.MissingDomain {
		return Author{}, noAuthor("no address in From")
	}
	if a.Domain, err = addr.Domain(a.Address.Host); err != nil {
		return Author{}, noAuthor("no domain in From")
	}
	return a, nil
}

// Organization is the organisational domain (RFC 7489, 3.2).
func Organization(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}
