package mailview

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/store"
)

// Settings are what a person wants. The zero value is what they begin with.
type Settings struct {
	Name      string `json:",omitempty"` // stands before their address; at most 200 bytes
	Signature string `json:",omitempty"` // plain text; at most 10,000 bytes
	Language  string `json:",omitempty"` // such as "en" or "de"; empty means that of the browser
	Theme     string `json:",omitempty"` // "light" or "dark"; empty means that of the system
	PageSize  int    `json:",omitempty"` // rows of a list, at most MaxLimit; zero means DefaultLimit
	Remote    bool   `json:",omitempty"` // show remote images without being asked
}

// Settings are an Object of the account.
const (
	settingsKind = "identity"
	settingsID   = "default"

	maxSignature = 10_000
	maxOwnName   = 200
)

// Settings returns what the account set.
func (b *Box) Settings(ctx context.Context) (s Settings, err error) {
	objects, err := b.access.Objects(ctx, store.ObjectQuery{Kind: settingsKind, ID: settingsID})
	if err != nil || len(objects) == 0 {
		return Settings{}, err
	}
	if err := json.Unmarshal(objects[0].Data, &s); err != nil {
		b.mail.logger().Error("mailview: settings cannot be read", "account", b.account, "err", err)
		return Settings{}, nil
	}
	return s, nil
}

// SetSettings keeps them. store.ErrInvalid if they are not as their comments say.
// Characters that a name or a text does not have are left out.
func (b *Box) SetSettings(ctx context.Context, s Settings) error {
	s.Name, _ = line(s.Name, 4*maxOwnName)
	s.Signature = strings.TrimRight(typed(s.Signature), "\n ")
	bad := ""
	switch {
	case len(s.Name) > maxOwnName:
		bad = "name"
	case len(s.Signature) > maxSignature:
		bad = "signature"
	case len(s.Language) > 35 || strings.Trim(strings.ToLower(s.Language), "abcdefghijklmnopqrstuvwxyz0123456789-") != "": // RFC 5646, 4.4.1
		bad = "language"
	case s.Theme != "" && s.Theme != "light" && s.Theme != "dark":
		bad = "theme"
	case s.PageSize < 0 || s.PageSize > MaxLimit:
		bad = "page size"
	}
	if bad != "" {
		return fmt.Errorf("%w: %s", store.ErrInvalid, bad)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = b.access.PutObject(ctx, store.Object{Kind: settingsKind, ID: settingsID, Data: data})
	return err
}

// typed returns a text that was typed, in UTF-8, with LF, and without controls.
func typed(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s)
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || r == utf8.RuneError || r == 0xfeff {
			return -1
		}
		return r
	}, s)
}
