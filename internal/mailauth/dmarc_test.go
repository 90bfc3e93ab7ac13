package mailauth_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mailkeel/mailkeel/internal/mailauth"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

func TestFindPolicy(t *testing.T) {
	d := &testdns.Table{TXT: map[string][]string{
		"_dmarc.none.example":        {"v=DMARC1; p=none"},
		"_dmarc.all.example":         {"v=spf1 -all", "v=DMARC1; p=reject; sp=quarantine; adkim=s; aspf=s; pct=20; rua=mailto:a@b.example; fo=1; ri=3600"},
		"_dmarc.own.all.example":     {"v=DMARC1; p=none"},
		"_dmarc.loud.example":        {"v=DMARC1;p=REJECT;ADKIM=S"},
		"_dmarc.two.example":         {"v=DMARC1; p=none", "v=DMARC1; p=reject"},
		"_dmarc.odd.example":         {"v=DMARC1; p=reject; adkim=x; pct=many; fo=z; ri=-1; sp=what; unknown=1"},
		"_dmarc.reports.example":     {"v=DMARC1; p=what; rua=mailto:a@b.example"},
		"_dmarc.wrong.example":       {"v=DMARC1; p=what"},
		"_dmarc.missing.example":     {"v=DMARC1"},
		"_dmarc.case.example":        {"v=dmarc1; p=reject"},
		"_dmarc.gov.uk":              {"v=DMARC1; p=reject"},
		"_dmarc.dept.gov.uk":         {"v=DMARC1; p=quarantine"},
		"_dmarc.xn--bro-hoa.example": {"v=DMARC1; p=reject"},
	}, Fail: map[string]error{"_dmarc.down.example": testdns.Down, "_dmarc.sub.half.example": testdns.Down}}
	for domain, want := range map[string]string{
		"none.example":          "none.example none 100 false false",
		"all.example":           "all.example reject 20 true true",
		"a.b.all.example":       "all.example quarantine 20 true true",
		"own.all.example":       "own.all.example none 100 false false",
		"sub.own.all.example":   "all.example quarantine 20 true true", // no walk up the tree
		"loud.example":          "loud.example reject 100 true false",
		"two.example":           "no policy",
		"odd.example":           "odd.example reject 100 false false",
		"reports.example":       "reports.example none 100 false false",
		"wrong.example":         "wrong",
		"missing.example":       "wrong",
		"case.example":          "no policy",
		"nothing.example":       "no policy",
		"example":               "no policy",
		"[192.0.2.1]":           "no policy",
		"x.dept.gov.uk":         "dept.gov.uk quarantine 100 false false",
		"x.other.gov.uk":        "no policy", // gov.uk is a public suffix
		"down.example":          "temporary",
		"sub.half.example":      "temporary",
		"x.xn--bro-hoa.example": "xn--bro-hoa.example reject 100 false false",
	} {
		p, err := mailauth.FindPolicy(t.Context(), d, domain)
		got := fmt.Sprintf("%s %s %d %v %v", p.Domain, p.Wish, p.Percent, p.StrictDKIM, p.StrictSPF)
		switch {
		case errors.Is(err, mailauth.ErrNoPolicy):
			got = "no policy"
		case errors.Is(err, mailauth.ErrTemporary):
			got = "temporary"
		case err != nil:
			got = "wrong"
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", domain, got, err, want)
		}
	}
}

func TestJudge(t *testing.T) {
	type vouchers = []mailauth.Voucher
	for name, tt := range map[string]struct {
		author             string
		strictSPF, strictD bool
		spf                mailauth.Voucher
		dkim               vouchers
		want               mailauth.Result
	}{
		"nobody":                     {author: "a.example", want: "fail"},
		"SPF":                        {author: "a.example", spf: mailauth.Voucher{Result: "pass", Domain: "a.example"}, want: "pass"},
		"SPF, in other case":         {author: "a.example", strictSPF: true, spf: mailauth.Voucher{Result: "pass", Domain: "A.Example"}, want: "pass"},
		"SPF of a subdomain":         {author: "a.example", spf: mailauth.Voucher{Result: "pass", Domain: "b.a.example"}, want: "pass"},
		"SPF of a domain above":      {author: "x.a.example", spf: mailauth.Voucher{Result: "pass", Domain: "a.example"}, want: "pass"},
		"SPF of a neighbour":         {author: "x.a.example", spf: mailauth.Voucher{Result: "pass", Domain: "y.a.example"}, want: "pass"},
		"SPF, strictly":              {author: "a.example", strictSPF: true, spf: mailauth.Voucher{Result: "pass", Domain: "b.a.example"}, want: "fail"},
		"SPF of another":             {author: "a.example", spf: mailauth.Voucher{Result: "pass", Domain: "b.example"}, want: "fail"},
		"SPF softfails":              {author: "a.example", spf: mailauth.Voucher{Result: "softfail", Domain: "a.example"}, want: "fail"},
		"below a public suffix":      {author: "a.co.uk", spf: mailauth.Voucher{Result: "pass", Domain: "b.co.uk"}, want: "fail"},
		"a public suffix":            {author: "a.co.uk", spf: mailauth.Voucher{Result: "pass", Domain: "co.uk"}, want: "fail"},
		"DKIM":                       {author: "a.example", dkim: vouchers{{"fail", "a.example"}, {"pass", "b.example"}, {"pass", "a.example"}}, want: "pass"},
		"DKIM of another":            {author: "a.example", dkim: vouchers{{"pass", "b.example"}}, want: "fail"},
		"DKIM, strictly":             {author: "x.a.example", strictD: true, dkim: vouchers{{"pass", "a.example"}}, want: "fail"},
		"DKIM for testing":           {author: "a.example", dkim: vouchers{{"neutral", "a.example"}}, want: "fail"},
		"DKIM cannot be told":        {author: "a.example", dkim: vouchers{{"temperror", "a.example"}}, want: "temperror"},
		"that of another cannot be":  {author: "a.example", dkim: vouchers{{"temperror", "b.example"}}, want: "fail"},
		"DKIM did not answer at all": {author: "a.example", dkim: vouchers{{"temperror", ""}}, want: "temperror"},
		"SPF cannot be told":         {author: "a.example", spf: mailauth.Voucher{Result: "temperror", Domain: "a.example"}, want: "temperror"},
		"but DKIM vouches":           {author: "a.example", spf: mailauth.Voucher{Result: "temperror", Domain: "a.example"}, dkim: vouchers{{"pass", "a.example"}}, want: "pass"},
		"nor the other way":          {author: "a.example", spf: mailauth.Voucher{Result: "pass", Domain: "a.example"}, dkim: vouchers{{"temperror", "a.example"}}, want: "pass"},
		"no domain vouches":          {author: "a.example", dkim: vouchers{{"pass", ""}}, want: "fail"},
	} {
		p := mailauth.Policy{StrictSPF: tt.strictSPF, StrictDKIM: tt.strictD}
		if got := p.Judge(tt.author, tt.spf, tt.dkim); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestSampled(t *testing.T) {
	for wish, milder := range map[string]string{"reject": "quarantine", "quarantine": "none", "none": "none"} {
		p := mailauth.Policy{Wish: wish, Percent: 30}
		n := 0
		for i := range 100 {
			switch p.Sampled(i) {
			case wish:
				n++
			case milder:
			default:
				t.Errorf("%s: %s", wish, p.Sampled(i))
			}
		}
		if wish != milder && n != 30 {
			t.Errorf("%s: %d of 100", wish, n)
		}
	}
}
