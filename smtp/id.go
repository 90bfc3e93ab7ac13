package smtp

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// digits are those of Crockford's base 32, in lower case; they sort like numbers.
const digits = "0123456789abcdefghjkmnpqrstvwxyz"

// newID makes an envelope ID: 26 letters and digits that sort by time, to the
// millisecond, with 80 random bits.
func newID(t time.Time) string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	binary.BigEndian.PutUint16(b[0:], uint16(t.UnixMilli()>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(t.UnixMilli()))
	hi, lo := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	var out [26]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}
