package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Metadata of a mailbox (RFC 5464) are Objects of its owner, so that they go with
// the mailbox and stay when it is renamed. Their Kind is metadataKind with the
// mailbox and, for private ones, the account whose they are; their ID is the name
// of the entry. Those of an account itself, the server of RFC 5464, have the
// mailbox zero and are all private.
const (
	metadataKind = "metadata/"
	// metadataUse is the Kind of the Object that says how much there is in all.
	metadataUse = metadataKind + "use"

	// MaxMetadata is how many bytes the value of an entry may have.
	MaxMetadata = 32 << 10

	maxEntries    = 200      // with one Kind
	maxGuests     = 50       // the same, private ones of who is not the owner
	maxAllEntries = 20_000   // of an account and its mailboxes
	maxAllBytes   = 16 << 20 // likewise, with names
)

// A Metadata is an entry of RFC 5464: its name begins with /private/ or /shared/. A
// nil Value means that there is none.
type Metadata struct {
	Name  string
	Value []byte
}

// CleanEntry returns the name of an entry as it is kept, in lower case, or
// ErrInvalid (RFC 5464, 3.2).
func CleanEntry(name string) (string, error) {
	ok := len(name) <= maxObjectName && !strings.Contains(name, "//") && !strings.HasSuffix(name, "/")
	for i := 0; i < len(name); i++ {
		ok = ok && name[i] >= 0x20 && name[i] < 0x7f && name[i] != '*' && name[i] != '%'
	}
	name = strings.ToLower(name)
	if !ok || !strings.HasPrefix(name, "/private/") && !strings.HasPrefix(name, "/shared/") {
		return "", fmt.Errorf("%w: metadata entry %.64q", ErrInvalid, name)
	}
	return name, nil
}

func private(entry string) bool { return strings.HasPrefix(entry, "/private/") }

// kindMetadata is the Kind of entries; those of no user are shared.
func kindMetadata(id MailboxID, user AccountID) string {
	return fmt.Sprintf("%s%d/%s", metadataKind, id, user)
}

// metadata returns whose account the entries of a mailbox lie in, if this one may
// use them: with l and one of r, s, w, i and p (RFC 5464, 3.3), and w besides to
// change what all others see.
func (a *Access) metadata(tx Tx, id MailboxID, need Rights) (AccountID, error) {
	if id == 0 {
		return a.account, nil
	}
	mb, have, err := a.rights(tx, id, "l"+need)
	if err == nil && !strings.ContainsAny(string(have), "rswip") {
		err = ErrDenied
	}
	return mb.Account, err
}

// Metadata returns the entries of a mailbox, by name: the shared ones, and the
// private ones of this account. It needs the right l and one of r, s, w, i and p.
// Mailbox zero is the account itself.
func (a *Access) Metadata(ctx context.Context, id MailboxID) (out []Metadata, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		out, err = a.entries(tx, id)
		return err
	})
	return out, err
}

// MetadataOf is Metadata of several mailboxes at one moment. Those that the account
// may not ask about are left out.
func (a *Access) MetadataOf(ctx context.Context, ids ...MailboxID) (out map[MailboxID][]Metadata, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		out = make(map[MailboxID][]Metadata, len(ids))
		for _, id := range ids {
			switch es, err := a.entries(tx, id); {
			case err == nil:
				out[id] = es
			case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDenied):
				return err
			}
		}
		return nil
	})
	return out, err
}

func (a *Access) entries(tx Tx, id MailboxID) (out []Metadata, err error) {
	owner, err := a.metadata(tx, id, "")
	if err != nil {
		return nil, err
	}
	for _, user := range []AccountID{a.account, ""} {
		for o, err := range tx.Objects(owner, ObjectQuery{Kind: kindMetadata(id, user)}) {
			if err != nil {
				return nil, err
			}
			out = append(out, Metadata{o.ID, append([]byte{}, o.Data...)}) // never nil
		}
	}
	return out, nil
}

