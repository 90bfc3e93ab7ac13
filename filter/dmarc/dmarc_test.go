package dmarc_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dmarc"
	"github.com/mailkeel/mailkeel/filter/filtertest"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

// arrived is a transaction with a message and what was found about it.
func arrived(from, msg string, found ...authres.Result) *filter.Transaction {
	o := &mailkeel.Origin{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Hello: "mail.example.net"}
	return &filter.Transaction{Origin: o, Env: &mailkeel.Envelope{ID: "1", From: from, Origin: o}, Content: text(msg), Results: found}
}

func zone() *testdns.Table {
	return &testdns.Table{TXT: map[string][]string{
		"_dmarc.none.example":       {"v=DMARC1; p=none"},
		"_dmarc.quarantine.example": {"v=DMARC1; p=quarantine"},
		"_dmarc.reject.example":     {"v=DMARC1; p=reject; sp=none"},
		"_dmarc.some.example":       {"v=DMARC1; p=reject; pct=50"},
		"_dmarc.wrong.example":      {"v=DMARC1; p=what"},
	}, Fail: map[string]error{"_dmarc.down.example": testdns.Down}}
}

func bySPF(v authres.ResultValue, from string) *authres.SPFResult {
	return &authres.SPFResult{Value: v, From: from}
}
func byHelo(v authres.ResultValue, name string) *authres.SPFResult {
	return &authres.SPFResult{Value: v, Helo: name}
}
func byDKIM(v authres.ResultValue, d string) *authres.GenericResult {
	return &authres.GenericResult{Method: "dkim", Value: v, Params: map[string]string{"header.d": d}}
}

func TestVerdicts(t *testing.T) {
	d := zone()
	const why = `reason="neither SPF nor DKIM vouches, the policy is `
	for name, tt := range map[string]struct {
		author string // a From field, or several
		from   string
		found  []authres.Result
		f      dmarc.Filter
		want   string // result, score, code, junk
		error  bool
	}{
		"no policy":              {"a@nothing.example", "a@b.example", nil, dmarc.Filter{}, "none header.from=nothing.example 0 0 false", false},
		"p=none":                 {"a@none.example", "a@b.example", nil, dmarc.Filter{}, "fail " + why + `none" header.from=none.example 1 0 false`, false},
		"p=quarantine":           {"a@quarantine.example", "a@b.example", nil, dmarc.Filter{}, "fail " + why + `quarantine" header.from=quarantine.example 4 0 true`, false},
		"p=reject":               {"a@reject.example", "a@b.example", nil, dmarc.Filter{}, "fail " + why + `reject" header.from=reject.example 6 550 false`, false},
		"p=reject, marked":       {"a@reject.example", "a@b.example", nil, dmarc.Filter{Mode: filter.Mark}, "fail " + why + `reject" header.from=reject.example 6 0 true`, false},
		"p=reject, logged":       {"a@reject.example", "a@b.example", nil, dmarc.Filter{Mode: filter.Log}, "fail " + why + `reject" header.from=reject.example 0 0 false`, false},
		"own scores":             {"a@reject.example", "a@b.example", nil, dmarc.Filter{Mode: filter.Mark, Scores: map[string]float64{"reject": 9}}, "fail " + why + `reject" header.from=reject.example 9 0 true`, false},
		"sp=none":                {"a@sub.reject.example", "a@b.example", nil, dmarc.Filter{}, "fail " + why + `none" header.from=sub.reject.example 1 0 false`, false},
		"pct, drawn":             {"a@some.example", "", nil, dmarc.Filter{Draw: func(*mailkeel.Envelope) int { return 49 }}, "fail " + why + `reject" header.from=some.example 6 550 false`, false},
		"pct, not drawn":         {"a@some.example", "", nil, dmarc.Filter{Draw: func(*mailkeel.Envelope) int { return 50 }}, "fail " + why + `reject" header.from=some.example 4 0 true`, false},
		"SPF vouches":            {"a@reject.example", "a@reject.example", []authres.Result{bySPF("pass", "a@reject.example")}, dmarc.Filter{}, "pass header.from=reject.example 0 0 false", false},
		"SPF, only its domain":   {"a@reject.example", `"a@b"@reject.example`, []authres.Result{bySPF("pass", "reject.example")}, dmarc.Filter{}, "pass header.from=reject.example 0 0 false", false},
		"SPF of another":         {"a@reject.example", "a@b.example", []authres.Result{bySPF("pass", "a@b.example")}, dmarc.Filter{}, "fail " + why + `reject" header.from=reject.example 6 550 false`, false},
		"HELO does not":          {"a@reject.example", "a@b.example", []authres.Result{bySPF("none", "a@b.example"), byHelo("pass", "reject.example")}, dmarc.Filter{}, "fail " + why + `reject" header.from=reject.example 6 550 false`, false},
		"HELO of a bounce":       {"a@reject.example", "", []authres.Result{byHelo("pass", "reject.example")}, dmarc.Filter{}, "pass header.from=reject.example 0 0 false", false},
		"DKIM vouches":           {"a@reject.example", "a@b.example", []authres.Result{byDKIM("fail", "reject.example"), byDKIM("pass", "mail.reject.example")}, dmarc.Filter{}, "pass header.from=reject.example 0 0 false", false},
		"DKIM of a milter":       {"a@reject.example", "a@b.example", []authres.Result{&authres.DKIMResult{Value: "pass", Domain: "reject.example"}}, dmarc.Filter{}, "pass header.from=reject.example 0 0 false", false},
		"DKIM cannot be told":    {"a@reject.example", "a@b.example", []authres.Result{byDKIM("temperror", "reject.example")}, dmarc.Filter{}, `temperror reason="DNS does not answer for what may vouch" header.from=reject.example 0 0 false`, true},
		"SPF could not tell":     {"a@reject.example", "a@b.example", []authres.Result{&authres.GenericResult{Method: "spf", Value: "temperror"}}, dmarc.Filter{}, `temperror reason="DNS does not answer for what may vouch" header.from=reject.example 0 0 false`, true},
		"DNS is away":            {"a@down.example", "a@b.example", nil, dmarc.Filter{}, `temperror reason="DNS does not answer for the policy" header.from=down.example 0 0 false`, true},
		"the policy is wrong":    {"a@wrong.example", "a@b.example", nil, dmarc.Filter{}, `permerror reason="the policy is wrong" header.from=wrong.example 0 0 false`, false},
		"two From fields":        {"a@reject.example\r\nFrom: b@b.example", "a@reject.example", []authres.Result{bySPF("pass", "a@reject.example")}, dmarc.Filter{}, `fail reason="not one author, but 2 From fields" 4 0 true`, false},
		"two addresses":          {"a@reject.example, b@b.example", "a@reject.example", []authres.Result{bySPF("pass", "a@reject.example")}, dmarc.Filter{}, `fail reason="not one author, but 2 addresses in From" 4 0 true`, false},
		"two addresses, refused": {"a@reject.example, b@b.example", "", nil, dmarc.Filter{OneAuthor: true}, `fail reason="not one author, but 2 addresses in From" 4 550 true`, false},
		"two addresses, logged":  {"a@reject.example, b@b.example", "", nil, dmarc.Filter{OneAuthor: true, Mode: filter.Log}, `fail reason="not one author, but 2 addresses in From" 0 0 false`, false},
	} {
		tt.f.Resolver = d
		v, err := tt.f.FilterMessage(t.Context(), arrived(tt.from, "From: "+tt.author+"\r\nSubject: x\r\n\r\nbody\r\n", tt.found...))
		if (err != nil) != tt.error {
			t.Errorf("%s: %v", name, err)
		}
		code := 0
		if v.Refuse != nil {
			code = v.Refuse.Code
		}
		got := fmt.Sprintf("%s %v %d %v", strings.TrimPrefix(authres.Format("mx", v.Results), "mx; dmarc="), v.Score, code, v.Junk)
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tt.want)
		}
		if (v.Why != "") != strings.HasPrefix(got, "fail") {
			t.Errorf("%s: why %q", name, v.Why)
		}
	}
}

