// Package cluster keeps the rows of a mail server in PostgreSQL, so that any number
// of processes, on any number of machines, are one mail server: each takes mail in,
// shows all mailboxes, and delivers from one queue. Nothing of theirs is kept in a
// process; one that dies is missed by nobody but its connections, and what it was
// delivering is delivered by another when its leases run out.
//
//	blobs, err := fileblob.Open("/srv/mail/blobs", fileblob.Options{Shared: true})
//	nodes, err := cluster.Open(ctx, "postgres://mail@db.example.org/mail", blobs, cluster.Options{})
//	config := server.Config{Hostname: "mail.example.org", SMTP: server.Listen{Addr: ":25"}}
//	nodes.Fill(&config)
//	s, err := server.New(config)
//	err = s.Run(ctx)
//
// The parts can be used without a server too: Store is a store.Backend for a
// store.Store, Queue a queue.Backend for a queue.Queue.
//
// # What is needed
//
// PostgreSQL 13 or later with a database in UTF-8, in whose first schema the tables
// are made at the first start; its default settings are good. Each process has up
// to Options.MaxConns connections and one more that listens; a pooler between must
// leave sessions as they are, because of LISTEN and advisory locks. What is answered
// with 250 is durable when the server has it: for two copies of it, set
// synchronous_standby_names there.
//
// Contents are kept where all processes see them: with fileblob in a folder that
// they share, on one machine or over NFS 4, with the same clock within minutes.
//
// # The role and its password
//
// The role of the connection string owns the tables: it may connect, and may create
// in the schema, and needs nothing else. If it also owns the database it makes the
// extension pg_trgm, which searches use (see package trgmindex); otherwise an
// administrator does, with CREATE EXTENSION pg_trgm, or searches read messages.
//
//	CREATE ROLE mail LOGIN PASSWORD '...';
//	CREATE DATABASE mail OWNER mail TEMPLATE template0 ENCODING 'UTF8';
//
// Without sslmode in the string a connection is in TLS where the server offers it, and
// nobody checks with whom: say sslmode=verify-full and sslrootcert=... for a server on
// another machine. A password stands in no error and no log; but the arguments of a
// command are seen by all users of a machine, so leave it out of the string there,
// and keep it in PGPASSFILE (~/.pgpass) or PGPASSWORD.
//
// With several hosts in the string, of which one is the primary, add
// target_session_attrs=read-write. A node leaves a server that has become a standby,
// and asks for a primary again; until there is one, doors answer with 4xx and NO.
//
// # A new version
//
// The first process of a new version changes the tables, in one transaction. An
// older version does not start on them any more; processes of it that run may go on
// only where the release notes say so. Stop them first if in doubt: senders come again.
//
// # Backup
//
// Copy the folder of contents, then dump the database, then copy the folder again
// without deleting from the copy, all three within server.Config.SweepGrace (6 hours
// unless set otherwise): what a row of the dump names is then in the copy.
//
//	rsync -a /srv/mail/blobs/ backup/blobs/
//	pg_dump -Fc mail > backup/mail.dump
//	rsync -a /srv/mail/blobs/ backup/blobs/
//
// What searches use is made anew if it is not there: leave it out with
// --exclude-table-data='search_*'.
//
// Stop all nodes before a dump is restored, or the database is taken back to an
// earlier time: they hold numbers that were given since.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/search/trgmindex"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

var (
	// ErrUnknown means that the connection to the database broke while a change
	// was committed: it may have happened or not. Doors say that it did not; the
	// repeat of a delivery finds what is there.
	ErrUnknown = pgdb.ErrUnknown
	// ErrServer means that the database cannot be used: it is too old, or not in
	// UTF-8.
	ErrServer = pgdb.ErrServer
)

// Options may be zero.
type Options struct {
	// MaxConns is how many transactions this process runs at once; zero means
	// 20. A server allows 100 connections unless it is told otherwise.
	MaxConns int
	// NoIndex leaves searches without an index: they read messages.
	NoIndex bool
	Clock   mailkeel.Clock // nil means real time
	Logger  *slog.Logger   // nil means discard
}

// A Node is one process of the cluster. Its parts are used until Close.
type Node struct {
	Store    *sqlstore.Backend
	Blobs    blob.Store
	Queue    *sqlqueue.Backend
	KV       *sqlstore.KV
	Accounts *sqlaccounts.Directory
	Search   *trgmindex.Index // nil with NoIndex, or if the database cannot have one
	Keys     *dkim.KeyRing    // of the domains of Accounts, for DKIM; all nodes have the same

	o  Options
	db *pgdb.DB
}

// Open connects to the database of a URL, or of a connection string as libpq knows
// them, and makes the tables that are missing. The Node owns blobs from then on, and
// closes them with itself if they are an io.Closer; if Open fails they are the
// caller's.
func Open(ctx context.Context, conn string, blobs blob.Store, o Options) (_ *Node, err error) {
	n := &Node{o: o}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cluster: %w", err), n.Close())
		}
	}()
	if n.db, err = pgdb.Open(ctx, conn, pgdb.Options{MaxConns: o.MaxConns, Logger: o.Logger}); err != nil {
		return nil, err
	}
	if n.Store, err = sqlstore.New(ctx, n.db); err != nil {
		return nil, err
	}
	if n.KV, err = sqlstore.NewKV(ctx, n.db); err != nil {
		return nil, err
	}
	n.KV.Clock = o.Clock
	if n.Queue, err = sqlqueue.New(ctx, n.db); err != nil {
		return nil, err
	}
	if n.Accounts, err = sqlaccounts.New(ctx, n.db); err != nil {
		return nil, err
	}
	n.Accounts.Clock, n.Accounts.Logger = o.Clock, o.Logger
	n.Keys = &dkim.KeyRing{Store: &store.Store{Backend: n.Store, Clock: o.Clock}, Local: dkim.LocalTo(n.Accounts), Clock: o.Clock}
	if !o.NoIndex {
		switch n.Search, err = trgmindex.New(ctx, n.db); {
		case errors.Is(err, trgmindex.ErrExtension):
			cmp.Or(o.Logger, slog.New(slog.DiscardHandler)).Warn("cluster: searches have no index, and read messages", "err", err)
		case err != nil:
			return nil, err
		}
	}
	n.Blobs = blobs
	return n, nil
}

// Fill puts the parts into a Config: all that it needs to keep and to look up, and
// Close. The Logger and Clock of Open are those of the Config, unless it has some.
func (n *Node) Fill(c *server.Config) {
	c.Store, c.Blobs, c.Queue, c.KV = n.Store, n.Blobs, n.Queue, n.KV
	c.Directory, c.Auth, c.Manager = n.Accounts, n.Accounts, n.Accounts
	c.Close = n.Close
	if c.Keys == nil {
		c.Keys = n.Keys
	}
	if n.Search != nil {
		c.Search = n.Search
	}
	if c.Clock == nil {
		c.Clock = n.o.Clock
	}
	if c.Logger == nil {
		c.Logger = n.o.Logger
	}
}

// Close waits for transactions in progress. It may be called more than once.
func (n *Node) Close() error {
	var errs []error
	if n.db != nil {
		errs = append(errs, n.db.Close())
		n.db = nil
	}
	if c, ok := n.Blobs.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	n.Blobs = nil
	return errors.Join(errs...)
}
