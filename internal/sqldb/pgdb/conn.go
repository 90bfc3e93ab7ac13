package pgdb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

const (
	beginUpdate = "begin isolation level read committed"
	beginView   = "begin isolation level repeatable read read only"
)

// conn is one transaction. It begins with the first statement.
type conn struct {
	db      *DB
	ctx     context.Context
	c       *pgxpool.Conn
	opening string
	begun   bool
	busy    bool // a row function runs
	queue   []statement
	changes int64
	notes   []sqldb.Note
	err     error // the first of the server or the connection
}

var (
	_ sqldb.Conn    = (*conn)(nil)
	_ sqldb.Locker  = (*conn)(nil)
	_ sqldb.Delayer = (*conn)(nil)
)

type statement struct {
	text string // as it was given
	sql  string
	args []any
}

var errNested = errors.New("pgdb: statement inside a row function")

// statement translates a query and its arguments.
func (c *conn) statement(q string, args []any) (statement, error) {
	if c.busy {
		return statement{}, errNested
	}
	if c.err != nil {
		return statement{}, c.err
	}
	t := c.db.texts.of(q)
	if len(args) != t.places {
		return statement{}, fmt.Errorf("pgdb: %.60s: %d arguments for %d places", q, len(args), t.places)
	}
	s := statement{q, t.sql, make([]any, len(args))}
	for i, a := range args {
		switch a := a.(type) {
		case nil, int64:
			s.args[i] = a
		case string:
			s.args[i] = storable(a)
		case int:
			s.args[i] = int64(a)
		case uint32:
			s.args[i] = int64(a)
		case bool:
			if s.args[i] = int64(0); a {
				s.args[i] = int64(1)
			}
		case []byte:
			if a != nil { // else NULL
				s.args[i] = a
			}
		default:
			return statement{}, fmt.Errorf("pgdb: %.60s: argument %d is a %T", q, i+1, a)
		}
	}
	return s, nil
}

// maxQueue is how many statements wait for the next one. Their arguments are in
// memory here, and their results at the server.
const maxQueue = 256

func (c *conn) Later(q string, args ...any) error {
	s, err := c.statement(q, args)
	if err != nil {
		return err
	}
	if c.queue = append(c.queue, s); len(c.queue) >= maxQueue {
		return c.send(nil, "")
	}
	return nil
}

