package filter

import "fmt"

// A Mode says how much the opinion of a filter counts. Filters that can refuse have
// a field of this type, and give their verdict through Limit.
type Mode uint8

const (
	// Enforce lets it refuse. It is the zero Mode.
	Enforce Mode = iota
	// Mark lets it file mail in Junk and score, where it would have refused or
	// discarded.
	Mark
	// Log lets it say what it thinks, in the log and in header fields, and do
	// nothing.
	Log
)

var modes = [...]string{"enforce", "mark", "log"}

func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return fmt.Sprintf("mode %d", m)
}

// MarshalText and UnmarshalText have "enforce", "mark" and "log", for files of
// configuration and flags.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m *Mode) UnmarshalText(text []byte) error {
	for i, name := range modes {
		if string(text) == name {
			*m = Mode(i)
			return nil
		}
	}
	return fmt.Errorf("filter: mode %.20q is none of enforce, mark and log", text)
}

// Limit returns of a verdict what the mode lets through. Why, Prefix and Results
// stay in each.
func (m Mode) Limit(v Verdict) Verdict {
	switch m {
	case Enforce:
		return v
	case Mark:
		v.Junk = v.Junk || v.Refuse != nil || v.Discard
		v.Refuse, v.Discard = nil, false
	default:
		v.Refuse, v.Discard, v.Junk, v.Score, v.Rewrite = nil, false, false, 0, nil
	}
	if v.Rcpts != nil {
		all := make(map[int]Verdict, len(v.Rcpts))
		for i, r := range v.Rcpts {
			all[i] = m.Limit(r)
		}
		v.Rcpts = all
	}
	return v
}
