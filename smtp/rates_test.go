package smtp_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/rate"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// rated is a server whose clients may do n of each thing in a minute.
func rated(t *testing.T, l rate.Limits, change func(*smtp.Server)) (*rig, *testclock.Clock) {
	clock := &testclock.Clock{}
	return newRig(t, func(s *smtp.Server) {
		s.Clock, s.Auth = clock, users()
		s.Filters = &filter.Chain{Clock: clock, Groups: [][]filter.Filter{{&rate.Filter{KV: &memstore.KV{Clock: clock}, Clock: clock, Address: l, Account: l}}}}
		if change != nil {
			change(s)
		}
	}), clock
}

func few(n int) []rate.Limit { return []rate.Limit{{N: n, Per: time.Minute}} }

func TestConnectionsAreRated(t *testing.T) {
	r, clock := rated(t, rate.Limits{Conns: few(2)}, nil)
	for range 2 { // STARTTLS does not count again
		p := dial(t, r.addr).hello().do("STARTTLS", "220 ")
		p.startTLS()
		p.do("EHLO client.example.net", "250-", "QUIT", "221 ")
	}
	p := dial(t, r.addr)
	p.want("421 4.7.0 mx.example.org too many connections")
	p.ended()
	clock.Advance(30 * time.Second)
	dial(t, r.addr).hello()
}

func TestMessagesAndRecipientsAreRated(t *testing.T) {
	r, clock := rated(t, rate.Limits{Messages: few(3), Rcpts: few(2)}, nil)
	p := dial(t, r.addr).hello()
	p.do("MAIL FROM:<zoe@far.example>", "250 ",
		"RCPT TO:<ann@example.org>", "250 ", "RCPT TO:<bob@example.org>", "250 ", "RCPT TO:<away@example.org>", "450 4.7.1 too many recipients",
		"RSET", "250 ", "MAIL FROM:<zoe@far.example>", "250 ", "RSET", "250 ", "MAIL FROM:<zoe@far.example>", "250 ", "RSET", "250 ",
		"MAIL FROM:<zoe@far.example>", "450 4.7.1 too many messages")
	clock.Advance(time.Minute)
	if got := p.mail("zoe@far.example", "ann@example.org", "Subject: x\r\n\r\n"); !strings.HasPrefix(got, "250 ") {
		t.Error(got)
	}
}

func TestAccountsAreRatedWhereverTheyAre(t *testing.T) {
	r, _ := rated(t, rate.Limits{Conns: []rate.Limit{}, Messages: few(1)}, func(s *smtp.Server) { s.Submission = true })
	for i, want := range []string{"250 ", "450 4.7.1 "} {
		p := dialTLS(t, r.tls).hello().login("ann@example.org", "secret-a1")
		p.do("MAIL FROM:<ann@example.org>", want)
		if i == 1 {
			continue
		}
		p.do("RSET", "250 ")
	}
	dialTLS(t, r.tls).hello().login("bob@example.org", "secret-b2").do("MAIL FROM:<bob@example.org>", "250 ")
}

func TestTrustedClientsAreNotRated(t *testing.T) {
	r, _ := rated(t, rate.Limits{Conns: few(1), Messages: few(1), Rcpts: few(1)}, func(s *smtp.Server) {
		s.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for range 3 {
		p := dial(t, r.addr).hello()
		for range 2 {
			if got := p.mail("zoe@far.example", "ann@example.org", "Subject: x\r\n\r\n"); !strings.HasPrefix(got, "250 ") {
				t.Error(got)
			}
		}
	}
}