func (c *conn) Lock(names ...string) error {
	keys := make([]int64, len(names))
	for i, n := range names {
		keys[i] = c.db.lockKey(n)
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		if err := c.Later(`SELECT pg_advisory_xact_lock(?)`, k); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) Exec(q string, args ...any) error {
	if len(args) == 0 && strings.Contains(q, ";") {
		return c.script(q)
	}
	return c.Query(q, func(sqldb.Row) error { return nil }, args...)
}

// script runs statements that are needed once, such as those of a migration.
func (c *conn) script(q string) error {
	if c.busy {
		return errNested
	}
	if !c.begun || len(c.queue) > 0 {
		if err := c.send(nil, ""); err != nil {
			return err
		}
	}
	if c.err != nil {
		return c.err
	}
	c.trip()
	_, err := c.c.Conn().PgConn().Exec(c.ctx, q).ReadAll()
	c.trace(q, 0)
	return c.failed(q, err)
}

func (c *conn) Query(q string, row func(sqldb.Row) error, args ...any) error {
	s, err := c.statement(q, args)
	if err != nil {
		return err
	}
	c.queue = append(c.queue, s)
	return c.send(row, "")
}

// send runs what is queued, in one round trip, and then end, if it is not empty. row
// is for the rows of the last that is queued.
func (c *conn) send(row func(sqldb.Row) error, end string) (err error) {
	if c.err != nil {
		return c.err
	}
	b := &pgx.Batch{}
	if !c.begun {
		b.Queue(c.opening)
	}
	for _, s := range c.queue {
		b.Queue(s.sql, s.args...)
	}
	if end != "" {
		b.Queue(end)
	}
	queue := c.queue
	c.queue = nil
	c.trip()
	res := c.c.SendBatch(c.ctx, b)
	defer func() {
		c.busy = false // also when row panics
		// What is left is read. The batch fails here at the latest.
		if cerr := res.Close(); cerr != nil && err == nil {
			err = c.failed(end, cerr)
		}
	}()
	if !c.begun {
		if _, err := res.Exec(); err != nil {
			return c.failed(c.opening, err)
		}
		c.begun = true
	}
	for i, s := range queue {
		if i == len(queue)-1 && row != nil {
			err = c.rows(s, res, row)
		} else {
			var tag pgconn.CommandTag
			tag, err = res.Exec()
			c.changes = tag.RowsAffected()
			c.trace(s.text, int(c.changes))
			err = c.failed(s.text, err)
		}
		if err != nil {
			return err
		}
	}
	if end == "" {
		return nil
	}
	tag, err := res.Exec()
	if err == nil && !strings.EqualFold(tag.String(), end) {
		err = fmt.Errorf("answered %q", tag)
	}
	if err != nil {
		return c.failed(end, err)
	}
	c.begun = false
	return nil
}

// rows gives row the rows of a result.
func (c *conn) rows(s statement, res pgx.BatchResults, row func(sqldb.Row) error) error {
	rs, err := res.Query()
	if err != nil {
		return c.failed(s.text, err)
	}
	defer rs.Close()
	n := 0
	for ; rs.Next(); n++ {
		c.busy = true
		err := row(pgRow{rs.RawValues(), rs.FieldDescriptions()})
		c.busy = false
		if err != nil {
			return err
		}
	}
	rs.Close()
	c.changes = rs.CommandTag().RowsAffected()
	c.trace(s.text, n)
	return c.failed(s.text, rs.Err())
}

func (c *conn) Changes() int64 { return c.changes }

// Notify leaves out what was said already.
func (c *conn) Notify(topic, payload string) {
	if n := (sqldb.Note{Topic: topic, Payload: payload}); !slices.Contains(c.notes, n) {
		c.notes = append(c.notes, n)
	}
}

func (c *conn) trip() {
	if c.db.o.Trip != nil {
		c.db.o.Trip()
	}
}

func (c *conn) trace(q string, rows int) {
	if c.db.o.Trace != nil {
		c.db.o.Trace(q, rows)
	}
}

// failed remembers that the transaction is over, if err is not nil, and returns err
// in sqldb's words.
func (c *conn) failed(q string, err error) error {
	if err == nil {
		return nil
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case "23505": // unique_violation
			err = errors.Join(sqldb.ErrUnique, err)
		case "53100": // disk_full
			err = errors.Join(syscall.ENOSPC, err)
		}
	}
	err = fmt.Errorf("pgdb: %.60s: %w", q, err)
	if c.err == nil {
		c.err = err
	}
	return err
}

// A pgRow reads values as the server sent them.
type pgRow struct {
	values [][]byte
	fields []pgconn.FieldDescription
}

func (r pgRow) IsNull(i int) bool { return r.values[i] == nil }
func (r pgRow) Text(i int) string { return stored(string(r.values[i])) }

// Int reads numbers, which pgx asks for in binary.
func (r pgRow) Int(i int) int64 {
	switch b := r.values[i]; len(b) {
	case 8:
		return int64(binary.BigEndian.Uint64(b))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b)))
	case 1:
		return int64(b[0])
	}
	return 0
}

func (r pgRow) Bytes(i int) []byte { return slices.Clone(r.bytes(i)) }

func (r pgRow) Append(to []byte, i int) []byte { return append(to, r.bytes(i)...) }

func (r pgRow) bytes(i int) []byte {
	if r.fields[i].DataTypeOID == pgtype.ByteaOID && r.fields[i].Format != pgtype.BinaryFormatCode {
		panic("pgdb: bytes came as text")
	}
	return r.values[i]
}
