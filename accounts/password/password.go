// Package password keeps passwords as argon2id hashes and SCRAM-SHA-256 keys.
//
// A Hasher makes both and compares. It does as much work for a user who does not
// exist as for a wrong password, and computes no more hashes at a time than there
// are processors, so that a flood of logins cannot take the memory of the machine.
// Hashes are strings in PHC form, which other mail servers write too:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// Passwords are prepared with SASLprep (RFC 4013) where it takes them, and used
// as they are where it does not, so that one typed on another keyboard still
// matches and none is refused.
package password

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"runtime"
	"sync"

	"github.com/xdg-go/stringprep"
	"golang.org/x/crypto/argon2"
)

// MaxLen is the most bytes that a password may have. Longer ones are weak for
// Check and wrong for Verify.
const MaxLen = 1024

// A Hasher makes and compares hashes. The zero Hasher is ready to use and does
// what OWASP recommends. It is used from many goroutines and not copied.
type Hasher struct {
	// Params are those of new hashes.
	Params Params
	// Iterations is the number of SCRAM-SHA-256 iterations of new keys; zero
	// means 4096, the least that RFC 7677 allows.
	Iterations int
	// MaxParallel is how many hashes are computed at a time; zero means the
	// number of processors. Others wait for their turn.
	MaxParallel int
	// MinLen is the fewest characters of a password that Check takes; zero
	// means 8.
	MinLen int
	// Hashed is called after each argon2id hash and each set of SCRAM keys that
	// was computed, if it is set. Tests count with it.
	Hashed func()

	once sync.Once
	slot chan struct{}
}

// Hash returns the PHC string of a password with a new random salt. Its error is
// that of ctx, while it waits for its turn.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	p := h.params()
	d := decoded{Params: p, salt: make([]byte, 16)}
	rand.Read(d.salt)
	var err error
	if d.hash, err = h.compute(ctx, password, d.salt, p, 32); err != nil {
		return "", err
	}
	return d.String(), nil
}

// Verify reports whether password is the one that phc was made of, in a time that
// does not depend on where they differ. An empty phc stands for a user who does
// not exist or may not log in: a hash is computed all the same and the answer is
// no. ErrFormat if phc is not a hash that this package takes; else the error is
// that of ctx, while it waits for its turn.
func (h *Hasher) Verify(ctx context.Context, phc, password string) (bool, error) {
	d := decoded{Params: h.params(), salt: make([]byte, 16), hash: make([]byte, 32)}
	if phc != "" {
		var err error
		if d, err = parse(phc); err != nil {
			return false, err
		}
	}
	known := phc != "" && len(password) <= MaxLen
	if !known {
		password = ""
	}
	sum, err := h.compute(ctx, password, d.salt, d.Params, uint32(len(d.hash)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, d.hash) == 1 && known, nil
}

// NeedsRehash reports whether phc was made with other parameters than those of
// h, or cannot be read. Call it after a login, when the password is at hand.
func (h *Hasher) NeedsRehash(phc string) bool {
	d, err := parse(phc)
	return err != nil || d.Params != h.params()
}

// compute waits for a slot and hashes.
func (h *Hasher) compute(ctx context.Context, password string, salt []byte, p Params, n uint32) ([]byte, error) {
	h.once.Do(func() { h.slot = make(chan struct{}, cmp.Or(h.MaxParallel, runtime.NumCPU())) })
	select {
	case h.slot <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-h.slot }()
	if err := ctx.Err(); err != nil { // both were ready
		return nil, context.Cause(ctx)
	}
	sum := argon2.IDKey([]byte(prepare(password)), salt, p.Time, p.Memory, p.Threads, n)
	if h.Hashed != nil {
		h.Hashed()
	}
	return sum, nil
}

// params fills in the defaults.
func (h *Hasher) params() Params {
	p := h.Params
	p.Memory = cmp.Or(p.Memory, 19456)
	p.Time = cmp.Or(p.Time, 2)
	p.Threads = cmp.Or(p.Threads, 1)
	return p
}

// prepare is SASLprep as far as it goes.
func prepare(password string) string {
	if s, err := stringprep.SASLprep.Prepare(password); err == nil {
		return s
	}
	return password
}
