package dkim_test

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/ecdsa"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func TestKeysAreMadeOnceAndKept(t *testing.T) {
	clock := &testclock.Clock{}
	boxes := &store.Store{Backend: &memstore.Backend{}, Clock: clock}
	open := func() *dkim.KeyRing { return &dkim.KeyRing{Store: boxes, NoRSA: true, Clock: clock} }
	first, err := open().Keys(t.Context(), "example.org")
	if err != nil || len(first) != 1 {
		t.Fatalf("%v, %v", first, err)
	}
	clock.Advance(400 * 24 * time.Hour)
	second, err := open().Keys(t.Context(), "example.org")
	if err != nil || len(second) != 1 || second[0].Record() != first[0].Record() || second[0].Name() != "ed25519-20260102._domainkey.example.org" || !second[0].Created.Equal(testclock.Start) {
		t.Errorf("%v, %v, want %v", second, err, first)
	}
	other, err := open().Keys(t.Context(), "example.net")
	if err != nil || other[0].Record() == first[0].Record() {
		t.Error("two domains have one key")
	}
}

// TestNodesAgreeOnKeys has many nodes ask at once, over one database.
func TestNodesAgreeOnKeys(t *testing.T) {
	backend := &memstore.Backend{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	records := map[string]int{}
	for range 8 {
		node := &dkim.KeyRing{Store: &store.Store{Backend: backend}, NoRSA: true}
		for range 4 {
			wg.Go(func() {
				keys, err := node.Keys(t.Context(), "example.org")
				if err != nil || len(keys) != 1 {
					t.Errorf("%v, %v", keys, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				records[keys[0].Record()]++
			})
		}
	}
	wg.Wait()
	if len(records) != 1 {
		t.Errorf("%d different keys", len(records))
	}
}

func TestBothKindsOfKeys(t *testing.T) {
	keys, err := ring.Keys(t.Context(), "example.org")
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	for i, want := range []string{"v=DKIM1; k=rsa; p=", "v=DKIM1; k=ed25519; p="} {
		p, ok := strings.CutPrefix(keys[i].Record(), want)
		der, err := base64.StdEncoding.DecodeString(p)
		if !ok || err != nil {
			t.Errorf("%s: %v", keys[i].Record(), err)
		}
		if i == 0 {
			if pub, err := x509.ParsePKIXPublicKey(der); err != nil || pub.(*rsa.PublicKey).N.BitLen() != 2048 {
				t.Errorf("%v, %v", pub, err)
			}
		} else if len(der) != ed25519.PublicKeySize {
			t.Errorf("%d bytes of Ed25519", len(der))
		}
	}
	for _, d := range []string{"example.net", "Example.org", "", "x y", strings.Repeat("x.", 200)} {
		if keys, err := ring.Keys(t.Context(), d); len(keys) > 0 || err != nil {
			t.Errorf("%q: %v, %v", d, keys, err)
		}
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	keys, _ := ring.Keys(t.Context(), "example.org")
	for _, k := range append(keys, dkim.Key{}) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(verb, k); len(s) > 80 {
				t.Errorf("%s prints %s", verb, s)
			}
		}
	}
}

func TestBadKeys(t *testing.T) {
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	small.N.Rsh(small.N, 100) // as short as Go no longer makes them
	curve, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, good, _ := ed25519.GenerateKey(nil)
	for _, err := range []error{
		second(dkim.NewKey("example.org", "s", small)), second(dkim.NewKey("example.org", "s", curve)), second(dkim.NewKey("example.org", "s", nil)),
		second(dkim.NewKey("example.org", "s", good[:5])), second(dkim.NewKey("example.org", "a b", good)), second(dkim.NewKey("example.org;", "s", good)), second(dkim.NewKey("example.org", "", good)),
	} {
		if !errors.Is(err, dkim.ErrBadKey) {
			t.Errorf("%v, want ErrBadKey", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestDamagedKeysSignNothing flips each byte of what is kept: a key that is not as it
// was made is an error, or the same key.
func TestDamagedKeysSignNothing(t *testing.T) {
	boxes := &store.Store{Backend: &memstore.Backend{}}
	good, err := (&dkim.KeyRing{Store: boxes, NoRSA: true}).Keys(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := boxes.As(store.ServerAccount).Objects(t.Context(), store.ObjectQuery{})
	if err != nil || len(objects) != 1 {
		t.Fatalf("%v, %v", objects, err)
	}
	o := objects[0]
	for i := range o.Data {
		bad := o
		bad.Data = append([]byte(nil), o.Data...)
		bad.Data[i] ^= 4
		if _, err := boxes.PutObject(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
		keys, err := (&dkim.KeyRing{Store: boxes, NoRSA: true}).Keys(t.Context(), "example.org")
		if err == nil && (len(keys) != 1 || keys[0].Record() != good[0].Record()) {
			t.Errorf("byte %d: another key", i)
		}
	}
}

func TestLocalTo(t *testing.T) {
	users := &static.Directory{Accounts: []static.Account{{Account: accounts.Account{Address: "ann@example.org"}}}}
	for d, want := range map[string]bool{"example.org": true, "example.net": false, "sub.example.org": false} {
		if ours, err := dkim.LocalTo(users)(t.Context(), d); ours != want || err != nil {
			t.Errorf("%s: %v, %v", d, ours, err)
		}
	}
	down := &dkim.KeyRing{Local: func(context.Context, string) (bool, error) { return false, errors.New("down") }}
	if _, err := down.Keys(t.Context(), "example.org"); err == nil {
		t.Error("a directory that is down has no domains")
	}
}
