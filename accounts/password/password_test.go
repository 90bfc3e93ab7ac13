package password

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
)

var small = Params{Memory: 8, Time: 1, Threads: 1}

func TestVerifyKnowsThePasswordAndNoOther(t *testing.T) {
	h := &Hasher{Params: small}
	for _, pw := range []string{"correct horse", "", "pä\u00dfwörter", "\u2168x", strings.Repeat("x", MaxLen), "bad\xff"} {
		phc, err := h.Hash(t.Context(), pw)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(phc, "$argon2id$v=19$m=8,t=1,p=1$") {
			t.Errorf("got %s", phc)
		}
		for _, other := range []string{pw, pw + "x", strings.ToUpper(pw) + " ", strings.Repeat("x", MaxLen+1)} {
			ok, err := h.Verify(t.Context(), phc, other)
			if err != nil || ok != (other == pw) {
				t.Errorf("Verify(%q) of %q: %v, %v", other, pw, ok, err)
			}
		}
	}
}

func TestSaltsDiffer(t *testing.T) {
	h := &Hasher{Params: small}
	a, _ := h.Hash(t.Context(), "same")
	b, _ := h.Hash(t.Context(), "same")
	if a == b {
		t.Error("one salt for two hashes")
	}
}

func TestSameWordsTypedOtherwiseMatch(t *testing.T) {
	h := &Hasher{Params: small}
	phc, _ := h.Hash(t.Context(), "caf\u00e9 IX") // RFC 4013, 3: compatibility forms are one
	if ok, err := h.Verify(t.Context(), phc, "cafe\u0301 \u2168"); !ok || err != nil {
		t.Error("the decomposed form did not match", err)
	}
}

// A hash that the reference implementation (argon2-cffi, libargon2) prints for
// these inputs in its own test vectors.
func TestHashesOfOthersMatch(t *testing.T) {
	const phc = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	if ok, err := (&Hasher{}).Verify(t.Context(), phc, "password"); !ok || err != nil {
		t.Error(ok, err)
	}
}

// What nobody may tell apart by the work that is done.
func TestUnknownUserCostsAsMuchAsWrongPassword(t *testing.T) {
	var n int
	h := &Hasher{Params: small, Hashed: func() { n++ }}
	phc, _ := h.Hash(t.Context(), "right")
	for _, tt := range []struct{ name, phc, pw string }{
		{"right", phc, "right"}, {"wrong", phc, "wrong"}, {"unknown", "", "right"}, {"empty for unknown", "", ""},
		{"too long", phc, strings.Repeat("x", 1<<20)}, {"too long for unknown", "", strings.Repeat("x", 1<<20)},
	} {
		n = 0
		ok, err := h.Verify(t.Context(), tt.phc, tt.pw)
		if err != nil || n != 1 || ok != (tt.name == "right") {
			t.Errorf("%s: %v, %v with %d hashes, want 1", tt.name, ok, err, n)
		}
	}
}

