// Command minimal receives mail in a function: whatever is sent to an address of
// example.test is printed.
//
//	go run ./examples/minimal
//	curl smtp://127.0.0.1:2525 --mail-from me@example.com --mail-rcpt you@example.test -T letter.eml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("minimal", flag.ContinueOnError)
	fs.SetOutput(stderr)
	addr := fs.String("smtp", "127.0.0.1:2525", "where to listen")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(stderr, "minimal:", err)
		return 1
	}

	// The function. What it returns decides what the sender hears: nil means
	// that the message is safe, an error that it shall be sent again, and a
	// mailkeel.Error with a code of 550 that it shall not.
	handle := func(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) error {
		r, err := c.Open(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		fmt.Fprintf(stdout, "from <%s> to <%s>, %d bytes\n", env.From, env.Rcpts[0].Given, c.Size())
		_, err = io.Copy(stdout, r)
		return err
	}
	s := &smtp.Server{
		Hostname: "localhost", Blobs: &memblob.Store{Forget: time.Hour}, Next: mailkeel.HandlerFunc(handle),
		Directory: &static.Directory{ // every address of the domain is one mailbox
			Domains:  []accounts.Domain{{Name: "example.test", CatchAll: "all@example.test"}},
			Accounts: []static.Account{{Account: accounts.Account{Address: "all@example.test"}}},
		},
	}
	fmt.Fprintln(stdout, "ready on", ln.Addr())
	context.AfterFunc(ctx, func() { s.Shutdown(context.Background()) })
	s.Serve(ln)
	return 0
}
