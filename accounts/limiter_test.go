package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// guarded is a limiter over an Authenticator that counts what gets through to it.
type guarded struct {
	accounts.Authenticator
	clock *testclock.Clock
	asked *atomic.Int64
}

// check knows one password for all.
type check struct{ asked atomic.Int64 }

func (c *check) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	c.asked.Add(1)
	switch a.Password {
	case "right":
		return accounts.Login{Account: "a1"}, nil
	case "broken":
		return accounts.Login{}, errors.New("disk full")
	}
	return accounts.Login{}, accounts.ErrBadCredentials
}

func limited(l *accounts.Limiter) guarded {
	clock, c := &testclock.Clock{}, &check{}
	l.Clock = clock
	if l.KV == nil {
		l.KV = &memstore.KV{Clock: clock}
	}
	return guarded{l.Wrap(c), clock, &c.asked}
}

func attempt(login, addr, password string) accounts.Attempt {
	a, _ := netip.ParseAddr(addr)
	return accounts.Attempt{Login: login, Password: password, Addr: a}
}

// expect makes one attempt and checks its error, and that a throttled one did not
// reach the password.
func (g guarded) expect(t *testing.T, want error, login, addr, password string) {
	t.Helper()
	before := g.asked.Load()
	_, err := g.Authenticate(t.Context(), attempt(login, addr, password))
	if !errors.Is(err, want) {
		t.Errorf("%s from %s with %q: %v, want %v", login, addr, password, err, want)
	}
	if asked := g.asked.Load() > before; asked == errors.Is(want, accounts.ErrThrottled) {
		t.Errorf("%s from %s: password looked at: %v", login, addr, asked)
	}
}

var wrong, throttled = accounts.ErrBadCredentials, accounts.ErrThrottled

func TestTenWrongLoginsThenGrowingDelays(t *testing.T) {
	g := limited(&accounts.Limiter{})
	for range 10 {
		g.expect(t, wrong, "ann@x.org", "192.0.2.1", "guess")
	}
	for _, delay := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		g.expect(t, throttled, "ann@x.org", "192.0.2.1", "right")
		g.clock.Advance(delay*time.Second - 1)
		g.expect(t, throttled, "Ann@X.org", "192.0.2.200", "guess") // her neighbour, and the same address
		g.clock.Advance(1)
		g.expect(t, wrong, "ann@x.org", "192.0.2.7", "guess")
	}
	g.expect(t, wrong, "ann@x.org", "192.0.3.1", "guess") // another network
	g.expect(t, nil, "bob@x.org", "192.0.2.1", "right")   // another login
	g.clock.Advance(time.Minute)
	g.expect(t, nil, "ann@x.org", "192.0.2.9", "right")
	for range 10 { // forgotten
		g.expect(t, wrong, "ann@x.org", "192.0.2.1", "guess")
	}
	g.expect(t, throttled, "ann@x.org", "192.0.2.1", "guess")
	g.clock.Advance(time.Hour)
	for range 10 { // and again
		g.expect(t, wrong, "ann@x.org", "192.0.2.1", "guess")
	}
}

func TestNetworksOfIPv6(t *testing.T) {
	g := limited(&accounts.Limiter{Free: 1})
	g.expect(t, wrong, "ann@x.org", "2001:db8::1", "guess")
	g.expect(t, throttled, "ann@x.org", "2001:db8::ffff:0:0:1", "right")
	g.expect(t, wrong, "ann@x.org", "2001:db8:0:1::1", "guess")
	g.expect(t, wrong, "ann@x.org", "192.0.2.1", "guess")
	g.expect(t, throttled, "ann@x.org", "::ffff:192.0.2.2", "right")
	g.expect(t, wrong, "ann@x.org", "", "guess") // a Unix socket
	g.expect(t, throttled, "ann@x.org", "", "right")
}

