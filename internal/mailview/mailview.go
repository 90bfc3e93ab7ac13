// Package mailview is what a person sees of their mail, and does with it: folders,
// lists, messages in the order in which they are read, drafts and answers. Doors that
// show mail to people share it; it speaks no HTTP and writes no HTML.
//
// A Box is the mail of one account. All that it does goes through store.As, so that
// rights are those of the store: what may not be known is store.ErrNotFound, and what
// may not be done store.ErrDenied. What is sent goes through a submit.Transport.
//
// Lists are made of rows alone; a message is opened only to be read. Whatever a message
// says, it costs a bounded amount of memory, and what is said of it is safe to put on a
// line: without control characters, and with addresses that look like others marked.
// Segments that are HTML are as their writer wrote them: who shows them cleans them.
package mailview

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

var (
	// ErrKept means that a folder cannot be renamed or deleted: INBOX, and those
	// that have a role.
	ErrKept = errors.New("mailview: this folder is kept")
	// ErrNoRecipient means that a message to be sent has no recipient.
	ErrNoRecipient = errors.New("mailview: no recipient")
	// ErrTooLarge means that a message would be larger than MaxMessage. It is a
	// store.ErrLimit.
	ErrTooLarge = fmt.Errorf("mailview: message too large: %w", store.ErrLimit)
)

// Mail is what the accounts of a server see. Store, Directory and Submit are required.
// It is used from many goroutines; its fields are not changed after the first use.
type Mail struct {
	Store *store.Store
	// Directory tells own addresses from others. If it is an accounts.Roster, who
	// shares a folder is shown by their address.
	Directory accounts.Directory
	// Submit takes what users write: a *submit.Transport that files the copy in
	// Sent, or one around it.
	Submit mailkeel.Transport
	// Search is asked before messages are read; nil reads them.
	Search search.Finder
	// Hostname stands in Message-IDs; empty means the domain of the writer.
	Hostname string
	// MaxMessage is how large a message that is written may be, in bytes as it is
	// sent; zero means 25 MiB.
	MaxMessage int64
	Clock      mailkeel.Clock // nil means real time
	Logger     *slog.Logger   // nil means discard
}

func (m *Mail) maxMessage() int64 { return cmp.Or(m.MaxMessage, 25<<20) }
func (m *Mail) now() time.Time    { return mailkeel.ClockOr(m.Clock).Now() }

func (m *Mail) logger() *slog.Logger {
	if m.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return m.Logger
}

// A Box is the mail of one account. It holds nothing and is made for each request; it
// can be used by several goroutines.
type Box struct {
	mail     *Mail
	account  mailkeel.AccountID
	address  string
	language string
	access   *store.Access
}

// Of returns the mail of an account, which writes as address. It does not look either
// up: whoever calls it knows that this account has logged in.
func (m *Mail) Of(account mailkeel.AccountID, address string) *Box {
	return &Box{mail: m, account: account, address: address, access: m.Store.As(account)}
}

// Account returns whose mail it is.
func (b *Box) Account() mailkeel.AccountID { return b.account }

// Address returns what the account writes as.
func (b *Box) Address() string { return b.address }
