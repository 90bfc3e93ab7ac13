// Command cluster is one node of a mail server that several processes are
// together: rows are in PostgreSQL, contents in a folder that all share. Start it
// as often as you like, each with its own addresses; see the README beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/delivery/relay"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/cluster"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	db := flags.String("db", "", "PostgreSQL: `URL` or connection string")
	folder := flags.String("blobs", "blobs", "`folder` for contents that all nodes share")
	smtp := flags.String("smtp", "127.0.0.1:2525", "`address` for mail from other servers")
	submit := flags.String("submission", "127.0.0.1:1587", "`address` for mail from users")
	imap := flags.String("imap", "127.0.0.1:1143", "`address` for IMAP")
	hostname := flags.String("hostname", "localhost", "`name` of this node")
	smarthost := flags.String("relay", "", "`host:port` that takes mail for elsewhere; without it that is held")
	lease := flags.Duration("lease", 5*time.Minute, "how long other nodes wait for what a dead one was delivering")
	account := flags.String("account", "", "`address:password` of an account to make, if it is not there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *db == "" {
		return errors.New("-db says which database, such as postgres:///mail; the README beside main.go says how to make one")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))

	blobs, err := fileblob.Open(*folder, fileblob.Options{Shared: true})
	if err != nil {
		return err
	}
	node, err := cluster.Open(ctx, *db, blobs, cluster.Options{Logger: log})
	if err != nil {
		return err
	}
	if err := create(ctx, node, *account); err != nil {
		return errors.Join(err, node.Close())
	}
	config := server.Config{
		Hostname: *hostname,
		// A real node has a certificate in TLS, which the nodes share.
		InsecureAuth: true, SMTP: server.Listen{Addr: *smtp}, Submission: server.Listen{Addr: *submit}, IMAP: server.Listen{Addr: *imap},
	}
	if *smarthost != "" {
		config.Rest = &relay.Transport{Addr: *smarthost, Hostname: *hostname, Logger: log}
	}
	node.Fill(&config)
	s, err := server.New(config)
	if err != nil {
		return errors.Join(err, node.Close())
	}
	s.Queue.TTL = *lease
	go func() {
		select {
		case <-s.Ready():
			fmt.Fprintln(out, "ready", s.Addr(server.SMTP), s.Addr(server.Submission), s.Addr(server.IMAP))
		case <-ctx.Done():
		}
	}()
	return s.Run(ctx)
}

// create makes an account and its domain.
func create(ctx context.Context, node *cluster.Node, account string) error {
	if account == "" {
		return nil
	}
	address, password, ok := strings.Cut(account, ":")
	_, domain, isAddress := strings.Cut(address, "@")
	if !ok || !isAddress {
		return errors.New("-account is address:password, such as ann@example.org:secret")
	}
	if err := node.Accounts.PutDomain(ctx, accounts.Domain{Name: domain}); err != nil {
		return err
	}
	_, err := node.Accounts.CreateAccount(ctx, accounts.Account{Address: address}, password)
	if errors.Is(err, accounts.ErrExists) {
		err = nil
	}
	return err
}
