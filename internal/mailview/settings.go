package mailview

import "context"

// Settings are what a person wants. The zero value is what they begin with.
type Settings struct {
	Name      string `json:",omitempty"` // stands before their address; at most 200 bytes
	Signature string `json:",omitempty"` // plain text; at most 10,000 bytes
	Language  string `json:",omitempty"` // "en" or "de"; empty means that of the browser
	Theme     string `json:",omitempty"` // "light" or "dark"; empty means that of the system
	PageSize  int    `json:",omitempty"` // rows of a list; zero means DefaultLimit
	Remote    bool   `json:",omitempty"` // show remote images without being asked
}

// Settings returns what the account set.
func (b *Box) Settings(ctx context.Context) (Settings, error) { return Settings{}, errNotYet }

// SetSettings keeps them. store.ErrInvalid if they are not as their comments say.
func (b *Box) SetSettings(ctx context.Context, s Settings) error { return errNotYet }
