// Package admin has the commands with which people look after a mail server:
// accounts, domains, aliases, the queue, and a check of everything that is kept.
//
// An Admin carries them out on the parts of a server, and Offer takes them on a
// socket. A CLI is the program's side: it asks the server that runs, or opens what
// the server keeps when none runs.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/control"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// An Admin carries out commands. Accounts, Store, Queue and Blobs are required.
type Admin struct {
	Accounts accounts.Manager
	Store    *store.Store
	Queue    *queue.Queue
	Blobs    blob.Store
	// Damage, if set, looks for damage below the rows, as a database does, and
	// returns what it found. It is part of check.
	Damage func(context.Context) ([]string, error)
	// Lost, if set, says what the database lost in the last crash, if anything. check
	// tells it, and can do nothing about it.
	Lost func() string
	// Reindex, if set, makes the indexes of the database again, for a check that
	// repairs.
	Reindex func(context.Context) error
	// Files, if set, looks for damage to what Blobs are kept in: what is known of it,
	// or with deep all that there is, and with repair puts right what it can. It tells
	// progress how many bytes it has read.
	Files func(ctx context.Context, deep, repair bool, progress func(read int64)) ([]blob.Fault, error)
	// Restore says how to come back from damage that Reindex does not repair.
	Restore string
	// Hint, if set, says what to do about an error of the parts, or nothing.
	Hint func(error) string
	// Grace is how old a blob that nothing names must be to be removed by a
	// check that repairs; zero means 6 hours.
	Grace time.Duration
	Clock mailkeel.Clock // nil means real time

	// For dns: Keys are those that mail is signed with, nil if it is not; Hostname is
	// what the server calls itself, empty if that is not known here; Relayed says that
	// mail leaves through a smart host; and Resolver is asked what is published, nil
	// meaning net.DefaultResolver.
	Keys     dkim.Keys
	Hostname string
	Relayed  bool
	Resolver Resolver

	serving bool // commands come from the socket of a server
}

func (a *Admin) now() time.Time { return mailkeel.ClockOr(a.Clock).Now() }

// Emit sends one row of an answer.
type Emit = func(row any) error

// Do carries out a command, such as "account list", with its arguments in JSON,
// and emits the rows of the answer. Errors for people are a *control.Error.
func (a *Admin) Do(ctx context.Context, command string, args json.RawMessage, emit Emit) error {
	for _, c := range commands {
		if c.name == command {
			return explain(c.do(a, ctx, args, emit))
		}
	}
	return control.Usagef("there is no command %q", command)
}

// Offer takes commands on a Unix socket at path, which only the owner can use.
// stop ends that: commands in progress may end until its ctx is done.
func (a *Admin) Offer(path string, log *slog.Logger) (stop func(context.Context) error, err error) {
	ln, err := control.Listen(path)
	if err != nil {
		return nil, err
	}
	server := *a
	server.serving = true
	s := &control.Server{Handle: server.Do, Logger: log}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ln); !errors.Is(err, control.ErrClosed) && log != nil {
			log.Error("admin: no commands are taken any more", "err", err)
		}
	}()
	return func(ctx context.Context) error {
		err := s.Shutdown(ctx)
		<-done
		return err
	}, nil
}

// with decodes the arguments of a command before it runs.
func with[A any](do func(a *Admin, ctx context.Context, args A, emit Emit) error) func(*Admin, context.Context, json.RawMessage, Emit) error {
	return func(a *Admin, ctx context.Context, raw json.RawMessage, emit Emit) error {
		var args A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &args); err != nil {
				return control.Usagef("bad arguments: %v", err)
			}
		}
		return do(a, ctx, args, emit)
	}
}

// fail is an error for people, with what to do.
func fail(text, hint string) error { return &control.Error{Text: text, Hint: hint} }

// explain says what to do about the errors of the parts.
func explain(err error) error {
	var e *control.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	hints := []struct {
		err  error
		hint string
	}{
		{accounts.ErrNoUser, "account list shows those that exist"},
		{accounts.ErrNotLocal, "domain list shows the domains of this server, domain add adds one"},
		{accounts.ErrExists, "account list and alias list show what exists"},
		{accounts.ErrInUse, "delete its accounts and aliases first"},
		{accounts.ErrBadAddress, "an address is local-part@domain, a domain has letters, digits, hyphens and dots"},
		{accounts.ErrWeakPassword, "choose a longer one, or leave it out to have one made"},
		{queue.ErrNotFound, "queue list shows what is queued"},
		{queue.ErrLeased, "it is being delivered at this moment; try again when that has ended"},
	}
	for _, h := range hints {
		if errors.Is(err, h.err) {
			text := err.Error() // without the name of the package
			text = strings.TrimPrefix(strings.TrimPrefix(text, "accounts: "), "queue: ")
			text = strings.Replace(text, ": addr: ", ": ", 1)
			return fail(text, h.hint)
		}
	}
	return err
}