// Nobody can keep the owner out where the owner is known, neither from the same
// network nor from everywhere at once (T9).
func TestOwnerIsNotLockedOutWhereKnown(t *testing.T) {
	g := limited(&accounts.Limiter{})
	g.expect(t, nil, "ann@x.org", "192.0.2.1", "right")
	g.expect(t, nil, "ann@x.org", "2001:db8::1", "right")
	for i := range 500 {
		for _, addr := range []string{"192.0.2.66", fmt.Sprintf("127.%d.%d.1", i/250, i%250)} {
			if _, err := g.Authenticate(t.Context(), attempt("ann@x.org", addr, "guess")); err == nil {
				t.Fatal("a guess was right")
			}
		}
		g.expect(t, nil, "ann@x.org", "192.0.2.1", "right")
		g.expect(t, nil, "ann@x.org", "2001:db8::2", "right") // the same host on another day
	}
	// From there, too, guesses are slow.
	for range 10 {
		g.expect(t, wrong, "ann@x.org", "192.0.2.1", "guess")
	}
	g.expect(t, throttled, "ann@x.org", "192.0.2.1", "guess")
	g.expect(t, nil, "ann@x.org", "2001:db8::2", "right")
	g.clock.Advance(91 * 24 * time.Hour) // nobody is known for ever
	for range 10 {
		g.expect(t, wrong, "ann@x.org", "192.0.2.9", "guess")
	}
	g.expect(t, throttled, "ann@x.org", "192.0.2.1", "right")
}

// 10,000 guesses in 1,000 seconds, from 10,000 networks (T9).
func TestManyNetworksGuessOncePerSecond(t *testing.T) {
	g := limited(&accounts.Limiter{})
	for i := range 10000 {
		if _, err := g.Authenticate(t.Context(), attempt("ann@x.org", fmt.Sprintf("127.%d.%d.1", i/250, i%250), "guess")); err == nil {
			t.Fatal("a guess was right")
		}
		g.clock.Advance(time.Second / 10)
	}
	if n := g.asked.Load(); n > 100+1000 || n < 1000 {
		t.Errorf("%d guesses were looked at, want 100 and then one each second", n)
	}
}

// One network that tries many logins is slowed down too.
func TestSprayingIsSlow(t *testing.T) {
	g := limited(&accounts.Limiter{})
	for i := range 5000 {
		if _, err := g.Authenticate(t.Context(), attempt(fmt.Sprintf("u%d@x.org", i), "127.0.0.1", "guess")); err == nil {
			t.Fatal("a guess was right")
		}
	}
	if n := g.asked.Load(); n != 100 {
		t.Errorf("%d guesses were looked at, want 100", n)
	}
	g.expect(t, wrong, "ann@x.org", "127.0.1.1", "guess")
}

func TestBurstOfGuesses(t *testing.T) {
	g := limited(&accounts.Limiter{})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() { g.Authenticate(t.Context(), attempt("ann@x.org", "127.0.0.1", "guess")) })
	}
	wg.Wait()
	if n := g.asked.Load(); n < 10 || n > 13 {
		t.Errorf("%d guesses of a burst were looked at, want 10 and at most 3 more", n)
	}
}

