package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/mailfiles"
	"github.com/mailkeel/mailkeel/server/admin"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// importSecret is the password of accounts that -import made.
const importSecret = "import-password"

// An imported is what -import did.
type imported struct {
	messages, known int
	made            []string // accounts
	password        string   // of those
}

// importMail files the messages below a folder: of the accounts that its folders name
// by their addresses, and of owner otherwise. Accounts and mailboxes that
// are missing are made. What is in its mailbox already is not filed again.
func importMail(ctx context.Context, home *embedded.Home, st *store.Store, dir, owner string) (done imported, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("-import %s: %w", dir, err)
		}
	}()
	if _, err := fs.Stat(os.DirFS(dir), "."); err != nil {
		return done, err
	}
	boxes := map[string]*importBox{}
	for it, err := range mailfiles.Read(os.DirFS(dir)) {
		if err != nil {
			return done, err
		}
		if it.Account == "" && it.Mailbox == "left" && it.To != nil {
			continue // a test's server sent it away
		}
		address, name := cmp.Or(it.Account, owner), cmp.Or(it.Mailbox, "INBOX")
		box := boxes[address+"\x00"+name]
		if box == nil {
			if box, err = done.open(ctx, home, st, address, name); err != nil {
				return done, fmt.Errorf("%s: %w", it.Path, err)
			}
			boxes[address+"\x00"+name] = box
		}
		fresh, err := box.file(ctx, st, it)
		if err != nil {
			return done, fmt.Errorf("%s: %w", it.Path, err)
		}
		if fresh {
			done.messages++
		} else {
			done.known++
		}
	}
	return done, nil
}

// An importBox is a mailbox that messages are filed in.
type importBox struct {
	access *store.Access
	id     store.MailboxID
	has    map[blob.Ref]bool
}

func (d *imported) open(ctx context.Context, home *embedded.Home, st *store.Store, address, name string) (*importBox, error) {
	acc, err := home.Accounts.Account(ctx, address)
	if errors.Is(err, accounts.ErrNoUser) {
		acc, err = d.account(ctx, home, address)
	}
	if err != nil {
		return nil, err
	}
	b := &importBox{access: st.As(acc.ID), has: map[blob.Ref]bool{}}
	f, err := b.access.Folder(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		if _, err = b.access.Create(ctx, name, ""); err == nil {
			f, err = b.access.Folder(ctx, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("mailbox %q: %w", name, err)
	}
	b.id = f.ID
	return b, b.access.Scan(ctx, b.id, store.Query{}, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		clear(b.has)
		for m, err := range ms {
			if err != nil {
				return err
			}
			b.has[m.Blob] = true
		}
		return nil
	})
}

// account makes an account, and its domain.
func (d *imported) account(ctx context.Context, home *embedded.Home, address string) (acc accounts.Account, err error) {
	pw, err := home.Secret(importSecret, func() []byte { return []byte(admin.NewPassword() + "\n") })
	if err != nil {
		return acc, err
	}
	d.password = strings.TrimSpace(string(pw))
	_, name, _ := strings.Cut(address, "@")
	if name, err = accounts.CanonicalDomain(name); err != nil {
		return acc, err
	}
	have, err := home.Accounts.Domains(ctx)
	if err != nil {
		return acc, err
	}
	if !slices.ContainsFunc(have, func(h accounts.Domain) bool { return h.Name == name }) {
		if err := home.Accounts.PutDomain(ctx, accounts.Domain{Name: name}); err != nil {
			return acc, err
		}
	}
	d.made = append(d.made, address)
	return home.Accounts.CreateAccount(ctx, accounts.Account{Address: address}, d.password)
}

// file files one message, unless it is there.
func (b *importBox) file(ctx context.Context, st *store.Store, it mailfiles.Item) (fresh bool, err error) {
	w, err := st.Blobs.Create(ctx)
	if err != nil {
		return false, err
	}
	defer w.Close()
	if _, err := io.Copy(w, bytes.NewReader(it.Raw)); err != nil {
		return false, err
	}
	info, err := w.Commit()
	if err != nil || b.has[info.Ref] {
		return false, err
	}
	b.has[info.Ref] = true
	_, err = b.access.Append(ctx, b.id, store.Append{Blob: info, Flags: it.Flags, Received: it.Received})
	return true, err
}

// tell says what was imported.
func (d *imported) tell(w io.Writer, dir string) {
	fmt.Fprintf(w, "Imported %d messages from %s", d.messages, dir)
	if d.known > 0 {
		fmt.Fprintf(w, "; %d were here already", d.known)
	}
	fmt.Fprintln(w)
	if len(d.made) > 0 {
		fmt.Fprintf(w, "New accounts, password %s: %s\n", d.password, strings.Join(d.made, ", "))
	}
}

// owner is whose mail it is that belongs to no account by its folder.
func (o *options) owner() string {
	if len(o.accounts) > 0 {
		address, _, _ := strings.Cut(o.accounts[0], ":")
		return address
	}
	return demoAddress
}
