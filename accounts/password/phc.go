package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// ErrFormat means that a string is not an argon2id hash in PHC form, or asks for
// more memory or time than this package gives.
var ErrFormat = errors.New("password: not an argon2id hash")

// What parse takes. A hash can come from an import or a directory that others
// write, so it does not decide how much memory we take.
const (
	maxMemory  = 256 << 10 // KiB
	maxTime    = 16
	maxThreads = 16
	maxPHC     = 512 // bytes
)

// Params say how hard a hash is. A zero field means the default.
type Params struct {
	Memory  uint32 // KiB; zero means 19456, at least 8 for each of Threads
	Time    uint32 // passes over it; zero means 2
	Threads uint8  // zero means 1
}

// decoded is a PHC string taken apart.
type decoded struct {
	Params
	salt, hash []byte
}

var b64 = base64.RawStdEncoding.Strict()

func (d decoded) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		d.Memory, d.Time, d.Threads, b64.EncodeToString(d.salt), b64.EncodeToString(d.hash))
}

// Parse returns the parameters of a PHC string, or ErrFormat. Imports check
// hashes with it before they store them.
func Parse(phc string) (Params, error) {
	d, err := parse(phc)
	return d.Params, err
}

func parse(phc string) (decoded, error) {
	d, why := split(phc)
	if why != "" {
		return decoded{}, fmt.Errorf("%w: %s", ErrFormat, why)
	}
	return d, nil
}

func split(phc string) (d decoded, why string) {
	if len(phc) > maxPHC {
		return d, "too long"
	}
	f := strings.Split(phc, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" {
		return d, "not of the form $argon2id$v=$m=,t=,p=$salt$hash"
	}
	if f[2] != "v="+strconv.Itoa(argon2.Version) {
		return d, "version"
	}
	params := strings.Split(f[3], ",")
	if len(params) != 3 {
		return d, "parameters"
	}
	m, ok1 := number(params[0], "m=", maxMemory)
	t, ok2 := number(params[1], "t=", maxTime)
	p, ok3 := number(params[2], "p=", maxThreads)
	if !ok1 || !ok2 || !ok3 || m < 8*p {
		return d, "parameters out of bounds"
	}
	d.Params = Params{Memory: m, Time: t, Threads: uint8(p)}
	if d.salt, ok1 = bytesOf(f[4], 8, 64); !ok1 {
		return d, "salt"
	}
	if d.hash, ok1 = bytesOf(f[5], 16, 64); !ok1 {
		return d, "hash"
	}
	return d, ""
}

// number reads a decimal of at least 1 without sign or leading zeros.
func number(s, key string, most uint32) (uint32, bool) {
	s, ok := strings.CutPrefix(s, key)
	if !ok || s == "" || len(s) > 9 || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && uint32(n) <= most
}

// bytesOf decodes base64 as PHC writes it: no padding, no line breaks, no bits
// left over.
func bytesOf(s string, least, most int) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") { // encoding/base64 passes over them
		return nil, false
	}
	b, err := b64.DecodeString(s)
	return b, err == nil && len(b) >= least && len(b) <= most
}
