// Package embedded keeps everything a mail server keeps in one directory: rows in
// SQLite, message contents in packs, and the server's own certificate.
//
// One process owns a directory. The kernel ends that ownership when the process
// ends, however it does, so a crash leaves nothing to clean up.
//
//	VERSION    the layout of the directory
//	LOCK       the process that owns it
//	mail.db    rows: mailboxes, queue, accounts, keys and what expires, with -wal, -shm, and
//	           -reserve, which is given up when the disk is full so that mail can be deleted
//	packs/     contents, many to a file, with an index; see package packblob
//	search.db  an index of what messages say, with -wal and -shm, once somebody searches; it
//	           can be deleted when the program has stopped
//	tls.pem    the self-signed certificate and its key
//	control    a socket, if the program that owns it takes commands
//	damaged/   contents that were damaged already when layout 1 was left, if any
//
// This is layout 2. Layout 1 kept each content in a file of its own, in blobs/; Open
// moves them into packs, which needs room for both and is done once.
//
// To back it up, stop the program and copy the directory.
package embedded

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/certs"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
	"github.com/mailkeel/mailkeel/store/search/ftsindex"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

var (
	// ErrVersion means that a later version of the program wrote the directory.
	ErrVersion = errors.New("embedded: the directory has another layout")
	// ErrNoHome means that a directory holds nothing of ours.
	ErrNoHome = errors.New("embedded: nothing is kept there yet")
	// ErrDamaged means that a file cannot be used as it is. The error says which, and
	// what to do.
	ErrDamaged = errors.New("embedded: damaged")
	// ErrForeign means that a directory is in use for other things and open to
	// other users. A private one (0700) would be taken.
	ErrForeign = errors.New("embedded: the directory holds other things")
)

// reserve is what the database has left when the disk is full. It is less than what
// contents leave free.
const reserve = 4 << 20

// Options may be zero.
type Options struct {
	// MustExist makes it an error, ErrNoHome, if nothing is there yet.
	MustExist bool
	Clock     mailkeel.Clock // nil means real time
	Logger    *slog.Logger   // nil means discard
	// Compress compresses new contents: see packblob.Options. It may be changed from
	// start to start.
	Compress bool
	// NoIndex leaves searches without an index: they read messages.
	NoIndex bool

	// For tests: fs has packs and small files, nil means that of the machine. With
	// db.VFS SQLite goes to fs too, and the directory is not one of the machine.
	fs    vfs.FS
	db    sqldb.Options
	packs packblob.Options
}

// A Home is an open directory. Its parts are used until Close.
type Home struct {
	Dir      string
	Store    *sqlstore.Backend
	Blobs    *packblob.Store
	Queue    *sqlqueue.Backend
	KV       *sqlstore.KV
	Accounts *sqlaccounts.Directory
	Search   *ftsindex.Index // nil with NoIndex
	Keys     *dkim.KeyRing   // of the domains of Accounts, for DKIM

	o    Options
	lock *os.File
	db   *sqldb.SQLite
}

