package mailtest_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/mailtest"
)

const out = "From: ann@here.example\r\nTo: zoe@there.example\r\nSubject: out\r\n\r\nhi\r\n"

func submit(t *testing.T, srv *mailtest.Server, from, to, msg string) {
	t.Helper()
	send(t, srv.SubmissionAddr(), srv.ClientTLS(), plain{smtp.PlainAuth("", from, "x", mailtest.Hostname)}, from, []string{to}, msg)
}

// TestWorld: mail goes by MX, over TLS, from an address that has a name.
func TestWorld(t *testing.T) {
	w := mailtest.NewWorld(t)
	here, there := w.Server("here.example"), w.Server("there.example")
	submit(t, here, "ann@here.example", "zoe@there.example", out)
	m := there.Wait(soon(t), mailtest.To("zoe@there.example").From("ann@here.example"))
	if r := m.Headers("Received")[0]; !strings.Contains(r, "from mx.here.example (mx.here.example [198.51.100.1])") || !strings.Contains(r, "ESMTPS") {
		t.Error(r)
	}
	if !slices.Contains(w.DNS.Queries(), "MX there.example.") {
		t.Error(w.DNS.Queries())
	}
	there.Forget()
	// And back, and to oneself.
	submit(t, there, "zoe@there.example", "ann@here.example", out)
	here.Wait(soon(t), mailtest.To("ann@here.example").Header("Received", "mx.there.example"))
	submit(t, here, "ann@here.example", "bob@here.example", out)
	here.Wait(soon(t), mailtest.To("bob@here.example"))
	there.AssertNone(soon(t), mailtest.Any())
}

// TestForwardingAcrossDomains: an alias at one domain leads to the third.
func TestForwardingAcrossDomains(t *testing.T) {
	w := mailtest.NewWorld(t)
	here := w.Server("here.example")
	w.Server("middle.example", mailtest.Options{Aliases: []accounts.Alias{{Address: "list@middle.example", Targets: []string{"zoe@far.example", "bob@middle.example"}}}})
	far := w.Server("far.example")
	submit(t, here, "ann@here.example", "list@middle.example", out)
	if m := far.Wait(soon(t), mailtest.To("zoe@far.example")); len(m.Headers("Received")) != 3 {
		t.Errorf("%q", m.Headers("Received"))
	}
}

// TestFiveDays: each retry, the report of delay and the bounce come at their time.
func TestFiveDays(t *testing.T) {
	w := mailtest.NewWorld(t)
	here := w.Server("here.example")
	w.DNS.Add("dead.example. MX 10 mx.dead.example.", "mx.dead.example. A 198.51.100.99")
	submit(t, here, "ann@here.example", "zoe@dead.example", out)
	w.Advance(3 * time.Hour)
	here.AssertNone(soon(t), mailtest.Any())
	w.Advance(2 * time.Hour)
	delay := here.Wait(soon(t), mailtest.To("ann@here.example").From(""))
	if s := delay.Text(); !strings.Contains(string(delay.Raw), "Action: delayed") || !strings.Contains(s, "zoe@dead.example") {
		t.Errorf("%s", delay.Raw)
	}
	w.Advance(4 * 24 * time.Hour)
	if n := len(here.Messages(mailtest.Any())); n != 1 {
		t.Errorf("%d messages after four days", n)
	}
	w.Advance(24 * time.Hour)
	bounce := here.WaitN(soon(t), 2, mailtest.To("ann@here.example"))[1]
	if !strings.Contains(string(bounce.Raw), "Action: failed") {
		t.Errorf("%s", bounce.Raw)
	}
	if d := bounce.Received.Sub(delay.Received); d < 4*24*time.Hour || d > 5*24*time.Hour {
		t.Errorf("the bounce came %v after the delay", d)
	}
	w.Advance(30 * 24 * time.Hour)
	if n := len(here.Messages(mailtest.Any())); n != 2 {
		t.Errorf("%d messages in the end", n)
	}
}

