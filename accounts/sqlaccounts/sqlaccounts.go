// Package sqlaccounts keeps domains, accounts and aliases in a SQL database,
// beside the rows of store and queue.
//
// A Directory answers doors (accounts.Directory, Authenticator,
// SCRAMAuthenticator, PasswordSetter) and takes changes (accounts.Manager). A change
// holds from the moment at which it is durable, in every process: every answer comes
// from the database, or, where one process alone changes it, from what was read since
// the last change.
//
// An account is in one of these states, and a crash leaves one of them: it is there
// (a row, and its address); it is deleted (its ID is one of Deleted, its address
// is free, its mail goes in steps); it has gone (Purged).
package sqlaccounts

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// A Directory keeps accounts in a database. New makes one; its fields are set
// before its first use. It is used from many goroutines, and several processes
// where the database is.
type Directory struct {
	// Hasher makes and checks passwords; nil means a zero one.
	Hasher *password.Hasher
	Logger *slog.Logger // nil means discard
	// Sole says that nobody else changes the accounts in the database. Where
	// mail for an address goes, and how much an account may have, is then
	// remembered until a change, for up to a second.
	Sole  bool
	Clock mailkeel.Clock // nil means real time
	// Tokens says whose a bearer token is, for OAUTHBEARER and XOAUTH2; nil
	// offers neither.
	Tokens accounts.TokenFunc
	// Certificates says whose the certificate of a client is, for EXTERNAL; nil
	// does not offer it.
	Certificates accounts.CertificateFunc
	// Impersonation lets administrators act as the accounts of their domains by
	// the authorization identity of SASL: read their mail, and send for them.
	Impersonation bool

	db     sqldb.DB
	memory memory
	own    password.Hasher
	secret []byte // for SCRAM keys of unknown logins
}

var (
	_ accounts.Directory          = (*Directory)(nil)
	_ accounts.Roster             = (*Directory)(nil)
	_ accounts.QuotaSetter        = (*Directory)(nil)
	_ accounts.Authenticator      = (*Directory)(nil)
	_ accounts.SCRAMAuthenticator = (*Directory)(nil)
	_ accounts.PasswordSetter     = (*Directory)(nil)
	_ accounts.Manager            = (*Directory)(nil)
	_ accounts.Table              = table{}
)

// One table holds the addresses of accounts and aliases, so that an address has
// one owner. Lists are JSON: nothing looks into them.
var schema = []string{`
CREATE TABLE accounts_domain (
	seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
	catchall TEXT NOT NULL, postmaster TEXT NOT NULL);
CREATE TABLE accounts_account (
	seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, rev INTEGER NOT NULL,
	address TEXT NOT NULL UNIQUE, domain TEXT NOT NULL, name TEXT NOT NULL, disabled INTEGER NOT NULL, quota INTEGER NOT NULL,
	sendas TEXT NOT NULL, adminof TEXT NOT NULL,
	phc TEXT NOT NULL, salt BLOB, iterations INTEGER NOT NULL, storedkey BLOB, serverkey BLOB);
CREATE INDEX accounts_account_domain ON accounts_account (domain, address);
CREATE INDEX accounts_account_first ON accounts_account (domain, seq);
CREATE TABLE accounts_address (
	address TEXT PRIMARY KEY, domain TEXT NOT NULL, account TEXT NOT NULL, targets TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX accounts_address_domain ON accounts_address (domain, address);
CREATE TABLE accounts_deleted (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE);
CREATE TABLE accounts_setting (name TEXT PRIMARY KEY, value BLOB NOT NULL)`,
	`ALTER TABLE accounts_account ADD COLUMN maxmessages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts_account ADD COLUMN shared INTEGER NOT NULL DEFAULT 0`,
}

// New makes the tables in db, if they are missing, and returns a Directory over
// them. The caller closes db.
func New(ctx context.Context, db sqldb.DB) (*Directory, error) {
	if err := sqldb.Migrate(ctx, db, "accounts", schema...); err != nil {
		return nil, fmt.Errorf("sqlaccounts: %w", err)
	}
	d := &Directory{db: db}
	fresh := make([]byte, 32)
	rand.Read(fresh)
	err := db.Update(ctx, func(c sqldb.Conn) error {
		err := c.Exec(`INSERT INTO accounts_setting (name, value) VALUES ('scram', ?) ON CONFLICT (name) DO NOTHING`, fresh)
		if err != nil {
			return err
		}
		return c.Query(`SELECT value FROM accounts_setting WHERE name = 'scram'`, func(r sqldb.Row) error {
			d.secret = r.Bytes(0)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("sqlaccounts: %w", err)
	}
	return d, nil
}

func (d *Directory) hasher() *password.Hasher {
	if d.Hasher != nil {
		return d.Hasher
	}
	return &d.own
}

func (d *Directory) logger() *slog.Logger {
	if d.Logger != nil {
		return d.Logger
	}
	return slog.New(slog.DiscardHandler)
}

// newID is 128 random bits: no two are ever the same.
func newID() mailkeel.AccountID {
	b := make([]byte, 16)
	rand.Read(b)
	return mailkeel.AccountID("a" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)))
}

func list(v []string) string {
	if len(v) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(v) // strings only
	return string(b)
}

func unlist(s string) ([]string, error) {
	if s == "[]" || s == "" {
		return nil, nil
	}
	var v []string
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return nil, fmt.Errorf("sqlaccounts: damaged list: %w", err)
	}
	return v, nil
}
