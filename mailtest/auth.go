package mailtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/mailkeel/mailkeel"
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

// signedFields are those that a signature covers; the first ones are there once more,
// so that none can be added.
var signedFields = []string{"From", "To", "Cc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "From", "Subject"}

// A signer signs what leaves a domain (RFC 6376, RFC 8463).
type signer struct {
	next   mailkeel.Transport
	domain string
	key    ed25519.PrivateKey
}

func newSigner(next mailkeel.Transport, domain string) (*signer, string) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // never
	}
	record := fmt.Sprintf(`%s._domainkey.%s. TXT "v=DKIM1; k=ed25519; p=%s"`, selector, domain, base64.StdEncoding.EncodeToString(pub))
	return &signer{next, domain, key}, record
}

func (s *signer) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	signed, err := s.sign(ctx, c)
	if err != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
	}
	return mailkeel.Deliver(ctx, s.next, env, signed)
}

func (s *signer) sign(ctx context.Context, c mailkeel.Content) (mailkeel.Content, error) {
	rc, err := c.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	var b bytes.Buffer
	err = dkim.Sign(&b, rc, &dkim.SignOptions{
		Domain: s.domain, Selector: selector, Signer: s.key, HeaderKeys: signedFields,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	return memory(b.Bytes()), err
}

// memory is Content of a test.
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }
func (m memory) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m)), nil
}