// SetMetadata changes entries of a mailbox, all or none. It needs the rights of
// Metadata, and w for shared ones. A nil Value removes. With a role that is not nil
// it does what SetRole does, too. ErrInvalid for a name that CleanEntry refuses, and
// for shared entries of mailbox zero; ErrLimit for a Value above MaxMetadata, and if
// there would be too many. What changes the entries of a mailbox is a change of it.
func (a *Access) SetMetadata(ctx context.Context, id MailboxID, role *string, es ...Metadata) error {
	es = slices.Clone(es)
	need := Rights("")
	for i, e := range es {
		var err error
		switch es[i].Name, err = CleanEntry(e.Name); {
		case err != nil:
			return err
		case len(e.Value) > MaxMetadata:
			return fmt.Errorf("%w: a metadata value of %d bytes", ErrLimit, len(e.Value))
		case private(es[i].Name):
		case id == 0:
			return fmt.Errorf("%w: shared metadata of an account", ErrInvalid)
		default:
			need = "w"
		}
	}
	accounts := only(a.account)
	if id != 0 {
		accounts = owners(id)
	}
	return a.store.update(ctx, accounts, func(w *work) error {
		owner, err := a.metadata(w, id, need)
		if err != nil {
			return err
		}
		if _, err := w.account(owner); err != nil {
			return err
		}
		if role != nil {
			if err := a.setRole(w, id, *role); err != nil {
				return err
			}
		}
		use, err := w.metadataUse(owner)
		if err != nil {
			return err
		}
		for _, e := range es {
			user := a.account
			if !private(e.Name) {
				user = ""
			}
			if err := w.setEntry(&use, owner, kindMetadata(id, user), e, user != "" && user != owner); err != nil {
				return err
			}
		}
		if id != 0 && w.accs[owner].changed { // RFC 7162, 3.2
			mb, err := w.box(id)
			if err != nil {
				return err
			}
			w.touch(mb)
		}
		return use.write(w)
	})
}

// setEntry writes one entry.
func (w *work) setEntry(use *metadataCount, owner AccountID, kind string, e Metadata, guest bool) error {
	var old Object
	for o, err := range w.Objects(owner, ObjectQuery{Kind: kind, ID: e.Name}) {
		if err != nil {
			return err
		}
		old = o
	}
	o := Object{Account: owner, Kind: kind, ID: e.Name, Data: e.Value, Deleted: e.Value == nil}
	switch {
	case o.Deleted && old.ID == "":
		return nil
	case old.ID != "" && !o.Deleted && string(old.Data) == string(o.Data):
		return nil
	case old.ID == "":
		n := 0
		for _, err := range w.Objects(owner, ObjectQuery{Kind: kind}) {
			if err != nil {
				return err
			}
			n++
		}
		if n >= maxEntries || guest && n >= maxGuests {
			return fmt.Errorf("%w: %d metadata entries", ErrLimit, n)
		}
	}
	use.add(old, -1)
	use.add(o, 1)
	if !o.Deleted && (use.Entries > maxAllEntries || use.Bytes > maxAllBytes) {
		return fmt.Errorf("%w: %d metadata entries of %d bytes", ErrLimit, use.Entries, use.Bytes)
	}
	return w.object(o)
}

// A metadataCount is how much metadata an account has, in JSON.
type metadataCount struct {
	Entries, Bytes int
	owner          AccountID
	changed        bool
}

func (w *work) metadataUse(owner AccountID) (metadataCount, error) {
	c := metadataCount{owner: owner}
	for o, err := range w.Objects(owner, ObjectQuery{Kind: metadataUse, ID: "all"}) {
		if err != nil {
			return c, err
		}
		_ = json.Unmarshal(o.Data, &c) // what cannot be read counts from zero
	}
	return c, nil
}

func (c *metadataCount) add(o Object, sign int) {
	if o.ID == "" || o.Deleted {
		return
	}
	c.Entries = max(0, c.Entries+sign)
	c.Bytes = max(0, c.Bytes+sign*(len(o.ID)+len(o.Data)))
	c.changed = true
}

func (c *metadataCount) write(w *work) error {
	if !c.changed {
		return nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return w.object(Object{Account: c.owner, Kind: metadataUse, ID: "all", Data: data})
}

// dropMetadata removes the entries of a mailbox that are private to a user, or with
// no user the shared ones.
func (w *work) dropMetadata(owner AccountID, id MailboxID, user AccountID) error {
	use, err := w.metadataUse(owner)
	if err != nil {
		return err
	}
	var gone []Object
	for o, err := range w.Objects(owner, ObjectQuery{Kind: kindMetadata(id, user)}) {
		if err != nil {
			return err
		}
		gone = append(gone, o)
	}
	for _, o := range gone {
		use.add(o, -1)
		o.Deleted = true
		if err := w.object(o); err != nil {
			return err
		}
	}
	return use.write(w)
}

// dropAllMetadata removes what is left once grants have ended: the shared entries
// and those of the owner.
func (w *work) dropAllMetadata(mb *workBox) error {
	return errors.Join(w.dropMetadata(mb.Account, mb.ID, ""), w.dropMetadata(mb.Account, mb.ID, mb.Account))
}
