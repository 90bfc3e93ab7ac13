package spf_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/filtertest"
	"github.com/mailkeel/mailkeel/filter/spf"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// A suite is one part of that of RFC 7208.
type suite struct {
	Description string
	Tests       []struct {
		Name, Helo, Host, MailFrom, Skip string
		Result                           []string
	}
	Zone map[string][]struct{ Type, Value string }
}

// table makes a resolver of a zone. A TXT record wins over an SPF record, as the suite
// wants of those that know only TXT.
func (s *suite) table() *testdns.Table {
	d := &testdns.Table{TXT: map[string][]string{}, MX: map[string][]string{}, IP: map[string][]string{}, PTR: map[string][]string{}, Fail: map[string]error{}}
	for pass := range 2 {
		for name, records := range s.Zone {
			name = strings.ToLower(name)
			key := name
			if strings.HasSuffix(name, ".arpa") {
				key = address(name)
			}
			for _, r := range records {
				switch r.Type {
				case "TXT":
					if pass == 0 && r.Value != "NONE" {
						d.TXT[name] = append(d.TXT[name], r.Value)
					}
				case "SPF":
					explicit := slices.ContainsFunc(records, func(o struct{ Type, Value string }) bool { return o.Type == "TXT" })
					if pass == 1 && !explicit && r.Value != "NONE" {
						d.TXT[name] = append(d.TXT[name], r.Value)
					}
				case "A", "AAAA":
					if pass == 0 {
						d.IP[name] = append(d.IP[name], r.Value)
					}
				case "MX":
					if pass == 0 {
						d.MX[name] = append(d.MX[name], r.Value)
					}
				case "PTR":
					if pass == 0 {
						d.PTR[key] = append(d.PTR[key], r.Value+".")
					}
				case "TIMEOUT", "CNAMELOOP":
					if slices.ContainsFunc(records, func(o struct{ Type, Value string }) bool { return o.Type == "TXT" && o.Value != "NONE" }) {
						break // only the old type of record is not answered
					}
					d.Fail[key] = &net.DNSError{Err: r.Type, IsTimeout: true}
				}
			}
		}
	}
	// What else there is of a name that has a CNAME is that of its target.
	for name, records := range s.Zone {
		for _, r := range records {
			if r.Type == "CNAME" {
				name, to := strings.ToLower(name), strings.ToLower(r.Value)
				key := name
				if strings.HasSuffix(name, ".arpa") {
					key = address(name)
				}
				if strings.HasSuffix(to, ".arpa") {
					d.PTR[key] = d.PTR[address(to)]
				}
				d.TXT[name], d.MX[name], d.IP[name] = d.TXT[to], d.MX[to], d.IP[to]
			}
		}
	}
	return d
}

// address is what a name below arpa is of, if it is of one.
func address(name string) string {
	text, v4 := strings.CutSuffix(name, ".in-addr.arpa")
	text, _ = strings.CutSuffix(text, ".ip6.arpa")
	parts := strings.Split(text, ".")
	slices.Reverse(parts)
	if v4 {
		return strings.Join(parts, ".")
	}
	var b strings.Builder
	for i, p := range parts {
		if i > 0 && i%4 == 0 {
			b.WriteByte(':')
		}
		b.WriteString(p)
	}
	ip, err := netip.ParseAddr(b.String())
	if err != nil {
		return name
	}
	return ip.String()
}

// from is a transaction at MAIL.
func from(ip, helo, sender string) *filter.Transaction {
	o := &mailkeel.Origin{Hello: helo}
	if ip != "" {
		o.Addr = netip.AddrPortFrom(netip.MustParseAddr(ip), 25)
	}
	return &filter.Transaction{Origin: o, Env: &mailkeel.Envelope{ID: "1", From: sender, Origin: o}}
}

// result is the first one.
func result(v filter.Verdict) *authres.SPFResult {
	if len(v.Results) == 0 {
		return &authres.SPFResult{}
	}
	return v.Results[0].(*authres.SPFResult)
}

// TestRFC7208 is the suite of openspf.org (T31).
func TestRFC7208(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc7208.json")
	if err != nil {
		t.Fatal(err)
	}
	var suites []suite
	if err := json.Unmarshal(data, &suites); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, s := range suites {
		d := s.table()
		for _, tt := range s.Tests {
			d.Forget()
			f := &spf.Filter{Resolver: d, Mode: filter.Mark, NoHelo: true}
			v, err := f.FilterSender(t.Context(), from(tt.Host, tt.Helo, tt.MailFrom))
			got := string(result(v).Value)
			if !slices.Contains(tt.Result, got) || (err != nil) != (got == "temperror") {
				t.Errorf("%s, %s: %s %v, want %s", s.Description, tt.Name, got, err, tt.Result)
				continue
			}
			if n := len(d.Asked()); n > 50 {
				t.Errorf("%s: %d questions", tt.Name, n)
			}
			passed++
		}
	}
	t.Logf("%d of the suite passed", passed)
	if passed < 203 {
		t.Errorf("%d passed", passed)
	}
}

