package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// damagedKind is the Kind of the Objects that say why something is parked. Their ID
// is that of the message, or names an object. They change nothing of what is read:
// bytes are looked at each time.
const damagedKind = "damaged"

// A note is the Data of such an Object, in JSON.
type note struct {
	State string    `json:"state"`
	Where string    `json:"where"`
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// A noted is what a check remembers of a note.
type noted struct {
	state string
	since time.Time
	still bool // it is as the note says
}

func readNotes(tx Tx, id AccountID, notes map[string]*noted) error {
	for o, err := range tx.Objects(id, ObjectQuery{Kind: damagedKind}) {
		if err != nil {
			return err
		}
		var n note
		_ = json.Unmarshal(o.Data, &n) // without its words, it is a note still
		notes[o.ID] = &noted{state: n.State, since: n.Since}
	}
	return nil
}

// park notes why something cannot be read.
func (c *checking) park(ctx context.Context, id, where string, f *fault) error {
	c.done.Parked++
	if n, ok := c.notes[id]; ok {
		n.still = true
		if n.state == f.state {
			return c.found(f.state, where, Known, "%s; parked since %s", f.text, n.since.UTC().Format(time.RFC3339))
		}
	}
	if !c.o.Repair {
		return c.found(f.state, where, Left, "%s", f.text)
	}
	data, err := json.Marshal(note{f.state, where, f.text, c.s.now()})
	if err != nil {
		return err
	}
	err = c.s.update(ctx, only(c.id), func(w *work) error {
		return w.object(Object{Account: c.id, Kind: damagedKind, ID: id, Data: data})
	})
	if err != nil {
		return err
	}
	return c.found(f.state, where, Parked, "%s", f.text)
}

// dropNotes removes the notes of what has gone or can be read again.
func (c *checking) dropNotes(ctx context.Context) error {
	if !c.o.Repair {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(c.notes)) {
		if c.notes[id].still {
			continue
		}
		var was note
		o, err := c.object(ctx, damagedKind, id)
		if err != nil {
			return err
		}
		_ = json.Unmarshal(o.Data, &was)
		err = c.s.update(ctx, only(c.id), func(w *work) error {
			return w.object(Object{Account: c.id, Kind: damagedKind, ID: id, Deleted: true})
		})
		if err != nil {
			return err
		}
		if err := c.found("S7", was.Where, Repaired, "it was parked, and has gone or can be read again"); err != nil {
			return err
		}
	}
	return nil
}

// objects compares the objects of an account with their contents.
func (c *checking) objects(ctx context.Context) error {
	type named struct {
		kind, id string
		seq      ModSeq
		ref      blob.Ref
	}
	var list []named
	var acc Account
	n := 0
	err := c.s.Backend.View(ctx, func(tx Tx) (err error) {
		list, n = nil, 0
		if acc, err = oneAccount(tx, c.id); err != nil {
			return err
		}
		for o, err := range tx.Objects(c.id, ObjectQuery{Since: Since{Tombstones: true}}) {
			if err != nil {
				return err
			}
			if n++; o.Blob != "" && !o.Deleted || o.ModSeq > acc.ModSeq {
				list = append(list, named{o.Kind, o.ID, o.ModSeq, o.Blob})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.done.Objects += n
	for _, o := range list {
		where := fmt.Sprintf("object %s %s", o.kind, o.id)
		if o.seq > acc.ModSeq {
			if err := c.renumberObject(ctx, where, o.kind, o.id); err != nil {
				return err
			}
		}
		if o.ref == "" {
			continue
		}
		x, err := c.content(ctx, o.ref)
		if err != nil {
			return err
		}
		if x.state == "" {
			continue
		}
		if now, err := c.object(ctx, o.kind, o.id); err != nil {
			return err
		} else if now.Blob != o.ref {
			continue // it has changed
		}
		id := o.kind + "/" + o.id
		if err := c.park(ctx, id[:min(len(id), maxObjectName)], where, &fault{state: x.state, text: x.why}); err != nil {
			return err
		}
	}
	return nil
}

// object reads a live object; one without a Kind is not there.
func (c *checking) object(ctx context.Context, kind, id string) (o Object, err error) {
	err = c.s.Backend.View(ctx, func(tx Tx) error {
		o = Object{}
		for x, err := range tx.Objects(c.id, ObjectQuery{Kind: kind, ID: id}) {
			if o = x; err != nil {
				return err
			}
		}
		return nil
	})
	return o, err
}

// renumberObject gives an object a MODSEQ that its account has reached.
func (c *checking) renumberObject(ctx context.Context, where, kind, id string) error {
	done := Left
	if c.o.Repair {
		err := c.s.update(ctx, only(c.id), func(w *work) error {
			for o, err := range w.Objects(c.id, ObjectQuery{Kind: kind, ID: id, Since: Since{Tombstones: true}}) {
				if err != nil {
					return err
				}
				if acc := w.accs[c.id]; o.ModSeq <= acc.ModSeq+wild {
					acc.ModSeq = max(acc.ModSeq, o.ModSeq+1)
				}
				return w.object(o)
			}
			return ErrNotFound
		})
		if errors.Is(err, ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		done = Repaired
	}
	return c.found("S12", where, done, "its MODSEQ is above that of the account")
}
