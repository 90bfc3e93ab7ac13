// Command postoffice is a whole mail server: SMTP, submission, LMTP, IMAP, POP3 and
// webmail, with mailboxes, accounts and a queue in one directory. Run it without any flag for a
// first try, with -h for all it can do.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/server/admin"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: it serves until ctx is done, or carries out a command. It
// returns the exit code: 0, 1 if it failed, 2 if it was not understood.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, rest, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		help(stdout, commands(nil).Help)
		return 0
	}
	if err != nil {
		for l := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "postoffice: %s\n", strings.TrimSuffix(l, "\n"))
		}
		fmt.Fprintf(stderr, "  postoffice -h shows all flags\n")
		return 2
	}
	if len(rest) > 0 {
		cli := commands(o)
		if !cli.Has(rest[0]) {
			fmt.Fprintf(stderr, "postoffice: %q is neither a flag nor a command\n  postoffice -h shows them\n", rest[0])
			return 2
		}
		return cli.Run(ctx, rest, stdin, stdout, stderr)
	}
	if err := serve(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "postoffice: %v\n", err)
		if h := hint(err); h != "" {
			fmt.Fprintf(stderr, "  %s\n", h)
		}
		return 1
	}
	return 0
}

// commands are the sub-commands, for the directory of o.
func commands(o *options) *admin.CLI {
	cli := &admin.CLI{
		Program: "postoffice", Socket: socket,
		InUse: func(err error) bool { return errors.Is(err, embedded.ErrInUse) },
		Hint:  hint,
		Open: func(ctx context.Context, dir string) (*admin.Admin, func() error, error) {
			home, err := embedded.Open(ctx, dir, embedded.Options{MustExist: true})
			if err != nil {
				return nil, nil, err
			}
			boxes := &store.Store{Backend: home.Store, Blobs: home.Blobs}
			items := &queue.Queue{Backend: home.Queue, Blobs: home.Blobs}
			return commandsOn(home, boxes, items, o), home.Close, nil
		},
	}
	if o != nil {
		cli.Dir, cli.JSON = o.dir, o.json
	}
	return cli
}

// commandsOn carries out commands on what is kept in a directory.
func commandsOn(home *embedded.Home, boxes *store.Store, items *queue.Queue, o *options) *admin.Admin {
	a := &admin.Admin{
		Accounts: home.Accounts, Store: boxes, Queue: items, Blobs: home.Blobs,
		Damage: home.Damage, Lost: home.Lost, Reindex: home.Reindex, Files: home.Files,
		Hint: home.Hint, Restore: home.Restore(), Keys: home.Keys,
	}
	if o != nil {
		a.Hostname, a.Relayed = cmp.Or(o.hostname, machine()), o.relay != ""
		if !o.sign {
			a.Keys = nil
		}
		if o.resolver != "" {
			a.Resolver = remote.Ask(o.resolverAddr())
		}
	}
	return a
}
