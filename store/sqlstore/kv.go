package sqlstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

var kvSchema = []string{
	`CREATE TABLE kv (
		key     BLOB PRIMARY KEY,
		value   BLOB NOT NULL,
		expires INTEGER NOT NULL
	) WITHOUT ROWID;
	CREATE INDEX kv_expires ON kv (expires);`,
}

// kvEvery is how many Updates there are between two clean-ups. One removes
// 64 rows: more than were made meanwhile, so that what has expired dies
// out, and few enough to hold nobody up.
const kvEvery = 32

// KV is a store.KV in a table of the database. It survives crashes.
type KV struct {
	Clock mailkeel.Clock // nil means real time

	db      sqldb.DB
	skip    string // what leaves rows alone that others change
	updates atomic.Uint64
}

var (
	_ store.KV       = (*KV)(nil)
	_ store.KVReader = (*KV)(nil)
)

// NewKV makes the table if it is missing. The KV does not own db.
func NewKV(ctx context.Context, db sqldb.DB) (*KV, error) {
	if err := sqldb.Migrate(ctx, db, "kv", kvSchema...); err != nil {
		return nil, err
	}
	kv := &KV{db: db}
	if _, ok := db.(sqldb.Many); ok {
		kv.skip = ` FOR UPDATE SKIP LOCKED`
	}
	return kv, nil
}

func (kv *KV) Update(ctx context.Context, key string, ttl time.Duration, fn func([]byte) ([]byte, error)) error {
	now := mailkeel.ClockOr(kv.Clock).Now()
	clean := kv.updates.Add(1)%kvEvery == 0
	k := []byte(key)
	if k == nil {
		k = []byte{}
	}
	return kv.db.Update(ctx, func(c sqldb.Conn) error {
		if err := sqldb.Lock(c, "kv "+key); err != nil {
			return err
		}
		var old []byte
		err := c.Query(`SELECT value FROM kv WHERE key = ? AND expires > ?`, func(r sqldb.Row) error {
			old = r.Bytes(0)
			return nil
		}, k, now.UnixNano())
		if err != nil {
			return err
		}
		data, err := fn(old)
		if err != nil {
			return err
		}
		if data == nil {
			err = sqldb.Later(c, `DELETE FROM kv WHERE key = ?`, k)
		} else {
			err = sqldb.Later(c, `INSERT INTO kv (key, value, expires) VALUES (?, ?, ?)
				ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires`, k, data, now.Add(ttl).UnixNano())
		}
		if err != nil || !clean {
			return err
		}
		return sqldb.Later(c, `DELETE FROM kv WHERE key IN (SELECT key FROM kv WHERE expires <= ? ORDER BY expires LIMIT 64`+kv.skip+`)`, now.UnixNano())
	})
}

// Get reads a snapshot.
func (kv *KV) Get(ctx context.Context, key string) (value []byte, err error) {
	now := mailkeel.ClockOr(kv.Clock).Now()
	k := []byte(key)
	if k == nil {
		k = []byte{}
	}
	err = kv.db.View(ctx, func(c sqldb.Conn) error {
		value = nil
		return c.Query(`SELECT value FROM kv WHERE key = ? AND expires > ?`, func(r sqldb.Row) error {
			value = r.Bytes(0)
			return nil
		}, k, now.UnixNano())
	})
	return value, err
}
