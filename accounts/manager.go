package accounts

import (
	"context"
	"errors"
	"iter"

	"github.com/mailkeel/mailkeel"
)

var (
	// ErrExists means that an address is taken, by an account or an alias.
	ErrExists = errors.New("accounts: address already exists")
	// ErrInUse means that a domain still has accounts or aliases.
	ErrInUse = errors.New("accounts: domain in use")
	// ErrBadAddress means that an address or domain has no valid form.
	ErrBadAddress = errors.New("accounts: bad address")
)

// A Domain is one whose addresses are looked up here.
type Domain struct {
	Name string // lower case, A-labels
	// CatchAll is the address that gets mail for unknown local parts; empty
	// means that they are refused.
	CatchAll string
	// Postmaster gets mail for postmaster@Name and abuse@Name unless those
	// exist (RFC 5321, 4.5.1); empty means that they need an account or alias,
	// and postmaster falls to the first account of the domain.
	Postmaster string
}

// An Account is someone with mailboxes and a password.
type Account struct {
	// ID is opaque, random, never an address and never used again.
	ID mailkeel.AccountID
	// Address is the main one. It can change; the mail stays.
	Address  string
	Name     string // for people
	Disabled bool   // may not log in; mail is still received
	Quota    int64  // bytes; zero means any number
	// MaxMessages is how many messages it may hold; zero means any number.
	MaxMessages int64
	// Shared says that it is no person, but a place for mail that several
	// people see to: a desk, a list, an archive. Who has rights in its mailboxes
	// finds them among the shared ones.
	Shared bool
	// SendAs are further addresses it may send from; "*@domain" is all of one.
	SendAs []string
	// AdminOf are the domains it looks after; "*" is all.
	AdminOf []string
}

// An Alias sends mail for one address on to others, here or elsewhere.
type Alias struct {
	Address string
	Targets []string
}

// A Manager changes a directory: commands and administration pages call it, from
// many goroutines. When a change returns nil it is durable.
type Manager interface {
	Domains(ctx context.Context) ([]Domain, error)
	// PutDomain makes a domain or changes it.
	PutDomain(ctx context.Context, d Domain) error
	// DeleteDomain removes an empty domain: ErrInUse, ErrNotLocal.
	DeleteDomain(ctx context.Context, name string) error

	// Accounts yields those of a domain by address; of all if it is empty.
	Accounts(ctx context.Context, domain string) iter.Seq2[Account, error]
	// Account looks one up by address or ID: ErrNoUser.
	Account(ctx context.Context, addressOrID string) (Account, error)
	// CreateAccount gives it a new ID: ErrExists, ErrNotLocal, ErrBadAddress,
	// ErrWeakPassword. An empty password makes an account without a login.
	CreateAccount(ctx context.Context, a Account, password string) (Account, error)
	// UpdateAccount changes all but the ID, or nothing if fn returns an error.
	// fn may run again. ErrNoUser, and the errors of CreateAccount.
	UpdateAccount(ctx context.Context, id mailkeel.AccountID, fn func(*Account) error) (Account, error)
	// ResetPassword sets a password without the old one; an empty one takes the
	// login away. ErrNoUser, ErrWeakPassword.
	ResetPassword(ctx context.Context, id mailkeel.AccountID, password string) error
	// DeleteAccount ends logins and mail at once, and frees the address; aliases
	// to it stay and lead nowhere. The ID is then one of Deleted, until its mail
	// is gone and Purged was called. Both return ErrNoUser for any other ID.
	DeleteAccount(ctx context.Context, id mailkeel.AccountID) error
	Deleted(ctx context.Context) ([]mailkeel.AccountID, error)
	Purged(ctx context.Context, id mailkeel.AccountID) error

	// Aliases yields those of a domain by address; of all if it is empty.
	Aliases(ctx context.Context, domain string) iter.Seq2[Alias, error]
	// PutAlias makes an alias or changes its targets, of which there is at least
	// one. They need not exist. ErrExists if an account has the address,
	// ErrNotLocal, ErrBadAddress, ErrExpansion.
	PutAlias(ctx context.Context, a Alias) error
	// DeleteAlias returns ErrNoUser if there is none.
	DeleteAlias(ctx context.Context, address string) error
}