// TestDrawnByID: who is drawn depends on nothing but the ID, and is spread evenly.
func TestDrawnByID(t *testing.T) {
	f := &dmarc.Filter{Resolver: zone()}
	refused := 0
	for i := range 2000 {
		tx := arrived("a@b.example", "From: a@some.example\r\n\r\n")
		tx.Env.ID = fmt.Sprintf("id-%d", i)
		v, _ := f.FilterMessage(t.Context(), tx)
		again, _ := f.FilterMessage(t.Context(), tx)
		if (v.Refuse == nil) != (again.Refuse == nil) {
			t.Fatal("drawn twice")
		}
		if v.Refuse != nil {
			refused++
		}
	}
	if refused < 900 || refused > 1100 {
		t.Errorf("%d of 2,000 with pct=50", refused)
	}
}

// TestWhenDNSIsAway: the policy of the chain decides.
func TestWhenDNSIsAway(t *testing.T) {
	c := &filter.Chain{Groups: [][]filter.Filter{{&dmarc.Filter{Resolver: zone()}}}}
	tx := arrived("a@b.example", "From: a@down.example\r\n\r\n")
	if v := c.Run(t.Context(), filter.Message, tx); v.Refuse != nil || v.Junk || v.Score != 0 || len(v.Results) != 1 {
		t.Errorf("got %+v", v)
	}
	c.OnError = filter.TryAgain
	if v := c.Run(t.Context(), filter.Message, tx); v.Refuse == nil || v.Refuse.Code != 451 {
		t.Errorf("got %+v", v)
	}
}

func TestConformance(t *testing.T) {
	for _, m := range []filter.Mode{filter.Enforce, filter.Mark, filter.Log} {
		t.Run(m.String(), func(t *testing.T) {
			filtertest.Run(t, func(*testing.T) filter.Filter { return &dmarc.Filter{Resolver: zone(), Mode: m} },
				filtertest.Sample{Origin: *arrived("", "").Origin, From: "a@b.example", Rcpts: []string{"bob@example.org"}, Content: "From: a@reject.example\r\n\r\nx\r\n"},
				filtertest.Sample{Origin: *arrived("", "").Origin, From: "a@b.example", Rcpts: []string{"bob@example.org"}, Content: "From: a@reject.example, b\r\n\r\nx\r\n"})
		})
	}
}
