// Command minimal receives mail in a function: whatever is sent to an address of
// the domain is printed.
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
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("minimal", flag.ContinueOnError)
	fs.SetOutput(stderr)
	addr := fs.String("smtp", "127.0.0.1:2525", "where to listen")
	domain := fs.String("domain", "example.test", "the domain to receive mail for")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}

	// The function: what it returns decides what the sender hears. An error
	// makes the sender try again; a mailkeel.Error with a code of 550 does not.
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
	blobs := &memblob.Store{}
	s := &smtp.Server{
		Hostname: "localhost", Blobs: blobs, Next: mailkeel.HandlerFunc(handle),
		Directory: &static.Directory{ // every address of the domain
			Domains:  []accounts.Domain{{Name: *domain, CatchAll: "all@" + *domain}},
			Accounts: []static.Account{{Account: accounts.Account{Address: "all@" + *domain}}},
		},
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(stderr, "minimal:", err)
		return 1
	}
	go tidy(ctx, blobs)
	context.AfterFunc(ctx, func() { s.Shutdown(context.Background()) })
	fmt.Fprintln(stdout, "ready on", ln.Addr())
	s.Serve(ln)
	return 0
}

// tidy removes the contents that the function has seen: nothing names them.
func tidy(ctx context.Context, blobs blob.Store) {
	for ctx.Err() == nil {
		blob.Sweep(ctx, blobs, time.Now(), 10*time.Minute, nobody{})
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
		}
	}
}

// nobody is a blob.Holder that holds nothing.
type nobody struct{}

func (nobody) Unreferenced(_ context.Context, refs []blob.Ref) ([]blob.Ref, error) { return refs, nil }
