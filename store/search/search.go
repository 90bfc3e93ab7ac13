// Package search keeps indexes of what messages say, for doors that search.
//
// An Index keeps what it is given; package ftsindex does in a file of its own, package
// trgmindex in PostgreSQL. An Indexer gives it the messages of the accounts that
// search, from the change feed of a store.Store, in the background. Both are caches:
// an Index may lag behind the store, or be deleted at any time, and answers are right
// all the same, because it says which messages it knows. The others are read.
//
// What is compared is folded: see the package internal/textfold. Results are those of a
// search that reads the messages.
package search

import (
	"context"
	"errors"

	"github.com/mailkeel/mailkeel/store"
)

// ErrNoAnswer means that an Index cannot say anything about a Query. It is no failure.
var ErrNoAnswer = errors.New("search: the index has no answer")

// ErrChanged is returned by Apply if the account is not in the State that the Batch
// goes on from: another process was faster, or what was kept is lost.
var ErrChanged = errors.New("search: the account is indexed otherwise")

// A Finder answers queries. Doors ask it, from many goroutines.
type Finder interface {
	// Find says which messages of a mailbox match q. Any error means that the
	// messages must be read; ErrNoAnswer and that of ctx are no cause for a log.
	// It is quick, and right about what it says it knows.
	Find(ctx context.Context, account store.AccountID, q Query) (Answer, error)
}

// Where a Query looks.
type Where uint8

const (
	Field  Where = iota // in the fields of a header that are named Query.Field
	Body                // below the header: texts, names of attachments
	Header              // anywhere in the header, as in "name: value"
)

// A Query asks for a text in the messages of a mailbox.
type Query struct {
	Mailbox     store.MailboxID
	First, Last store.UID // inclusive; zero Last means no upper bound
	Where       Where
	Field       string // in lower case
	Text        string // folded; empty matches every message that has the Field
}

// An Answer is what an Index knows, by UID, in order. Messages that are not in Known
// must be read; so must those in Maybe. Of the rest, those in Sure match, and the
// others do not. UIDs may be named of messages that have gone.
type Answer struct{ Known, Sure, Maybe []store.UID }

// A Doc is what an Index keeps of a message: its texts, folded. It never changes.
type Doc struct {
	Mailbox store.MailboxID
	UID     store.UID
	// Fields are what Field looks at. Names are in lower case, and come again when
	// a header has several of them.
	Fields []HeaderField
	// Header and Body are texts with a line feed between, which no text has.
	Header, Body []byte
	// Long says that Body is only the beginning of what there is.
	Long bool
}

// A HeaderField is one field of a Doc.
type HeaderField struct{ Name, Text string }

// A Place is where a message is, or was.
type Place struct {
	Mailbox store.MailboxID
	UID     store.UID
}

// A State says how far an account is indexed.
type State struct {
	// Through is up to which change. Zero means that nothing is.
	Through store.ModSeq
	// Start is where the account was when indexing began; until Through has come
	// there, older messages are still to come.
	Start store.ModSeq
}

// A Batch is a step of indexing.
type Batch struct {
	Account store.AccountID
	From    State // before it
	State   State // after it
	Docs    []Doc // that are there already are passed over
	Gone    []Place
	Boxes   []store.MailboxID // that have gone, with all in them
}

// An Index keeps Docs. An Indexer calls it, and Find, from many goroutines; Apply and
// Drop of one account are called by one at a time in a process, perhaps by several
// processes. Package searchtest checks an implementation.
type Index interface {
	Finder
	// States yields the accounts that are indexed, even in part.
	States(ctx context.Context) (map[store.AccountID]State, error)
	// Missing returns those of places that Apply was not given yet, in order.
	Missing(ctx context.Context, account store.AccountID, places []Place) ([]Place, error)
	// Apply does a Batch as a whole, or not at all. It need not be durable, but
	// what is lost in a crash is the last ones as a whole.
	Apply(ctx context.Context, b Batch) error
	// Drop forgets an account.
	Drop(ctx context.Context, account store.AccountID) error
	Close() error
}