// TestDNSFails: what fails for a while is tried again.
func TestDNSFails(t *testing.T) {
	w := mailtest.NewWorld(t)
	here, there := w.Server("here.example"), w.Server("there.example")
	for _, f := range []mailtest.DNSFault{mailtest.ServFail, mailtest.Refused} {
		w.DNS.Fail("there.example", f)
		submit(t, here, "ann@here.example", "zoe@there.example", out)
		there.AssertNone(soon(t), mailtest.Any())
		w.DNS.Fail("there.example", mailtest.Works)
		w.Advance(time.Hour)
		there.Wait(soon(t), mailtest.To("zoe@there.example"))
		there.Forget()
	}
	// A domain that does not exist is a bounce at once.
	submit(t, here, "ann@here.example", "zoe@nowhere.example", out)
	here.Wait(soon(t), mailtest.From("").Text("zoe@nowhere.example"))
}

func TestAdvanceAlone(t *testing.T) {
	clock := &mailtest.Clock{}
	srv := mailtest.New(t, mailtest.Options{Clock: clock})
	was := clock.Now()
	srv.Advance(3 * 24 * time.Hour)
	if d := clock.Now().Sub(was); d != 72*time.Hour {
		t.Error(d)
	}
	send(t, srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{"ann@example.test"}, text)
	if m := srv.Wait(soon(t), mailtest.Any()); !m.Received.Equal(clock.Now()) {
		t.Error(m.Received)
	}
	nc, err := tls.Dial("tcp", srv.TLSAddr(), srv.ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestDNS(t *testing.T) {
	d := mailtest.NewDNS()
	long := strings.Repeat("x", 300)
	err := d.Add("example.org. MX 10 mx.example.org.", "example.org MX 20 mx2.example.org", "mx.example.org. A 192.0.2.1", "mx.example.org. AAAA 2001:db8::1",
		`example.org. TXT "v=spf1 " "mx -all"`, "long.example.org. TXT "+long, "www.example.org. CNAME mx.example.org.", "1.2.0.192.in-addr.arpa. PTR mx.example.org.",
		"_imaps._tcp.example.org. SRV 1 2 993 mx.example.org.", "_25._tcp.mx.example.org. TLSA 3 1 1 0123 abcd", "example.org. NS ns.example.org.")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", "x A", "x. A 2001:db8::1", "x. MX a b", "x. MX 1", "x. SRV 1 2 3", `x. TXT "a`, "x. WKS 1", "x. TLSA 1", strings.Repeat("x", 300) + ". A 192.0.2.1"} {
		if d.Add(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	addr := d.Listen(t)
	byNet := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	for name, r := range map[string]*net.Resolver{"in memory": d.Resolver(), "over the network": byNet} {
		t.Run(name, func(t *testing.T) {
			ctx := soon(t)
			if mx, err := r.LookupMX(ctx, "Example.org"); err != nil || len(mx) != 2 || mx[1].Host != "mx2.example.org." {
				t.Error(mx, err)
			}
			if ip, err := r.LookupNetIP(ctx, "ip", "www.example.org"); err != nil || len(ip) != 2 {
				t.Error(ip, err)
			}
			if txt, err := r.LookupTXT(ctx, "example.org"); err != nil || !slices.Equal(txt, []string{"v=spf1 mx -all"}) {
				t.Error(txt, err)
			}
			if txt, err := r.LookupTXT(ctx, "long.example.org"); err != nil || !slices.Equal(txt, []string{long}) {
				t.Error(txt, err)
			}
			if names, err := r.LookupAddr(ctx, "192.0.2.1"); err != nil || !slices.Equal(names, []string{"mx.example.org."}) {
				t.Error(names, err)
			}
			if _, srvs, err := r.LookupSRV(ctx, "imaps", "tcp", "example.org"); err != nil || len(srvs) != 1 || srvs[0].Port != 993 {
				t.Error(srvs, err)
			}
			if _, err := r.LookupTXT(ctx, "nothing.example.org"); err == nil || !err.(*net.DNSError).IsNotFound {
				t.Error(err)
			}
		})
	}
	d.Fail("example.org", mailtest.ServFail)
	if _, err := d.LookupMX(soon(t), "example.org"); err == nil || !err.(*net.DNSError).IsTemporary {
		t.Error(err)
	}
	d.Fail("example.org", mailtest.Works)
	d.Remove("example.org", "MX")
	if mx, err := d.LookupMX(soon(t), "example.org"); err == nil {
		t.Error(mx)
	}
	if txt, err := d.LookupTXT(soon(t), "example.org"); err != nil {
		t.Error(txt, err)
	}
}
