package mailauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/internal/header"
)

// MaxSignatures is how many DKIM signatures of one message are looked at, from the top:
// each costs a question and some work.
const MaxSignatures = 8

// A Signature is what came of one DKIM-Signature field.
type Signature struct {
	Domain   string // d=, in A-labels and lower case; "" if it cannot be read
	Selector string // s=
	// B is as much of the beginning of b= as tells it from the others (RFC 6008, 3).
	B string
	// Result is Pass; Fail, also for what is too weak or says that it is over; Neutral
	// if it fails and its key is for testing (RFC 6376, 3.6.1); PermError for what
	// cannot be understood or has no key; TempError if DNS did not answer.
	Result Result
	Err    error // why, unless it passed
}

// A verdict is an error and what it means.
type verdict struct {
	Result
	why string
}

func (v *verdict) Error() string { return v.why }

func failed(why string) error    { return &verdict{Fail, why} }
func malformed(why string) error { return &verdict{PermError, why} }

// VerifyDKIM checks the signatures of a message (RFC 6376, 6), in the order of their
// fields. Line ends that are a bare LF count as CRLF. Its error is one of r, or
// header.ErrTooLarge.
func VerifyDKIM(ctx context.Context, r TXTResolver, msg io.Reader, now time.Time) ([]Signature, error) {
	h, body, err := header.Read(msg, 0)
	if err != nil {
		return nil, err
	}
	var all []*signature
	for f := range h.All("DKIM-Signature") {
		if all = append(all, readSignature(f, now)); len(all) == MaxSignatures {
			break
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	var wg sync.WaitGroup
	for _, s := range all {
		if s.err == nil {
			wg.Go(func() { s.key, s.err = findKey(ctx, r, s) })
		}
	}
	wg.Wait()
	bodies := map[bool]*bodyHash{} // by whether it is relaxed
	for _, s := range all {
		if s.err == nil && bodies[s.relaxedBody] == nil {
			bodies[s.relaxedBody] = newBodyHash(s.relaxedBody)
		}
	}
	if len(bodies) > 0 {
		var ws []io.Writer
		for _, b := range bodies {
			ws = append(ws, b)
		}
		if _, err := io.Copy(io.MultiWriter(ws...), body); err != nil {
			return nil, err
		}
		sums := map[bool][]byte{}
		for relaxed, b := range bodies {
			sums[relaxed] = b.sum()
		}
		fields := newPicker(h)
		for _, s := range all {
			if s.err == nil {
				s.err = s.verify(fields, sums[s.relaxedBody])
			}
		}
	}
	out := make([]Signature, len(all))
	for i, s := range all {
		out[i] = Signature{s.domain, s.selector, unique(all, i), Pass, s.err}
		if s.err != nil {
			out[i].Result = outcome(s)
		}
	}
	return out, nil
}

// outcome is what the error of a signature means.
func outcome(s *signature) Result {
	var v *verdict
	switch {
	case !errors.As(s.err, &v):
		return TempError
	case s.key != nil && s.key.testing && v.Result != TempError:
		return Neutral
	}
	return v.Result
}

// verify compares the hash of the body, and checks the signature.
func (s *signature) verify(fields *picker, body []byte) error {
	if subtle.ConstantTimeCompare(body, s.bodyHash) != 1 {
		return failed("the body was changed")
	}
	sum := s.headerHash(fields)
	ok := false
	switch key := s.key.public.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, s.value) == nil
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, sum, s.value)
	}
	if !ok {
		return failed("the signature does not match")
	}
	return nil
}

// unique is the beginning of b= of the i-th signature, of at least 8 characters and
// longer if another begins so too.
func unique(all []*signature, i int) string {
	b := all[i].b
	for n := 8; n < len(b); n += 4 {
		alone := true
		for j, o := range all {
			alone = alone && (j == i || len(o.b) < n || o.b[:n] != b[:n])
		}
		if alone || n >= 40 {
			return b[:n]
		}
	}
	return b
}