// TestQuestionsAreBounded counts what hostile records make us ask (T31).
func TestQuestionsAreBounded(t *testing.T) {
	d := &testdns.Table{TXT: map[string][]string{}, MX: map[string][]string{}, IP: map[string][]string{}}
	many := func(term string) string {
		var b strings.Builder
		b.WriteString("v=spf1")
		for i := range 100 {
			fmt.Fprintf(&b, " "+term, i)
		}
		return b.String() + " -all"
	}
	for i := range 100 {
		name := fmt.Sprintf("h%d.example.com", i)
		d.IP[name] = []string{"198.51.100.1"}
		d.TXT[name] = []string{"v=spf1 ?all"}
		d.TXT[fmt.Sprintf("c%d.example.com", i)] = []string{fmt.Sprintf("v=spf1 include:c%d.example.com -all", i+1)}
		for j := range 10 {
			d.MX[name] = append(d.MX[name], fmt.Sprintf("m%d.h%d.example.com", j, i))
		}
	}
	for name, tt := range map[string]struct {
		record string
		max    int // questions, the one for the record included
	}{
		"addresses":  {many("a:h%d.example.com"), 1 + 10},
		"includes":   {many("include:h%d.example.com"), 1 + 10},
		"exists":     {many("exists:x%d.h%[1]d.example.com"), 1 + 3},
		"a chain":    {"v=spf1 include:c0.example.com -all", 1 + 10},
		"itself":     {"v=spf1 include:example.org -all", 1 + 10},
		"redirect":   {"v=spf1 redirect=example.org", 1 + 10},
		"in vain":    {many("a:v%d.example.com"), 1 + 3},
		"mx":         {many("mx:h%d.example.com"), 50},
		"ptr":        {many("ptr:h%d.example.com"), 1 + 1},
		"long names": {"v=spf1 a:" + strings.Repeat("x", 300) + ".example.com -all", 2},
	} {
		d.TXT["example.org"] = []string{tt.record}
		d.Forget()
		v, err := (&spf.Filter{Resolver: d, NoHelo: true}).FilterSender(t.Context(), from("192.0.2.1", "mail.example.net", "ann@example.org"))
		if n := len(d.Asked()); n > tt.max {
			t.Errorf("%s: %d questions", name, n)
		}
		if got := result(v).Value; err != nil || name != "ptr" && name != "long names" && got != authres.ResultPermError {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	d := &testdns.Table{TXT: map[string][]string{
		"yes.example":  {"v=spf1 ip4:192.0.2.1 -all"},
		"no.example":   {"v=spf1 -all"},
		"soft.example": {"v=spf1 ~all"},
		"bad.example":  {"v=spf1 what"},
	}, Fail: map[string]error{"down.example": testdns.Down}}
	for name, tt := range map[string]struct {
		helo, from string
		f          spf.Filter
		want       string // results, score, refusal
	}{
		"pass":                   {"yes.example", "a@yes.example", spf.Filter{}, "spf=pass smtp.mailfrom=a@yes.example 0.0 0"},
		"fail":                   {"yes.example", "a@no.example", spf.Filter{}, "spf=fail smtp.mailfrom=a@no.example; spf=pass smtp.helo=yes.example 3.0 550"},
		"fail, marked":           {"h.example", "a@no.example", spf.Filter{Mode: filter.Mark}, "spf=fail smtp.mailfrom=a@no.example 3.0 0"},
		"fail, logged":           {"h.example", "a@no.example", spf.Filter{Mode: filter.Log}, "spf=fail smtp.mailfrom=a@no.example 0.0 0"},
		"own scores":             {"h.example", "a@no.example", spf.Filter{Mode: filter.Mark, Scores: map[string]float64{"fail": 7}}, "spf=fail smtp.mailfrom=a@no.example 7.0 0"},
		"softfail":               {"h.example", "a@soft.example", spf.Filter{}, "spf=softfail smtp.mailfrom=a@soft.example 1.0 0"},
		"permerror":              {"h.example", "a@bad.example", spf.Filter{}, `spf=permerror reason="the record is wrong" smtp.mailfrom=a@bad.example 0.5 0`},
		"none":                   {"h.example", "a@nothing.example", spf.Filter{}, "spf=none smtp.mailfrom=a@nothing.example 0.0 0"},
		"HELO fails":             {"no.example", "a@yes.example", spf.Filter{Mode: filter.Mark}, "spf=pass smtp.mailfrom=a@yes.example; spf=fail smtp.helo=no.example 2.0 0"},
		"HELO fails, enforced":   {"no.example", "a@yes.example", spf.Filter{}, "spf=pass smtp.mailfrom=a@yes.example; spf=fail smtp.helo=no.example 2.0 550"},
		"HELO left alone":        {"no.example", "a@yes.example", spf.Filter{NoHelo: true}, "spf=pass smtp.mailfrom=a@yes.example 0.0 0"},
		"HELO of a bounce":       {"no.example", "", spf.Filter{NoHelo: true}, "spf=fail smtp.helo=no.example 3.0 550"},
		"HELO cannot be asked":   {"down.example", "a@yes.example", spf.Filter{}, `spf=pass smtp.mailfrom=a@yes.example; spf=temperror reason="DNS does not answer" smtp.helo=down.example 0.0 0`},
		"HELO is no name":        {"[192.0.2.1]", "", spf.Filter{}, "spf=none 0.0 0"},
		"a quoted local part":    {"h.example", `"a@no.example"@yes.example`, spf.Filter{}, "spf=pass smtp.mailfrom=yes.example 0.0 0"},
		"a forged result":        {"h.example", `"a\"; dkim=pass header.d=x.example (\"@yes.example`, spf.Filter{}, "spf=pass smtp.mailfrom=yes.example 0.0 0"},
		"upper case":             {"h.example", "A@YES.Example", spf.Filter{}, "spf=pass smtp.mailfrom=A@yes.example 0.0 0"},
		"a domain of one label":  {"h.example", "a@localhost", spf.Filter{}, "spf=none 0.0 0"},
		"no domain":              {"h.example", "postmaster", spf.Filter{}, "spf=none 0.0 0"},
		"an address for domain":  {"h.example", "a@[192.0.2.1]", spf.Filter{}, "spf=none 0.0 0"},
		"a name of other people": {"h.example", "a@büro.example", spf.Filter{}, "spf=none smtp.mailfrom=a@xn--bro-hoa.example 0.0 0"},
	} {
		tt.f.Resolver = d
		v, err := tt.f.FilterSender(t.Context(), from("192.0.2.1", tt.helo, tt.from))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		code := 0
		if v.Refuse != nil {
			code = v.Refuse.Code
		}
		text := strings.TrimPrefix(authres.Format("", v.Results), "; ")
		if got := fmt.Sprintf("%s %.1f %d", strings.ReplaceAll(strings.TrimSpace(text), "  ", " "), v.Score, code); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tt.want)
		}
		if (v.Why == "") != (v.Score == 0 && tt.f.Mode != filter.Log) {
			t.Errorf("%s: why %q", name, v.Why)
		}
	}
}

