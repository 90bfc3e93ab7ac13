// Package trgmindex is a search.Index in PostgreSQL, with its extension pg_trgm. It is in
// the database of the store, so that all processes share it and a backup has both.
//
// A message is a row, with its texts as they are compared. An index of their trigrams
// says which rows may have a text of three characters or more, and PostgreSQL compares
// those, so that answers are exact. Trigrams are of letters and digits, and which those
// are is a matter of the database's locale: with C and POSIX only those of ASCII. Other
// texts are then compared with every row of the mailbox, which is slower and finds the
// same.
//
// The rows can be deleted at any time, those of search_account first.
package trgmindex

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// ErrExtension means that the database has no extension pg_trgm that can be used, and
// that it cannot be created.
var ErrExtension = errors.New("trgmindex: the database cannot have the extension pg_trgm")

// schema returns the steps of Migrate. ops is the operator class of the trigrams.
//
// The key says all that an answer needs of messages that do not match, so that their
// rows are not read.
func schema(ops string) []string {
	return []string{`
	CREATE TABLE search_account (
		num     INTEGER PRIMARY KEY AUTOINCREMENT,
		id      TEXT NOT NULL UNIQUE,
		through INTEGER NOT NULL,
		start   INTEGER NOT NULL
	);
	CREATE TABLE search_box (
		id   INTEGER PRIMARY KEY,
		acct INTEGER NOT NULL
	);
	CREATE INDEX search_box_account ON search_box (acct);
	CREATE TABLE search_doc (
		box    INTEGER NOT NULL,
		uid    INTEGER NOT NULL,
		vague  INTEGER NOT NULL,
		fields TEXT NOT NULL,
		header TEXT NOT NULL,
		body   TEXT NOT NULL,
		PRIMARY KEY (box, uid) INCLUDE (vague)
	);
	CREATE INDEX search_doc_trigrams ON search_doc USING gin (fields ` + ops + `, header ` + ops + `, body ` + ops + `);`}
}

// Index is a search.Index. Several, in as many processes, may use the same database.
type Index struct{ db sqldb.Many }

var _ search.Index = (*Index)(nil)

// New makes the extension and the tables that are missing. ErrExtension if the former
// cannot be. The Index does not own db, which is one of PostgreSQL.
func New(ctx context.Context, db sqldb.Many) (*Index, error) {
	in, err := extension(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := sqldb.Migrate(ctx, db, "search", schema(in+".gin_trgm_ops")...); err != nil {
		return nil, err
	}
	return &Index{db: db}, nil
}

// extension returns the schema that the extension is in, as it is written in statements.
func extension(ctx context.Context, db sqldb.Many) (in string, err error) {
	usable := false
	look := func(c sqldb.Conn) error {
		in, usable = "", false
		return c.Query(`SELECT quote_ident(n.nspname), CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN 1 ELSE 0 END
			FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'`, func(r sqldb.Row) error {
			in, usable = r.Text(0), r.Int(1) != 0
			return nil
		})
	}
	made := db.Update(ctx, func(c sqldb.Conn) error {
		if err := sqldb.Lock(c, "schema"); err != nil {
			return err
		}
		if err := look(c); err != nil || in != "" {
			return err
		}
		if err := c.Exec(`CREATE EXTENSION IF NOT EXISTS pg_trgm`); err != nil {
			return err
		}
		return look(c)
	})
	if made != nil {
		// Was it refused, is the database gone, or did somebody else make it, who uses
		// another schema?
		if err := db.View(ctx, look); err != nil {
			return "", err
		}
	}
	switch {
	case in == "":
		return "", fmt.Errorf("%w: %w", ErrExtension, made)
	case !usable:
		return "", fmt.Errorf("%w: no USAGE on its schema %s", ErrExtension, in)
	}
	return in, nil
}

// States yields the accounts that are indexed.
func (x *Index) States(ctx context.Context) (out map[store.AccountID]search.State, err error) {
	err = x.db.View(ctx, func(c sqldb.Conn) error {
		out = map[store.AccountID]search.State{}
		return c.Query(`SELECT id, through, start FROM search_account`, func(r sqldb.Row) error {
			out[store.AccountID(r.Text(0))] = search.State{Through: store.ModSeq(r.Int(1)), Start: store.ModSeq(r.Int(2))}
			return nil
		})
	})
	return out, err
}

// Close leaves the database open.
func (x *Index) Close() error { return nil }
