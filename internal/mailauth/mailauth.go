package mailauth

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"
)

// An Arrival is a message as it came.
type Arrival struct {
	Addr  netip.Addr // who connected
	Hello string     // what it called itself
	From  string     // the reverse-path
	// Open returns the message as the sender sent it.
	Open func() (io.ReadCloser, error)
	Now  time.Time
}

// Results are what was found.
type Results struct {
	SPF  SPF         // of the reverse-path, or of HELO without one
	DKIM []Signature // in the order of the fields
	// DMARC is Pass if a domain that vouches is that of the author, None if the
	// author's domain has no policy, and Fail without exactly one author.
	DMARC  Result
	Author Author
	Policy Policy
	Err    error // why not, of DMARC
}

// Check asks DNS about an arrival. Its error is one of reading the message.
func Check(ctx context.Context, r Resolver, a Arrival) (Results, error) {
	out := Results{SPF: SPFMailFrom(ctx, r, a.Addr, a.Hello, a.From)}
	read := func(fn func(io.Reader) error) error {
		rc, err := a.Open()
		if err != nil {
			return err
		}
		defer rc.Close()
		return fn(rc)
	}
	err := read(func(r2 io.Reader) (err error) { out.DKIM, err = VerifyDKIM(ctx, r, r2, a.Now); return err })
	if err != nil {
		return out, err
	}
	err = read(func(r io.Reader) (err error) { out.Author, err = FindAuthor(r); return err })
	if errors.Is(err, ErrNoAuthor) {
		out.DMARC, out.Err = Fail, err
		return out, nil
	} else if err != nil {
		return out, err
	}
	out.Policy, out.Err = FindPolicy(ctx, r, out.Author.Domain)
	switch {
	case errors.Is(out.Err, ErrNoPolicy):
		out.DMARC, out.Err = None, nil
		return out, nil
	case errors.Is(out.Err, ErrTemporary):
		out.DMARC = TempError
		return out, nil
	case out.Err != nil:
		out.DMARC = PermError
		return out, nil
	}
	var signers []Voucher
	for _, s := range out.DKIM {
		signers = append(signers, Voucher{s.Result, s.Domain})
	}
	out.DMARC = out.Policy.Judge(out.Author.Domain, Voucher{out.SPF.Result, out.SPF.Domain}, signers)
	if out.DMARC != Pass {
		out.Err = errors.New("neither SPF nor a signature vouches for " + out.Author.Domain)
	}
	return out, nil
}
