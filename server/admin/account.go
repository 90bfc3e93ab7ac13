package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/control"
	"github.com/mailkeel/mailkeel/store"
)

// accountArgs are those of the account commands. A nil one leaves things as they
// are.
type accountArgs struct {
	Address  string    `json:"address,omitempty"` // or ID
	Domain   string    `json:"domain,omitempty"`  // of list
	Rename   *string   `json:"rename,omitempty"`  // the new address
	Name     *string   `json:"name,omitempty"`
	Password *string   `json:"password,omitempty"`
	Generate bool      `json:"generate,omitempty"`
	Quota    *int64    `json:"quota,omitempty"`
	Messages *int64    `json:"max_messages,omitempty"`
	Shared   *bool     `json:"shared,omitempty"`
	SendAs   *[]string `json:"send_as,omitempty"`
	AdminOf  *[]string `json:"admin_of,omitempty"`
	Enable   bool      `json:"enable,omitempty"`
}

// An Account is a row of the account commands.
type Account struct {
	Address  string             `json:"address"`
	ID       mailkeel.AccountID `json:"id"`
	Name     string             `json:"name,omitempty"`
	Disabled bool               `json:"disabled"`
	Quota    int64              `json:"quota"` // bytes, zero means any number
	Used     int64              `json:"used"`  // bytes
	// MaxMessages is zero for any number.
	MaxMessages int64    `json:"max_messages,omitempty"`
	Messages    int      `json:"messages"`
	Shared      bool     `json:"shared,omitempty"` // no person; its mailboxes are for those with rights in them
	SendAs      []string `json:"send_as,omitempty"`
	AdminOf     []string `json:"admin_of,omitempty"`
	// Password is one that was made just now; it is shown this once.
	Password string `json:"password,omitempty"`
}

// row describes an account with the space it uses.
func (a *Admin) row(ctx context.Context, acc accounts.Account) (Account, error) {
	r := Account{
		Address: acc.Address, ID: acc.ID, Name: acc.Name, Disabled: acc.Disabled,
		Quota: acc.Quota, MaxMessages: acc.MaxMessages, Shared: acc.Shared, SendAs: acc.SendAs, AdminOf: acc.AdminOf,
	}
	err := a.Store.Backend.View(ctx, func(tx store.Tx) error {
		rows, err := tx.Accounts(acc.ID)
		if err == nil {
			r.Used, r.Messages = rows[0].Bytes, rows[0].Messages
		}
		return err
	})
	return r, err
}

// edit puts the arguments into acc.
func (args *accountArgs) edit(acc *accounts.Account) {
	set(&acc.Address, args.Rename)
	set(&acc.Name, args.Name)
	set(&acc.Quota, args.Quota)
	set(&acc.MaxMessages, args.Messages)
	set(&acc.Shared, args.Shared)
	set(&acc.SendAs, args.SendAs)
	set(&acc.AdminOf, args.AdminOf)
	if args.Enable {
		acc.Disabled = false
	}
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// NewPassword makes one that can be read out: 26 letters and digits, 130 bits.
func NewPassword() string { return strings.ToLower(rand.Text()) }

// password returns the one to set, and whether it was made here.
func (args *accountArgs) password(always bool) (pw string, made bool, err error) {
	switch {
	case args.Password != nil && args.Generate:
		return "", false, control.Usagef("either a password or a new one, not both")
	case args.Password != nil && *args.Password == "":
		return "", false, control.Usagef("the password is empty")
	case args.Password != nil:
		return *args.Password, false, nil
	case args.Generate || always:
		return NewPassword(), true, nil
	}
	return "", false, nil
}

// account looks one up.
func (a *Admin) account(ctx context.Context, address string) (accounts.Account, error) {
	acc, err := a.Accounts.Account(ctx, address)
	if errors.Is(err, accounts.ErrNoUser) {
		err = fail("no such account: "+address, "account list shows those that exist")
	}
	return acc, err
}

func accountAdd(a *Admin, ctx context.Context, args accountArgs, emit Emit) error {
	pw, made, err := args.password(true)
	if err != nil {
		return err
	}
	acc := accounts.Account{Address: args.Address}
	args.edit(&acc)
	if acc, err = a.Accounts.CreateAccount(ctx, acc, pw); err != nil {
		return err
	}
	return a.emit(ctx, acc, pw, made, emit)
}

// emit shows an account, with its password if that was made here.
func (a *Admin) emit(ctx context.Context, acc accounts.Account, pw string, made bool, emit Emit) error {
	r, err := a.row(ctx, acc)
	if err != nil {
		return err
	}
	if made {
		r.Password = pw
	}
	return emit(r)
}

func accountList(a *Admin, ctx context.Context, args accountArgs, emit Emit) error {
	if args.Domain != "" {
		if _, err := a.domain(ctx, args.Domain); err != nil {
			return err
		}
	}
	for acc, err := range a.Accounts.Accounts(ctx, args.Domain) {
		if err != nil {
			return err
		}
		if err := a.emit(ctx, acc, "", false, emit); err != nil {
			return err
		}
	}
	return nil
}

func accountSet(a *Admin, ctx context.Context, args accountArgs, emit Emit) error {
	pw, made, err := args.password(false)
	if err != nil {
		return err
	}
	acc, err := a.account(ctx, args.Address)
	if err != nil {
		return err
	}
	acc, err = a.Accounts.UpdateAccount(ctx, acc.ID, func(acc *accounts.Account) error {
		args.edit(acc)
		return nil
	})
	if err != nil {
		return err
	}
	if pw != "" {
		if err := a.Accounts.ResetPassword(ctx, acc.ID, pw); err != nil {
			return err
		}
	}
	return a.emit(ctx, acc, pw, made, emit)
}

func accountDisable(a *Admin, ctx context.Context, args accountArgs, emit Emit) error {
	acc, err := a.account(ctx, args.Address)
	if err != nil {
		return err
	}
	acc, err = a.Accounts.UpdateAccount(ctx, acc.ID, func(acc *accounts.Account) error {
		acc.Disabled = true
		return nil
	})
	if err != nil {
		return err
	}
	return a.emit(ctx, acc, "", false, emit)
}

func accountDelete(a *Admin, ctx context.Context, args accountArgs, emit Emit) error {
	acc, err := a.account(ctx, args.Address)
	if err != nil {
		return err
	}
	r, err := a.row(ctx, acc)
	if err != nil {
		return err
	}
	if err := a.Accounts.DeleteAccount(ctx, acc.ID); err != nil {
		return err
	}
	return emit(r)
}
