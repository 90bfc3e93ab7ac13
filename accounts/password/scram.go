package password

import (
	"cmp"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
)

// SCRAM derives the keys of a password with a new random salt (RFC 5802, 3 and
// RFC 7677).
func (h *Hasher) SCRAM(password string) (accounts.SCRAMKeys, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	keys, err := derive(password, salt, h.iterations())
	if h.Hashed != nil {
		h.Hashed()
	}
	return keys, err
}

// FakeSCRAM makes keys up for a login that does not exist, so that a client cannot
// tell: the same for the same secret and login in any case. Nobody knows a
// password that fits. secret is 32 random bytes that are kept.
func (h *Hasher) FakeSCRAM(secret []byte, login string) accounts.SCRAMKeys {
	login = strings.ToLower(login)
	return accounts.SCRAMKeys{
		Salt:       mac(secret, "salt "+login)[:16],
		Iterations: h.iterations(),
		StoredKey:  mac(secret, "stored "+login),
		ServerKey:  mac(secret, "server "+login),
	}
}

// iterations is the number for new keys, never below what RFC 7677 demands.
func (h *Hasher) iterations() int { return max(cmp.Or(h.Iterations, 4096), 4096) }

func derive(password string, salt []byte, iterations int) (accounts.SCRAMKeys, error) {
	salted, err := pbkdf2.Key(sha256.New, prepare(password), salt, iterations, sha256.Size)
	if err != nil {
		return accounts.SCRAMKeys{}, fmt.Errorf("password: %w", err)
	}
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	return accounts.SCRAMKeys{
		Salt: salt, Iterations: iterations,
		StoredKey: stored[:], ServerKey: mac(salted, "Server Key"),
	}, nil
}

func mac(key []byte, s string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s))
	return m.Sum(nil)
}