// TestWhenDNSIsAway: nobody is refused for it, unless the policy of the chain says to
// come again.
func TestWhenDNSIsAway(t *testing.T) {
	d := &testdns.Table{Fail: map[string]error{"down.example": testdns.Down}}
	c := &filter.Chain{Groups: [][]filter.Filter{{&spf.Filter{Resolver: d}}}}
	v := c.Run(t.Context(), filter.Sender, from("192.0.2.1", "h.example", "a@down.example"))
	if got := authres.Format("mx", v.Results); got != `mx; spf=temperror reason="DNS does not answer" smtp.mailfrom=a@down.example` || v.Refuse != nil || v.Score != 0 {
		t.Errorf("got %s, %+v", got, v)
	}
	c.OnError = filter.TryAgain
	if v := c.Run(t.Context(), filter.Sender, from("192.0.2.1", "h.example", "a@down.example")); v.Refuse == nil || v.Refuse.Code != 451 {
		t.Errorf("got %+v", v)
	}
}

// TestWhoIsNotJudged: those are asked nothing.
func TestWhoIsNotJudged(t *testing.T) {
	d := &testdns.Table{}
	f := &spf.Filter{Resolver: d}
	for name, edit := range map[string]func(*filter.Transaction){
		"trusted":       func(t *filter.Transaction) { t.Trusted = true },
		"logged in":     func(t *filter.Transaction) { t.Origin.Identity = "a1" },
		"a Unix socket": func(t *filter.Transaction) { t.Origin.Addr = netip.AddrPort{} },
	} {
		tx := from("192.0.2.1", "h.example", "a@no.example")
		edit(tx)
		if v, err := f.FilterSender(t.Context(), tx); err != nil || len(v.Results) > 0 || len(d.Asked()) > 0 {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func TestConformance(t *testing.T) {
	d := &testdns.Table{TXT: map[string][]string{"example.com": {"v=spf1 -all"}}}
	for _, m := range []filter.Mode{filter.Enforce, filter.Mark, filter.Log} {
		t.Run(m.String(), func(t *testing.T) {
			filtertest.Run(t, func(*testing.T) filter.Filter { return &spf.Filter{Resolver: d, Mode: m} })
		})
	}
}
