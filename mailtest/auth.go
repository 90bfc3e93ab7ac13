package mailtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/mailauth"
)

// An Authentication is who vouches for a message, as its receiver sees it. The words are those
// of RFC 8601: "pass", "fail", "softfail", "neutral", "none", "temperror",
// "permerror".
type Authentication struct {
	SPF       string
	SPFDomain string // of the reverse-path, or of HELO
	DKIM      []Signature
	DMARC     string
	Policy    string // what the author's domain wants done with a "fail"
	// Why says what is wrong, one thing a line; empty if nothing is.
	Why string
}

// A Signature is one DKIM-Signature.
type Signature struct{ Domain, Result string }

// LookupIPAddr makes a DNS a resolver for SPF.
func (d *DNS) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	return d.Resolver().LookupIPAddr(ctx, host)
}

// Auth checks SPF, DKIM and DMARC of a message that came by SMTP, as a receiver would
// that asks dns: for the address and the HELO that its topmost Received field tells.
// In a World dns is World.DNS.
func (m *Message) Auth(ctx context.Context, dns *DNS) (Authentication, error) {
	addr, hello := m.peer()
	res, err := mailauth.Check(ctx, dns, mailauth.Arrival{
		Addr: addr, Hello: hello, From: m.From, Now: m.Received,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.Raw)), nil },
	})
	if err != nil {
		return Authentication{}, fmt.Errorf("mailtest: %w", err)
	}
	a := Authentication{SPF: string(res.SPF.Result), SPFDomain: res.SPF.Domain, DMARC: string(res.DMARC), Policy: res.Policy.Wish}
	var why []string
	note := func(what string, err error) {
		if err != nil {
			why = append(why, what+": "+err.Error())
		}
	}
	note("spf", res.SPF.Err)
	for _, s := range res.DKIM {
		a.DKIM = append(a.DKIM, Signature{s.Domain, string(s.Result)})
		note("dkim of "+s.Domain, s.Err)
	}
	note("dmarc", res.Err)
	a.Why = strings.Join(why, "\n")
	return a, nil
}

var received = regexp.MustCompile(`^from (\S+) \((?:\S+ )?\[(?:IPv6:)?([^\]]+)\]\)`)

// peer is who brought the message, by the Received field of this server.
func (m *Message) peer() (netip.Addr, string) {
	if f := received.FindStringSubmatch(m.Header("Received")); f != nil {
		if ip, err := netip.ParseAddr(f[2]); err == nil {
			return ip, f[1]
		}
	}
	return netip.IPv4Unspecified(), "unknown.invalid"
}

// selector is that of the keys of a World.
const selector = "mailtest"

// newKey makes the key with which a domain of a World signs (RFC 8463), and its record.
func newKey(domain string) (dkim.Key, string) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // never
	}
	if d, err := accounts.CanonicalDomain(domain); err == nil {
		domain = d
	}
	key, err := dkim.NewKey(domain, selector, private)
	if err != nil {
		panic(err) // a World has names of domains
	}
	return key, fmt.Sprintf(`%s. TXT "%s"`, key.Name(), key.Record())
}
