package imap

import (
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/message"
)

// errUnknownCTE is the answer to BINARY of what we cannot decode (RFC 9051,
// 6.4.5.2).
var errUnknownCTE = no(imap.ResponseCodeUnknownCTE, "Unknown content transfer encoding")

// decoded returns the part for BINARY, where it lies, and whether it is as it lies.
// A message and a multipart are as they are: their parts have encodings.
func (e *entry) decoded(numbers []int) (p *message.Part, x extent, plain bool, err error) {
	x, ok, err := e.locate(numbers, imap.PartSpecifierNone)
	if err != nil || !ok {
		return nil, x, false, err
	}
	root, err := e.structure()
	if err != nil {
		return nil, x, false, err
	}
	p = find(root, numbers)
	switch {
	case len(numbers) == 0 || len(p.Parts) > 0:
		return p, x, true, nil
	case !p.KnownEncoding():
		return nil, x, false, errUnknownCTE
	}
	return p, x, p.Encoding != "base64" && p.Encoding != "quoted-printable", nil
}

// writeBinary writes BINARY, after a space.
func (c *conn) writeBinary(e *entry, s *imap.FetchItemBinarySection) error {
	p, x, plain, err := e.decoded(s.Part)
	if err != nil {
		return err
	}
	c.w.sp()
	switch {
	case p == nil:
		c.w.raw("NIL")
		return nil
	case plain:
		return c.writeExtent(e, x.partial(s.Partial), true)
	}
	return c.writeDerived(s.Partial, true, func() (io.ReadCloser, error) {
		rc, err := c.open(e, x)
		if err != nil {
			return nil, err
		}
		return readCloser{p.Reader(rc), rc}, nil
	})
}

// binarySize is how many bytes BINARY gives; zero if there is no such part.
func (c *conn) binarySize(e *entry, numbers []int) (int64, error) {
	p, x, plain, err := e.decoded(numbers)
	if err != nil || p == nil || plain {
		if p == nil {
			x.n = 0
		}
		return x.n, err
	}
	rc, err := c.open(e, x)
	if err != nil {
		return 0, err
	}
	defer rc.Close()
	return io.Copy(io.Discard, p.Reader(rc))
}