// Open opens a directory and makes it if it is missing, for the owner of the
// process alone. ErrInUse if another process owns it, ErrForeign if it is no place
// for mail; then nothing was touched.
func Open(ctx context.Context, dir string, o Options) (h *Home, err error) {
	if o.fs == nil {
		o.fs = vfs.OS{}
	}
	if err := prepare(o.fs, dir, o.MustExist); err != nil {
		return nil, err
	}
	h = &Home{Dir: dir, o: o}
	defer func() {
		if err != nil {
			err = h.explain(err)
			h.Close()
			h = nil
		}
	}()
	if o.db.VFS == "" {
		if h.lock, err = lock(dir); err != nil {
			return h, err
		}
	} else {
		o.db.FS = o.fs
	}
	if _, err := readVersion(o.fs, dir); err != nil {
		return h, err
	}
	o.db.Reserve, o.db.Alone = cmp.Or(o.db.Reserve, reserve), true
	if h.db, err = sqldb.OpenSQLite(filepath.Join(dir, "mail.db"), o.db); err != nil {
		return h, fmt.Errorf("embedded: %w", err)
	}
	if lost := h.db.Lost(); lost != nil && o.Logger != nil {
		o.Logger.Warn("embedded: " + lost.String())
	}
	if h.Blobs, err = openBlobs(ctx, dir, o); err != nil {
		return h, err
	}
	if h.Store, err = sqlstore.New(ctx, h.db); err != nil {
		return h, fmt.Errorf("embedded: %w", err)
	}
	if h.KV, err = sqlstore.NewKV(ctx, h.db); err != nil {
		return h, fmt.Errorf("embedded: %w", err)
	}
	h.KV.Clock = o.Clock
	if h.Queue, err = sqlqueue.New(ctx, h.db); err != nil {
		return h, fmt.Errorf("embedded: %w", err)
	}
	// What a crashed owner was delivering is due again.
	if err := h.Queue.Reclaim(ctx); err != nil {
		return h, fmt.Errorf("embedded: %w", err)
	}
	if h.Accounts, err = sqlaccounts.New(ctx, h.db); err != nil {
		return h, fmt.Errorf("embedded: %w", err)
	}
	if !o.NoIndex {
		h.Search = ftsindex.New(filepath.Join(dir, "search.db"), ftsindex.Options{Logger: o.Logger, FS: o.fs, VFS: o.db.VFS})
	}
	h.Keys = &dkim.KeyRing{Store: &store.Store{Backend: h.Store, Clock: o.Clock}, Local: dkim.LocalTo(h.Accounts), Clock: o.Clock}
	h.Accounts.Sole, h.Accounts.Clock = true, o.Clock // the lock on the directory says so
	return h, nil
}

// Fill puts the parts into a Config: all that it needs to keep and to look up, and
// Close. The Logger and Clock of Open are those of the Config, unless it has some.
func (h *Home) Fill(c *server.Config) {
	c.Store, c.Blobs, c.Queue, c.KV = h.Store, h.Blobs, h.Queue, h.KV
	c.Directory, c.Auth, c.Manager = h.Accounts, h.Accounts, h.Accounts
	if c.Keys == nil {
		c.Keys = h.Keys
	}
	c.Sole = true // the lock on the directory says so
	if h.Search != nil {
		c.Search, c.Busy = h.Search, func() bool { return h.db.Waiting() > 0 }
	}
	c.Close = h.Close
	if c.Clock == nil {
		c.Clock = h.o.Clock
	}
	if c.Logger == nil {
		c.Logger = h.o.Logger
	}
}

// Secret returns what is kept under a name in the directory, for the owner's eyes
// only. If there is nothing, it keeps what fresh returns; with a nil fresh it
// returns nil.
func (h *Home) Secret(name string, fresh func() []byte) ([]byte, error) {
	b, err := read(h.o.fs, h.Dir, name)
	if err != nil || b != nil || fresh == nil {
		return b, err
	}
	b = fresh()
	return b, write(h.o.fs, h.Dir, name, b)
}

// TLS returns a configuration with a self-signed certificate for some names and
// addresses. It is kept in the directory, and made anew when it lacks a name and
// before it ends.
func (h *Home) TLS(names ...string) (*tls.Config, error) {
	s := &certs.SelfSigned{Names: names, Keep: keeper{h}, Clock: h.o.Clock, Logger: h.o.Logger}
	if err := s.Load(); err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return &tls.Config{GetCertificate: s.GetCertificate, MinVersion: tls.VersionTLS12}, nil
}

// keeper is a certs.Keeper.
type keeper struct{ *Home }

const tlsFile = "tls.pem"

func (k keeper) Load() ([]byte, error) { return read(k.o.fs, k.Dir, tlsFile) }
func (k keeper) Save(b []byte) error   { return write(k.o.fs, k.Dir, tlsFile, b) }

// Close writes what is held back and gives the directory up. It may be called
// more than once.
func (h *Home) Close() error {
	var errs []error
	if h.Search != nil {
		errs = append(errs, h.Search.Close())
	}
	if h.db != nil {
		errs = append(errs, h.db.Close())
		h.db = nil
	}
	if h.Blobs != nil {
		errs = append(errs, h.Blobs.Close())
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Close()) // last: it ends the ownership
		h.lock = nil
	}
	return errors.Join(errs...)
}
