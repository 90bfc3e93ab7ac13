package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
)

// A KeyRing makes the keys of a domain when they are first asked for: one of RSA with
// 2,048 bits, which all understand, and one of Ed25519 (RFC 8463). It keeps them for
// good. The zero KeyRing has keys for any domain and keeps them in memory. It is used
// from many goroutines.
//
// Their selectors are "rsa-20260131" and "ed25519-20260131", with the day on which
// they were made, so that others can stand beside them.
type KeyRing struct {
	// Store, if set, is where keys are kept: as Objects of store.ServerAccount, so
	// that they are where the mail is, and in its backups. Several processes over one
	// database have the same keys. Only its Backend is used.
	Store *store.Store
	// Local reports whether a domain is ours; there are no keys for others. Nil means
	// that all are. See LocalTo.
	Local func(ctx context.Context, domain string) (bool, error)
	// NoRSA makes keys of Ed25519 alone, for tests: one of RSA takes a tenth of a
	// second to make.
	NoRSA bool
	Clock mailkeel.Clock // nil means real time

	mu    sync.Mutex
	rings map[string]*ring
}

var _ Keys = (*KeyRing)(nil)

// LocalTo returns a KeyRing.Local that asks a directory.
func LocalTo(d accounts.Directory) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, domain string) (bool, error) {
		switch _, err := d.Resolve(ctx, "postmaster@"+domain); {
		case errors.Is(err, accounts.ErrNotLocal), errors.Is(err, accounts.ErrBadAddress):
			return false, nil
		case err == nil, errors.Is(err, accounts.ErrNoUser), errors.Is(err, accounts.ErrExpansion):
			return true, nil
		default:
			return false, err
		}
	}
}

const (
	// keyKind is the Kind of the Objects; their ID is the domain.
	keyKind = "dkim-keys"
	// fresh is for how long keys are used without another look at the Store, where
	// somebody may have put others.
	fresh = time.Minute
	// maxRings bounds the domains whose keys are in memory.
	maxRings = 10_000
)

// A ring is the keys of one domain.
type ring struct {
	mu   sync.Mutex
	data []byte // as it is kept
	keys []Key
	read time.Time
}

// keptKeys is the Data of an Object, in JSON.
type keptKeys struct {
	Keys []keptKey `json:"keys"`
}

// A keptKey has its public half too, so that a private one that was damaged is not
// taken for another key.
type keptKey struct {
	Selector string    `json:"selector"`
	Created  time.Time `json:"created"`
	Private  []byte    `json:"private"` // PKCS #8
	Public   []byte    `json:"public"`  // PKIX
}

// Keys returns the two keys of a domain. The first time it makes them.
func (r *KeyRing) Keys(ctx context.Context, domain string) ([]Key, error) {
	if !validName(domain) {
		return nil, nil
	}
	if r.Local != nil {
		if ours, err := r.Local(ctx, domain); !ours || err != nil {
			return nil, err
		}
	}
	one := r.ring(domain)
	one.mu.Lock()
	defer one.mu.Unlock()
	now := mailkeel.ClockOr(r.Clock).Now()
	if age := now.Sub(one.read); one.keys != nil && (r.Store == nil || age >= 0 && age < fresh) {
		return one.keys, nil
	}
	data, err := r.load(ctx, domain, now)
	if err != nil {
		return nil, fmt.Errorf("dkim: keys of %s: %w", domain, err)
	}
	if one.keys == nil || !bytes.Equal(data, one.data) {
		keys, err := parseKeys(domain, data)
		if err != nil {
			return nil, fmt.Errorf("dkim: keys of %s: %w", domain, err)
		}
		one.keys, one.data = keys, data
	}
	one.read = now
	return one.keys, nil
}

func (r *KeyRing) ring(domain string) *ring {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.rings[domain]
	if one == nil {
		if r.rings == nil {
			r.rings = map[string]*ring{}
		}
		if len(r.rings) >= maxRings && r.Store != nil {
			clear(r.rings) // they are read again
		}
		one = new(ring)
		r.rings[domain] = one
	}
	return one
}

// load returns what is kept for a domain, and keeps new keys where there are none. They
// are made before the transaction, which others wait for.
func (r *KeyRing) load(ctx context.Context, domain string, now time.Time) ([]byte, error) {
	var data []byte
	if r.Store != nil {
		err := r.Store.Backend.View(ctx, func(tx store.Tx) error {
			data = nil
			for o, err := range tx.Objects(store.ServerAccount, store.ObjectQuery{Kind: keyKind, ID: domain}) {
				if err != nil {
					return err
				}
				data = o.Data
			}
			return nil
		})
		if err != nil || data != nil {
			return data, err
		}
	}
	data, err := r.generate(now)
	if err != nil || r.Store == nil {
		return data, err
	}
	o, err := r.Store.KeepObject(ctx, store.Object{Account: store.ServerAccount, Kind: keyKind, ID: domain, Data: data})
	return o.Data, err
}

// generate makes keys in the form in which they are kept.
func (r *KeyRing) generate(now time.Time) ([]byte, error) {
	now = now.UTC().Truncate(time.Second)
	var all keptKeys
	add := func(kind string, private crypto.Signer) error {
		k := keptKey{Selector: kind + now.Format("-20060102"), Created: now}
		var err error
		if k.Private, err = x509.MarshalPKCS8PrivateKey(private); err == nil {
			k.Public, err = x509.MarshalPKIXPublicKey(private.Public())
		}
		all.Keys = append(all.Keys, k)
		return err
	}
	if !r.NoRSA {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err == nil {
			err = add("rsa", private)
		}
		if err != nil {
			return nil, err
		}
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		err = add("ed25519", private)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

func parseKeys(domain string, data []byte) ([]Key, error) {
	var all keptKeys
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	var keys []Key
	for _, k := range all.Keys {
		private, err := x509.ParsePKCS8PrivateKey(k.Private)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrBadKey, k.Selector, err)
		}
		signer, _ := private.(crypto.Signer)
		key, err := NewKey(domain, k.Selector, signer)
		if err != nil {
			return nil, err
		}
		public, err := x509.MarshalPKIXPublicKey(signer.Public())
		if err != nil || !bytes.Equal(public, k.Public) {
			return nil, fmt.Errorf("%w: %s is damaged", ErrBadKey, k.Selector)
		}
		key.Created = k.Created
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrBadKey)
	}
	return keys, nil
}
