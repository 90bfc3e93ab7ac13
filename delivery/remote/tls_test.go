package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// broken is a TLS configuration with which no handshake succeeds.
var broken = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no") }}

func TestEncryptionIsOpportunistic(t *testing.T) {
	good := smtpsink.Certificate(t, "elsewhere.test")
	strip := func(cmd string) string {
		if cmd == "STARTTLS" {
			return "454 4.7.0 not now"
		}
		return ""
	}
	for name, tt := range map[string]struct {
		s   *smtpsink.Server
		tls bool
	}{
		"any certificate":    {&smtpsink.Server{TLS: good.Server}, true},
		"none":               {&smtpsink.Server{}, false},
		"a failed handshake": {&smtpsink.Server{TLS: broken}, false},
		"a refusal":          {&smtpsink.Server{TLS: good.Server, Reply: strip}, false},
	} {
		w := newWorld(t, "y.test. A 10.0.0.1")
		s := w.serve("10.0.0.1", tt.s)
		w.want(name, "2", w.send("bob@y.test")[0])
		if m := s.Messages()[0]; m.TLS != tt.tls {
			t.Errorf("%s: encrypted %v, want %v", name, m.TLS, tt.tls)
		}
	}
}

// secured is a resolver that says which answers are authentic.
type secured struct {
	*net.Resolver
	names map[string]bool
}

func (s secured) SecureMX(ctx context.Context, name string) ([]*net.MX, bool, error) {
	mxs, err := s.LookupMX(ctx, name)
	return mxs, s.names[name], err
}

// TestRequireTLS is RFC 8689, 4.2: nothing is said in the clear, and the host must
// prove who it is.
func TestRequireTLS(t *testing.T) {
	good, other := smtpsink.Certificate(t, "mx.y.test"), smtpsink.Certificate(t, "mx.evil.test")
	ext := append([]string{"REQUIRETLS"}, smtpsink.DefaultExt...)
	for name, tt := range map[string]struct {
		s      *smtpsink.Server
		secure bool
		want   string
	}{
		"all is well":           {&smtpsink.Server{TLS: good.Server, Ext: ext}, true, "2"},
		"forged MX":             {&smtpsink.Server{TLS: good.Server, Ext: ext}, false, "5.7.30"},
		"no STARTTLS":           {&smtpsink.Server{Ext: ext}, true, "5.7.10"},
		"no REQUIRETLS":         {&smtpsink.Server{TLS: good.Server}, true, "5.7.30"},
		"another's certificate": {&smtpsink.Server{TLS: other.Server, Ext: ext}, true, "4.7.5"},
		"a failed handshake":    {&smtpsink.Server{TLS: broken, Ext: ext}, true, "4.7.5"},
	} {
		w := newWorld(t, "y.test. MX 10 mx.y.test.", "mx.y.test. A 10.0.0.1")
		w.TLS = &tls.Config{RootCAs: good.Roots}
		w.Resolver = secured{w.dns.Resolver(), map[string]bool{"y.test.": tt.secure}}
		s := w.serve("10.0.0.1", tt.s)
		env := envelope("bob@y.test")
		env.RequireTLS = true
		w.want(name, tt.want, mailkeel.Deliver(t.Context(), w.Transport, env, message)[0])
		for _, cmd := range s.Commands() {
			if strings.HasPrefix(cmd, "MAIL") && (tt.want != "2" || !strings.Contains(cmd, " REQUIRETLS")) {
				t.Errorf("%s: the peer heard %q", name, cmd)
			}
		}
		if tt.want == "2" && !s.Messages()[0].TLS {
			t.Errorf("%s: in the clear", name)
		}
	}
}

// TestSessionsOfAnotherQuality: a message that demands encryption does not go over
// a session that was opened without.
func TestSessionsOfAnotherQuality(t *testing.T) {
	w := newWorld(t, "y.test. A 10.0.0.1")
	s := w.serve("10.0.0.1", &smtpsink.Server{})
	w.want("any", "2", w.send("bob@y.test")[0])
	env := envelope("bob@y.test")
	env.RequireTLS = true
	w.want("REQUIRETLS", "5.7.10", mailkeel.Deliver(t.Context(), w.Transport, env, message)[0])
	if len(s.Messages()) != 1 {
		t.Errorf("%d messages", len(s.Messages()))
	}
}

// policies is a remote.Policy by domain.
type policies map[string]remote.Demand

func (p policies) Demand(_ context.Context, domain string) (remote.Demand, error) {
	if domain == "unknown.test" {
		return remote.Demand{}, errors.New("no answer")
	}
	return p[domain], nil
}

// TestPolicyIsEnforced is T33: an attacker who strips STARTTLS, changes the MX or
// has another certificate gets nothing.
func TestPolicyIsEnforced(t *testing.T) {
	good, other := smtpsink.Certificate(t, "mx.y.test"), smtpsink.Certificate(t, "mx.evil.test")
	for name, tt := range map[string]struct {
		s    *smtpsink.Server
		mx   string
		want string
	}{
		"all is well":           {&smtpsink.Server{TLS: good.Server}, "mx.y.test.", "2"},
		"STARTTLS stripped":     {&smtpsink.Server{}, "mx.y.test.", "4.7.10"},
		"another's certificate": {&smtpsink.Server{TLS: other.Server}, "mx.y.test.", "4.7.5"},
		"another MX":            {&smtpsink.Server{TLS: other.Server}, "mx.evil.test.", "4.7.0"},
	} {
		w := newWorld(t, "y.test. MX 10 "+tt.mx, "unknown.test. MX 10 "+tt.mx, tt.mx+" A 10.0.0.1")
		w.TLS = &tls.Config{RootCAs: good.Roots}
		w.Policy = policies{"y.test": {Verify: true, MX: func(h string) bool { return h == "mx.y.test" }}}
		s := w.serve("10.0.0.1", tt.s)
		w.want(name, tt.want, w.send("bob@y.test")[0])
		w.want(name, "4.7.5", w.send("bob@unknown.test")[0])
		if n := len(s.Messages()); n != 0 && tt.want != "2" || n == 1 && !s.Messages()[0].TLS {
			t.Errorf("%s: %+v", name, s.Messages())
		}
	}
}

func TestAskAsksOneServer(t *testing.T) {
	s := testdns.New(t, "y.test. MX 10 mx.y.test.")
	mxs, err := remote.Ask(s.Addr).LookupMX(t.Context(), "y.test.")
	if err != nil || len(mxs) != 1 || len(s.Queries()) != 1 {
		t.Errorf("%v, %v, %q", mxs, err, s.Queries())
	}
}
