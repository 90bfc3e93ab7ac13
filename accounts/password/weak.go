package password

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/accounts"
)

// Check returns accounts.ErrWeakPassword, wrapped with a reason for people, if
// password may not be set. login is the address that it is for. It stops the worst;
// a list of leaked passwords is the caller's to ask.
func (h *Hasher) Check(login, password string) error {
	least := cmp.Or(h.MinLen, 8)
	ready := prepare(password) // what counts: a soft hyphen is nothing
	weak := func(why string, args ...any) error {
		return fmt.Errorf("%w: "+why, append([]any{accounts.ErrWeakPassword}, args...)...)
	}
	switch {
	case len(password) > MaxLen:
		return weak("more than %d bytes", MaxLen)
	case !utf8.ValidString(password):
		return weak("not UTF-8")
	case strings.ContainsFunc(password, unicode.IsControl):
		return weak("has control characters")
	case utf8.RuneCountInString(ready) < least:
		return weak("fewer than %d characters", least)
	case uniform(ready):
		return weak("one character over and over")
	case resembles(login, ready):
		return weak("the address itself")
	case common(ready):
		return weak("one that everybody tries first")
	}
	return nil
}

// uniform reports whether all characters are the same.
func uniform(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return strings.Trim(s, string(first)) == ""
}

// resembles reports whether a password is the address or one side of it.
func resembles(login, password string) bool {
	local, domain, _ := strings.Cut(login, "@")
	for _, s := range []string{login, local, domain} {
		if strings.EqualFold(s, password) {
			return true
		}
	}
	return false
}

// common knows the passwords of at least eight characters that head every list of
// leaked ones, with any digits and marks behind them.
func common(password string) bool {
	switch strings.TrimRight(strings.ToLower(password), "0123456789!.?*") {
	case "": // 12345678
		return len(password) < 12
	case "password", "passw0rd", "passwort", "qwerty", "qwertyuiop", "qwertz", "1q2w3e4r", "1qaz2wsx", "abc", "abcd",
		"iloveyou", "sunshine", "princess", "football", "baseball", "superman", "welcome", "letmein", "changeme",
		"administrator", "admin", "root", "test", "testtest", "secret", "trustno", "dragon", "monkey", "master", "p@ssw0rd", "p@ssword":
		return true
	}
	return false
}
