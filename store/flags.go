package store

import (
	"fmt"
	"slices"
	"strings"
)

// The flags of RFC 9051, 2.3.2, as they are kept.
const (
	FlagSeen     = `\Seen`
	FlagAnswered = `\Answered`
	FlagFlagged  = `\Flagged`
	FlagDeleted  = `\Deleted`
	FlagDraft    = `\Draft`
)

var systemFlags = [...]string{FlagSeen, FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft}

// CleanFlags returns flags as they are kept: each once, sorted, system flags in
// their usual spelling. ErrInvalid for a system flag that RFC 9051 does not know
// (\Recent too), a keyword that is not an atom of at most 64 bytes, and for more
// than 128 flags.
func CleanFlags(flags []string) ([]string, error) {
	if len(flags) > 4*maxFlags { // repeats are harmless, but not without end
		return nil, fmt.Errorf("%w: %d flags", ErrInvalid, len(flags))
	}
	out := make([]string, 0, len(flags))
	for _, f := range flags {
		f, err := cleanFlag(f)
		if err != nil {
			return nil, err
		}
		if !has(out, f) {
			out = append(out, f)
		}
	}
	if len(out) > maxFlags {
		return nil, fmt.Errorf("%w: %d flags", ErrInvalid, len(out))
	}
	slices.Sort(out)
	return out, nil
}

func cleanFlag(f string) (string, error) {
	if strings.HasPrefix(f, `\`) {
		for _, known := range systemFlags {
			if strings.EqualFold(f, known) {
				return known, nil
			}
		}
		return "", fmt.Errorf("%w: flag %.64q", ErrInvalid, f)
	}
	ok := f != "" && len(f) <= maxFlag
	for _, c := range []byte(f) { // an atom of RFC 9051, 9
		ok = ok && c > ' ' && c < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(c))
	}
	if !ok {
		return "", fmt.Errorf("%w: keyword %.64q", ErrInvalid, f)
	}
	return f, nil
}

func isKeyword(f string) bool { return !strings.HasPrefix(f, `\`) }

// has reports whether flags contain f; flags have no case (RFC 9051, 2.3.2).
func has(flags []string, f string) bool {
	return slices.ContainsFunc(flags, func(x string) bool { return strings.EqualFold(x, f) })
}

// withSeen returns flags with \Seen as told. It does not change flags.
func withSeen(flags []string, seen bool) []string {
	if has(flags, FlagSeen) == seen {
		return flags
	}
	if !seen {
		return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return strings.EqualFold(f, FlagSeen) })
	}
	out := append(slices.Clone(flags), FlagSeen)
	slices.Sort(out)
	return out
}

// A FlagChange says what to do to the flags of messages.
type FlagChange struct {
	Replace     bool // forget the flags they have
	Add, Remove []string
	// UnchangedSince, if set, leaves alone what changed after it (RFC 7162,
	// 3.1.3). Zero is a condition that no message meets.
	UnchangedSince *ModSeq
}

// apply returns the flags that old become; those that may tells not to touch stay
// as they are.
func (c *FlagChange) apply(old []string, may func(string) bool) []string {
	flags := slices.DeleteFunc(slices.Clone(old), func(f string) bool {
		return may(f) && (c.Replace || has(c.Remove, f))
	})
	for _, f := range c.Add {
		if may(f) && !has(flags, f) {
			flags = append(flags, f)
		}
	}
	slices.Sort(flags)
	return flags
}

// mayFlag tells which flags rights let one change (RFC 4314, 4): s is \Seen, t
// \Deleted, w all others.
func (r Rights) mayFlag(f string) bool {
	switch {
	case strings.EqualFold(f, FlagSeen):
		return r.Has("s")
	case strings.EqualFold(f, FlagDeleted):
		return r.Has("t")
	}
	return r.Has("w")
}

// keep returns those of flags that rights let one set. It does not change flags.
func (r Rights) keep(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return !r.mayFlag(f) })
}

// keywordKind is the Kind of the Object that lists the keywords that were ever
// used in a mailbox; its ID is the mailbox, its Data are lines.
const keywordKind = "keywords"

// keywords are those of one mailbox, within a work.
type keywords struct {
	w       *work
	owner   AccountID
	id      string
	list    []string
	spelled map[string]string // by lower case
	changed bool
}

func readKeywords(tx Tx, mb *Mailbox) ([]string, error) {
	for o, err := range tx.Objects(mb.Account, ObjectQuery{Kind: keywordKind, ID: fmt.Sprint(mb.ID)}) {
		if err != nil {
			return nil, err
		}
		return strings.Fields(string(o.Data)), nil
	}
	return nil, nil
}

func (w *work) keywords(mb *workBox) (*keywords, error) {
	if k := w.words[mb.ID]; k != nil {
		return k, nil
	}
	list, err := readKeywords(w, &mb.Mailbox)
	if err != nil {
		return nil, err
	}
	k := &keywords{w: w, owner: mb.Account, id: fmt.Sprint(mb.ID), list: list, spelled: make(map[string]string, len(list))}
	for _, f := range list {
		k.spelled[strings.ToLower(f)] = f
	}
	if w.words == nil {
		w.words = map[MailboxID]*keywords{}
	}
	w.words[mb.ID] = k
	return k, nil
}

// spell returns flags with each keyword in the spelling first used in mb, where
// new ones are noted. ErrLimit if that has too many.
func (w *work) spell(mb *workBox, flags []string) ([]string, error) {
	if !slices.ContainsFunc(flags, isKeyword) {
		return flags, nil
	}
	k, err := w.keywords(mb)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(flags)
	for i, f := range out {
		if !isKeyword(f) {
			continue
		}
		low := strings.ToLower(f)
		if _, ok := k.spelled[low]; !ok {
			if len(k.list) >= w.s.maxKeywords() {
				return nil, fmt.Errorf("%w: %d keywords in mailbox %d", ErrLimit, len(k.list), mb.ID)
			}
			k.list, k.spelled[low], k.changed = append(k.list, f), f, true
		}
		out[i] = k.spelled[low]
	}
	slices.Sort(out)
	return out, nil
}

func (k *keywords) flush() error {
	if !k.changed {
		return nil
	}
	return k.w.object(Object{Account: k.owner, Kind: keywordKind, ID: k.id, Data: []byte(strings.Join(k.list, "\n"))})
}