func TestManyRightLoginsAtATime(t *testing.T) {
	g := limited(&accounts.Limiter{})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := g.Authenticate(t.Context(), attempt("ann@x.org", "127.0.0.1", "right")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOtherErrorsDoNotCount(t *testing.T) {
	g := limited(&accounts.Limiter{Free: 2})
	for range 20 {
		if _, err := g.Authenticate(t.Context(), attempt("ann@x.org", "127.0.0.1", "broken")); err == nil || errors.Is(err, throttled) {
			t.Fatal(err)
		}
	}
	g.expect(t, wrong, "ann@x.org", "127.0.0.1", "guess")
	g.expect(t, wrong, "ann@x.org", "127.0.0.1", "guess")
	g.clock.Advance(time.Second)
	if _, err := g.Authenticate(t.Context(), attempt("ann@x.org", "127.0.0.1", "broken")); errors.Is(err, throttled) {
		t.Error(err)
	}
	g.clock.Advance(2 * time.Second)
	g.expect(t, wrong, "ann@x.org", "127.0.0.1", "guess")
	g.clock.Advance(2 * time.Second) // it is the third, not the fourth
	g.expect(t, nil, "ann@x.org", "127.0.0.1", "right")
}

// noKV fails.
type noKV struct{}

func (noKV) Update(context.Context, string, time.Duration, func([]byte) ([]byte, error)) error {
	return errors.New("no connection")
}

func TestLoginsGoOnWithoutCounters(t *testing.T) {
	g := limited(&accounts.Limiter{KV: noKV{}})
	for range 50 {
		g.expect(t, wrong, "ann@x.org", "127.0.0.1", "guess")
	}
	g.expect(t, nil, "ann@x.org", "127.0.0.1", "right")
}

func TestWaitersOfALaneHeedTheirContext(t *testing.T) {
	hold, in := make(chan bool), make(chan bool, 4)
	l := &accounts.Limiter{KV: &memstore.KV{}}
	a := l.Wrap(stuck{hold, in})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { a.Authenticate(t.Context(), attempt("ann@x.org", "127.0.0.1", "x")) })
		<-in
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Authenticate(ctx, attempt("ann@x.org", "127.0.0.1", "x")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hold)
	wg.Wait()
}

type stuck struct{ hold, in chan bool }

func (s stuck) Authenticate(context.Context, accounts.Attempt) (accounts.Login, error) {
	s.in <- true
	<-s.hold
	return accounts.Login{}, nil
}

func TestPanicsLeaveTheLane(t *testing.T) {
	l := &accounts.Limiter{KV: &memstore.KV{}}
	a := l.Wrap(panics{})
	for range 10 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			a.Authenticate(t.Context(), attempt("ann@x.org", "127.0.0.1", "x"))
		}()
	}
}

type panics struct{}

func (panics) Authenticate(context.Context, accounts.Attempt) (accounts.Login, error) { panic("boom") }

type settable struct{ *static.Directory }

func (settable) SetPassword(context.Context, accounts.Attempt, string) error { return wrong }

// What is wrapped can what it could, and no more.
func TestWrapKeepsThePowers(t *testing.T) {
	l := &accounts.Limiter{KV: &memstore.KV{}}
	token := func(context.Context, accounts.Attempt) (string, []string, error) { return "", nil, wrong }
	for i := range 16 {
		d := &static.Directory{Impersonation: i&1 > 0}
		if i&2 > 0 {
			d.Tokens = token
		}
		if i&4 > 0 {
			d.Certificates = accounts.CertificateAddress
		}
		var a accounts.Authenticator = d
		if i&8 > 0 {
			a = settable{d}
		}
		w := l.Wrap(a)
		_, act := accounts.ImpersonatorOf(w)
		_, tok := accounts.TokensOf(w)
		_, cert := accounts.CertificatesOf(w)
		_, set := w.(accounts.PasswordSetter)
		if act != (i&1 > 0) || tok != (i&2 > 0) || cert != (i&4 > 0) || set != (i&8 > 0) {
			t.Errorf("%04b: act %v, tokens %v, certificates %v, setter %v", i, act, tok, cert, set)
		}
	}
	for _, a := range []accounts.Authenticator{new(check), struct{ accounts.Authenticator }{new(check)}} {
		w := l.Wrap(a)
		_, s := accounts.SCRAMOf(w)
		_, k := accounts.TokensOf(w)
		_, c := accounts.CertificatesOf(w)
		_, i := accounts.ImpersonatorOf(w)
		if s || k || c || i || !accounts.HasPasswords(w) {
			t.Errorf("%T: scram %v, tokens %v, certificates %v, acting %v", a, s, k, c, i)
		}
		// Who asks the type is refused, not let in.
		if l, err := w.(accounts.TokenAuthenticator).AuthenticateToken(t.Context(), attempt("", "127.0.0.1", "x")); !errors.Is(err, wrong) {
			t.Error(l, err)
		}
		if l, err := w.(accounts.Impersonator).Impersonate(t.Context(), accounts.Login{AdminOf: []string{"*"}}, "ann@x.org"); !errors.Is(err, accounts.ErrMayNotAct) {
			t.Error(l, err)
		}
	}
	if _, ok := accounts.SCRAMOf(l.Wrap(&static.Directory{})); !ok {
		t.Error("SCRAM was lost")
	}
}

