package dmarc_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"
	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/filter/dmarc"
	"github.com/mailkeel/mailkeel/filter/spf"
	"github.com/mailkeel/mailkeel/internal/dnscache"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// BenchmarkWhoSent is SPF, DKIM and DMARC of one message of 10 KB, whose records are
// known: what each message from other servers costs beside being received. The goal is
// less than 1 ms of processor time.
func BenchmarkWhoSent(b *testing.B) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&rs.PublicKey)
	if err != nil {
		b.Fatal(err)
	}
	names := &dnscache.Cache{Resolver: &testdns.Table{TXT: map[string][]string{
		"example.com":                {"v=spf1 include:spf.example.com mx -all"},
		"spf.example.com":            {"v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 ~all"},
		"mail.example.com":           {"v=spf1 a -all"},
		"_dmarc.example.com":         {"v=DMARC1; p=reject; rua=mailto:dmarc@example.com"},
		"rsa._domainkey.example.com": {"v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)},
		"ed._domainkey.example.com":  {"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(ed.Public().(ed25519.PublicKey))},
	}, IP: map[string][]string{"mail.example.com": {"192.0.2.1"}}}}
	msg := "From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: hello\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" +
		strings.Repeat("The quick brown fox jumps over the lazy dog, and then once more.\r\n", 10<<10/66)
	sign := func(msg, selector string, key crypto.Signer) string {
		var out strings.Builder
		err := msgauth.Sign(&out, strings.NewReader(msg), &msgauth.SignOptions{Domain: "example.com", Selector: selector, Signer: key,
			HeaderCanonicalization: msgauth.CanonicalizationRelaxed, BodyCanonicalization: msgauth.CanonicalizationRelaxed})
		if err != nil {
			b.Fatal(err)
		}
		return out.String()
	}
	chain := &filter.Chain{Groups: [][]filter.Filter{{&spf.Filter{Resolver: names}, &dkim.Filter{Resolver: names}}, {&dmarc.Filter{Resolver: names}}}}
	o := &mailkeel.Origin{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Hello: "mail.example.com"}
	for _, bm := range []struct{ name, msg string }{
		{"unsigned", msg},
		{"RSA-2048", sign(msg, "rsa", rs)},
		{"Ed25519", sign(msg, "ed", ed)},
		{"both", sign(sign(msg, "rsa", rs), "ed", ed)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			env := &mailkeel.Envelope{ID: "1", From: "ann@example.com", Origin: o}
			before := cpuTime()
			n := 0
			for b.Loop() {
				n++
				v := chain.Run(b.Context(), filter.Sender, &filter.Transaction{Origin: o, Env: env})
				v = chain.Run(b.Context(), filter.Message, &filter.Transaction{Origin: o, Env: env, Content: text(bm.msg), Results: v.Results})
				if last := v.Results[len(v.Results)-1]; v.Refuse != nil || last.(*authres.DMARCResult).Value != "pass" {
					b.Fatalf("%+v", v)
				}
			}
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(n), "cpu-µs/op")
		})
	}
}
