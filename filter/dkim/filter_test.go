package dkim_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"
	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/filter/filtertest"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

type came string

func (t came) Size() int64 { return int64(len(t)) }
func (t came) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

// arrived is a transaction with a whole message.
func arrived(msg string) *filter.Transaction {
	o := &mailkeel.Origin{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Hello: "mail.example.com"}
	return &filter.Transaction{Origin: o, Env: &mailkeel.Envelope{ID: "1", From: "ann@example.com", Origin: o}, Content: came(msg)}
}

// keyZone is a resolver with a key of example.com, and sign signs with it.
func keyZone() (d *testdns.Table, sign func(msg string, selector string) string) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	d = &testdns.Table{TXT: map[string][]string{}, Fail: map[string]error{}}
	return d, func(msg, selector string) string {
		d.TXT[selector+"._domainkey.example.com"] = []string{"k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))}
		var b strings.Builder
		err := msgauth.Sign(&b, strings.NewReader(msg), &msgauth.SignOptions{Domain: "example.com", Selector: selector, Signer: key})
		if err != nil {
			panic(err)
		}
		return b.String()
	}
}

const plain = "From: ann@example.com\r\nSubject: hello\r\n\r\nHello Bob.\r\n"

func TestFilterResults(t *testing.T) {
	d, sign := keyZone()
	d.Fail["away._domainkey.example.com"] = testdns.Down
	good, away := sign(plain, "a"), sign(plain, "away")
	both := sign(away, "b")
	for name, tt := range map[string]struct {
		msg   string
		f     dkim.Filter
		want  string // results, without header.b, and score
		error bool
	}{
		"no signature":     {plain, dkim.Filter{}, "dkim=none 0", false},
		"a score for none": {plain, dkim.Filter{Scores: map[string]float64{"none": 1}}, "dkim=none 1", false},
		"pass":             {good, dkim.Filter{}, "dkim=pass header.d=example.com header.s=a 0", false},
		"a score for pass": {good, dkim.Filter{Scores: map[string]float64{"pass": -1}}, "dkim=pass header.d=example.com header.s=a -1", false},
		"broken":           {good + "x", dkim.Filter{}, `dkim=fail reason="the body was changed" header.d=example.com header.s=a 0`, false},
		"broken, scored":   {good + "x", dkim.Filter{Scores: map[string]float64{"fail": 2}}, `dkim=fail reason="the body was changed" header.d=example.com header.s=a 2`, false},
		"only logged":      {good + "x", dkim.Filter{Mode: filter.Log, Scores: map[string]float64{"fail": 2}}, `dkim=fail reason="the body was changed" header.d=example.com header.s=a 0`, false},
		"DNS is away":      {away, dkim.Filter{}, `dkim=temperror reason="DNS does not answer for the key" header.d=example.com header.s=away 0`, true},
		"but one passes":   {both, dkim.Filter{}, `dkim=pass header.d=example.com header.s=b; dkim=temperror reason="DNS does not answer for the key" header.d=example.com header.s=away 0`, false},
		"a forged result":  {strings.Replace(good, "s=a;", `s="; dkim=pass header.d=evil.example (;`, 1), dkim.Filter{}, `dkim=permerror`, false},
		"a huge header":    {"X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", dkim.Filter{}, `dkim=permerror reason="header: too large"`, false},
	} {
		tt.f.Resolver = d
		v, err := tt.f.FilterMessage(t.Context(), arrived(tt.msg))
		if (err != nil) != tt.error {
			t.Errorf("%s: %v", name, err)
		}
		for _, r := range v.Results {
			if p := r.(*authres.GenericResult).Params; p != nil {
				if len(p["header.b"]) < 8 && p["header.d"] != "" {
					t.Errorf("%s: b %q", name, p["header.b"])
				}
				delete(p, "header.b")
			}
		}
		line := authres.Format("mx", v.Results)
		if parsed, err := msgauthParse(line); err != nil || parsed != len(v.Results) {
			t.Errorf("%s: %q is read as %d results, %v", name, line, parsed, err)
		}
		got := fmt.Sprintf("%s %v", strings.TrimSpace(strings.TrimPrefix(line, "mx; ")), v.Score)
		if !strings.HasPrefix(strings.ReplaceAll(got, "  ", " "), tt.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tt.want)
		}
		if (v.Why != "") != (v.Score != 0 || tt.f.Mode == filter.Log) {
			t.Errorf("%s: why %q", name, v.Why)
		}
	}
}

// msgauthParse is how many results another reader sees.
func msgauthParse(line string) (int, error) {
	_, all, err := authres.Parse(line)
	return len(all), err
}

func TestFilterWhoIsNotJudged(t *testing.T) {
	d, sign := keyZone()
	msg := sign(plain, "a")
	for name, edit := range map[string]func(*filter.Transaction){
		"trusted":   func(t *filter.Transaction) { t.Trusted = true },
		"logged in": func(t *filter.Transaction) { t.Origin.Identity = "a1" },
		"composed":  func(t *filter.Transaction) { t.Origin = nil },
	} {
		tx := arrived(msg)
		edit(tx)
		if v, err := (&dkim.Filter{Resolver: d}).FilterMessage(t.Context(), tx); err != nil || len(v.Results) > 0 || len(d.Asked()) > 0 {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func TestFilterConformance(t *testing.T) {
	d, sign := keyZone()
	d.Fail["down._domainkey.example.com"] = errors.New("down")
	filtertest.Run(t, func(*testing.T) filter.Filter { return &dkim.Filter{Resolver: d} },
		filtertest.Sample{Origin: *arrived("").Origin, From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: sign(sign(plain, "a"), "b")},
		filtertest.Sample{Origin: *arrived("").Origin, From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: sign(plain, "a") + "x"})
}