func TestSCRAMIsLimitedLikePasswords(t *testing.T) {
	clock := &testclock.Clock{}
	d := &static.Directory{Accounts: []static.Account{{Account: accounts.Account{ID: "a1", Address: "ann@x.org"}, Password: "right"}}}
	a := (&accounts.Limiter{KV: &memstore.KV{Clock: clock}, Clock: clock}).Wrap(d)
	s, _ := accounts.SCRAMOf(a)
	who := attempt("ann@x.org", "127.0.0.1", "")
	for range 10 {
		if _, err := s.SCRAMKeys(t.Context(), who); err != nil {
			t.Fatal(err)
		}
		if _, err := s.SCRAMDone(t.Context(), who, false); !errors.Is(err, wrong) {
			t.Fatal(err)
		}
	}
	for _, ok := range []bool{true, false} { // of exchanges that began before
		if _, err := s.SCRAMDone(t.Context(), who, ok); !errors.Is(err, throttled) {
			t.Errorf("proof %v: %v", ok, err)
		}
	}
	if _, err := s.SCRAMKeys(t.Context(), who); !errors.Is(err, throttled) {
		t.Error(err)
	}
	who.Password = "right"
	if _, err := a.Authenticate(t.Context(), who); !errors.Is(err, throttled) {
		t.Error(err)
	}
	clock.Advance(time.Second)
	if _, err := s.SCRAMKeys(t.Context(), who); err != nil {
		t.Error(err)
	}
	if l, err := s.SCRAMDone(t.Context(), who, true); err != nil || l.Account != "a1" {
		t.Error(l, err)
	}
}

// Tokens and password changes of one network are counted as logins are.
func TestTokensAndPasswordChanges(t *testing.T) {
	for name, fn := range map[string]func(accounts.Authenticator) error{
		"token": func(a accounts.Authenticator) error {
			_, err := a.(accounts.TokenAuthenticator).AuthenticateToken(t.Context(), attempt("", "127.0.0.1", "guess"))
			return err
		},
		"password change": func(a accounts.Authenticator) error {
			return a.(accounts.PasswordSetter).SetPassword(t.Context(), attempt("ann@x.org", "127.0.0.1", "guess"), "new")
		},
	} {
		a := (&accounts.Limiter{KV: &memstore.KV{}, Clock: &testclock.Clock{}, FreeNet: 10}).Wrap(refuses{})
		for range 10 {
			if err := fn(a); !errors.Is(err, wrong) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if err := fn(a); !errors.Is(err, throttled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type refuses struct{}

func (refuses) Authenticate(context.Context, accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{}, wrong
}
func (refuses) AuthenticateToken(context.Context, accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{}, wrong
}
func (refuses) SetPassword(context.Context, accounts.Attempt, string) error { return wrong }

// A limited directory still keeps the promises of a directory.
func TestLimitedDirectoryConforms(t *testing.T) {
	accountstest.Run(t, func(t *testing.T, f accountstest.Fixture) accountstest.Subject {
		var n int
		d := &static.Directory{Domains: f.Domains, Aliases: f.Aliases, Compared: func() { n++ }}
		d.Tokens, d.Certificates, d.Impersonation = accountstest.Token, accounts.CertificateAddress, true
		d.Hasher = &password.Hasher{Hashed: d.Compared}
		for _, a := range f.Accounts {
			d.Accounts = append(d.Accounts, static.Account{Account: a.Account, Password: a.Password})
		}
		l := &accounts.Limiter{KV: &memstore.KV{}, Clock: &testclock.Clock{}}
		return accountstest.Subject{Directory: d, Auth: l.Wrap(d), Work: func() int { return n }}
	})
}