func TestNoMoreHashesAtATimeThanAllowed(t *testing.T) {
	var now, most atomic.Int32
	h := &Hasher{Params: small, MaxParallel: 2}
	h.Hashed = func() { // still holds its slot
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		now.Add(-1)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := h.Verify(t.Context(), "", "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 2 {
		t.Errorf("%d at a time, want at most 2", most.Load())
	}
}

func TestWaitersHeedTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan bool)
		h := &Hasher{Params: small, MaxParallel: 1, Hashed: func() { <-hold }}
		done := make(chan error, 1)
		go func() {
			_, err := h.Verify(t.Context(), "", "x")
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Hash(ctx, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(hold)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestNeedsRehash(t *testing.T) {
	h := &Hasher{Params: small}
	phc, _ := h.Hash(t.Context(), "x")
	if h.NeedsRehash(phc) {
		t.Error("needs it at once")
	}
	if !(&Hasher{}).NeedsRehash(phc) || !h.NeedsRehash("$1$old$hash") {
		t.Error("not when the parameters changed")
	}
}

func TestParseTakesOnlyWhatIsBounded(t *testing.T) {
	const salt, hash = "c29tZXNhbHRzb21l", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	for _, ok := range []string{
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=262144,t=16,p=16$" + salt + "$" + hash,
	} {
		if _, err := Parse(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{
		"", "$", "plain", "$2y$10$abcdefghijklmnopqrstuv",
		"$argon2i$v=19$m=19456,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$m=19456,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=262145,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=18446744073709551616,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=4294967295,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=0,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=2,p=0$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=2,p=256$" + salt + "$" + hash,
		"$argon2id$v=19$m=8,t=2,p=2$" + salt + "$" + hash,
		"$argon2id$v=19$m=-8,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=+19456,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=019456,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$t=2,m=19456,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=2,p=1,keyid=x$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt,
		"$argon2id$v=19$m=19456,t=2,p=1$$" + hash,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + hash + "=",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + hash[:10] + "\r\n" + hash[10:],
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + hash + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 100) + "$" + hash,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + strings.Repeat("A", 1<<20),
	} {
		if _, err := Parse(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("took %.80q: %v", bad, err)
		}
		if ok, err := (&Hasher{}).Verify(t.Context(), bad, "x"); bad != "" && (ok || !errors.Is(err, ErrFormat)) {
			t.Errorf("Verify(%.80q): %v, %v", bad, ok, err)
		}
	}
}

func TestCheck(t *testing.T) {
	h := &Hasher{}
	for _, pw := range []string{"", "short", "aaaaaaaaaaaa", "12345678", "Password1!", "passw0rd", "ann@example.org", "EXAMPLE.org",
		"a\u00ad\u00ad\u00ad\u00ad\u00ad\u00ad\u00ad\u00ad", "tab\there in", "nul\x00 within", "not utf8 \xff", strings.Repeat("ab", MaxLen)} {
		if err := h.Check("ann@example.org", pw); !errors.Is(err, accounts.ErrWeakPassword) {
			t.Errorf("took %.40q: %v", pw, err)
		}
	}
	for _, pw := range []string{"correct horse", "pässwörter", "7391846205518", "password of my aunt"} {
		if err := h.Check("ann@example.org", pw); err != nil {
			t.Errorf("refused %q: %v", pw, err)
		}
	}
	if err := (&Hasher{MinLen: 4}).Check("", "x1y2"); err != nil {
		t.Error(err)
	}
}

// RFC 7677, 3: the exchange of user "user" with password "pencil".
func TestSCRAMVector(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	k, err := derive("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	auth := "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	m := hmac.New(sha256.New, k.ServerKey)
	m.Write([]byte(auth))
	if got := base64.StdEncoding.EncodeToString(m.Sum(nil)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Error("server signature", got)
	}
	proof, _ := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	sig := mac(k.StoredKey, auth)
	for i := range proof {
		proof[i] ^= sig[i]
	}
	if sum := sha256.Sum256(proof); string(sum[:]) != string(k.StoredKey) {
		t.Error("stored key")
	}
}

func TestSCRAMKeysMatchThoseOfAClient(t *testing.T) {
	h := &Hasher{}
	for _, pw := range []string{"correct horse", "caf\u00e9 \u2168", "pä\u00dfw"} {
		k, err := h.SCRAM(pw)
		if err != nil {
			t.Fatal(err)
		}
		c, err := scram.SHA256.NewClient("ann@example.org", pw, "")
		if err != nil {
			t.Fatal(err)
		}
		want, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations})
		if err != nil {
			t.Fatal(err)
		}
		if string(want.StoredKey) != string(k.StoredKey) || string(want.ServerKey) != string(k.ServerKey) || k.Iterations != 4096 {
			t.Errorf("keys of %q differ", pw)
		}
	}
	if k, _ := (&Hasher{Iterations: 10}).SCRAM("x"); k.Iterations != 4096 {
		t.Error("fewer iterations than RFC 7677 allows")
	}
}

func TestFakeKeysAreSteadyAndApart(t *testing.T) {
	h, secret := &Hasher{}, []byte("0123456789abcdef0123456789abcdef")
	a, again, other := h.FakeSCRAM(secret, "zoe@x.org"), h.FakeSCRAM(secret, "Zoe@X.org"), h.FakeSCRAM(secret, "bob@x.org")
	if string(a.Salt) != string(again.Salt) || string(a.StoredKey) != string(again.StoredKey) {
		t.Error("not the same again")
	}
	if string(a.Salt) == string(other.Salt) || len(a.Salt) != 16 || string(a.StoredKey) == string(a.ServerKey) {
		t.Error("not apart")
	}
	if b := h.FakeSCRAM([]byte("another secret"), "zoe@x.org"); string(a.Salt) == string(b.Salt) {
		t.Error("the secret does not matter")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parse(s)
		if err != nil {
			return
		}
		if d.String() != s {
			t.Errorf("%q prints as %q", s, d.String())
		}
		if d.Memory > maxMemory || d.Time > maxTime || d.Memory < 8*uint32(d.Threads) || d.Time == 0 || d.Threads == 0 {
			t.Errorf("out of bounds: %+v", d.Params)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := &Hasher{}
	for b.Loop() {
		if _, err := h.Verify(b.Context(), "", "x"); err != nil {
			b.Fatal(err)
		}
	}
}
