package sqldb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	zs "zombiezen.com/go/sqlite"
)

// maxStmts bounds the prepared statements that a connection keeps.
const maxStmts = 200

// conn is one connection. It keeps prepared statements by their text and is used
// by one goroutine at a time.
type conn struct {
	c       *zs.Conn
	stmts   map[string]stmt
	trace   func(string, int)
	ctx     context.Context // of the running View, nil in the writer
	busy    bool            // a row function runs
	changes int64
}

type stmt struct {
	*zs.Stmt
	params int
}

func openConn(path string, o *Options, pragmas ...string) (*conn, error) {
	// To SQLite some paths begin like the host of a URI, or are no file (":memory:").
	if path = filepath.Clean(path); !filepath.IsAbs(path) {
		path = "." + string(filepath.Separator) + path
	}
	flags, layer := zs.OpenReadWrite, o.VFS
	if layer == "" {
		var err error
		if layer, err = registerVFS(); err != nil {
			return nil, err
		}
	}
	if layer != "" {
		path = "file:" + (&url.URL{Path: path}).EscapedPath() + "?vfs=" + url.QueryEscape(layer)
		flags |= zs.OpenURI
	}
	z, err := zs.OpenConn(path, flags)
	if err != nil {
		return nil, fmt.Errorf("sqldb: %w", err)
	}
	z.SetBusyTimeout(o.BusyTimeout)
	c := &conn{c: z, stmts: map[string]stmt{}}
	for _, p := range append(pragmas, "temp_store=MEMORY") {
		if err := c.Query("PRAGMA "+p, func(Row) error { return nil }); err != nil {
			c.Close()
			return nil, fmt.Errorf("sqldb: %s: %w", p, err)
		}
	}
	c.trace = o.Trace
	return c, nil
}

// useWAL switches the write-ahead log on, which not every file system can serve.
func (c *conn) useWAL() error {
	mode := ""
	err := c.Query("PRAGMA journal_mode=WAL", func(r Row) error { mode = r.Text(0); return nil })
	if err == nil && mode != "wal" {
		err = fmt.Errorf("sqldb: journal mode %q: no write-ahead log on this file system", mode)
	}
	return err
}

var errNested = errors.New("sqldb: statement inside a row function")

// prepare finds or makes the statement of q and binds its arguments.
func (c *conn) prepare(q string, args []any) (stmt, error) {
	if c.busy {
		return stmt{}, errNested
	}
	st, ok := c.stmts[q]
	if !ok {
		z, rest, err := c.c.PrepareTransient(q)
		if err != nil {
			return stmt{}, wrap(q, err)
		}
		if strings.TrimSpace(q[len(q)-rest:]) != "" {
			_ = z.Finalize()
			return stmt{}, fmt.Errorf("sqldb: %.60s: text after the statement", q)
		}
		if len(c.stmts) >= maxStmts {
			for _, old := range c.stmts {
				_ = old.Finalize()
			}
			clear(c.stmts)
		}
		st = stmt{z, z.BindParamCount()}
		c.stmts[q] = st
	}
	if len(args) != st.params {
		return stmt{}, fmt.Errorf("sqldb: %.60s: %d arguments for %d places", q, len(args), st.params)
	}
	for i, a := range args {
		switch a := a.(type) {
		case nil:
			st.BindNull(i + 1)
		case int64:
			st.BindInt64(i+1, a)
		case int:
			st.BindInt64(i+1, int64(a))
		case uint32:
			st.BindInt64(i+1, int64(a))
		case bool:
			st.BindBool(i+1, a)
		case string:
			st.BindText(i+1, a)
		case []byte:
			if a == nil {
				st.BindNull(i + 1)
			} else {
				st.BindBytes(i+1, a)
			}
		default:
			return stmt{}, fmt.Errorf("sqldb: %.60s: argument %d is a %T", q, i+1, a)
		}
	}
	return st, nil
}

func (c *conn) Exec(q string, args ...any) error {
	if len(args) == 0 && strings.Contains(q, ";") {
		return c.script(q)
	}
	return c.Query(q, func(Row) error { return nil }, args...)
}

// script runs statements that are needed once, such as those of a migration.
func (c *conn) script(q string) error {
	if c.busy {
		return errNested
	}
	for strings.TrimSpace(q) != "" {
		st, rest, err := c.c.PrepareTransient(q)
		if err != nil {
			return fmt.Errorf("sqldb: %.60s: %w", q, err)
		}
		for more := true; more && err == nil; {
			more, err = st.Step()
		}
		_ = st.Finalize()
		if err != nil {
			return wrap(q, err)
		}
		if c.trace != nil {
			c.trace(q[:len(q)-rest], 0)
		}
		q = q[len(q)-rest:]
	}
	return nil
}

// ctxRows is how many rows are read between two looks at the context.
const ctxRows = 128

func (c *conn) Query(q string, row func(Row) error, args ...any) (err error) {
	st, err := c.prepare(q, args)
	if err != nil {
		return err
	}
	rows := 0
	defer func() {
		c.busy = false // also when row panics
		if rerr := st.Reset(); err == nil && rerr != nil {
			err = wrap(q, rerr)
		}
		c.changes = int64(c.c.Changes())
		if c.trace != nil {
			c.trace(q, rows)
		}
	}()
	for ; ; rows++ {
		if c.ctx != nil && rows%ctxRows == 0 {
			if err := c.ctx.Err(); err != nil {
				return err
			}
		}
		more, err := st.Step()
		if err != nil {
			return wrap(q, err)
		}
		if !more {
			return nil
		}
		c.busy = true
		err = row(sqliteRow{st.Stmt})
		c.busy = false
		if err != nil {
			return err
		}
	}
}

func wrap(q string, err error) error {
	switch zs.ErrCode(err) {
	case zs.ResultConstraintUnique, zs.ResultConstraintPrimaryKey, zs.ResultConstraintRowID:
		err = errors.Join(ErrUnique, err)
	case zs.ResultFull, zs.ResultIOErrSHMSize:
		err = errors.Join(syscall.ENOSPC, err)
	}
	switch zs.ErrCode(err).ToPrimary() {
	case zs.ResultCorrupt, zs.ResultNotADB:
		err = errors.Join(ErrDamaged, err)
	case zs.ResultError:
		for _, missing := range []string{"no such table", "no such column", "has no column named"} {
			if strings.Contains(err.Error(), missing) {
				err = errors.Join(ErrSchema, err)
			}
		}
	}
	return fmt.Errorf("sqldb: %.60s: %w", q, err)
}

func (c *conn) Changes() int64 { return c.changes }

func (c *conn) Close() error {
	for _, st := range c.stmts {
		_ = st.Finalize()
	}
	return c.c.Close()
}

type sqliteRow struct{ st *zs.Stmt }

func (r sqliteRow) Int(i int) int64   { return r.st.ColumnInt64(i) }
func (r sqliteRow) Text(i int) string { return r.st.ColumnText(i) }
func (r sqliteRow) IsNull(i int) bool { return r.st.ColumnIsNull(i) }

func (r sqliteRow) Bytes(i int) []byte {
	n := r.st.ColumnLen(i)
	if n == 0 && r.IsNull(i) {
		return nil
	}
	b := make([]byte, n)
	r.st.ColumnBytes(i, b)
	return b
}

func (r sqliteRow) Append(to []byte, i int) []byte {
	have, n := len(to), r.st.ColumnLen(i)
	to = slices.Grow(to, n)[:have+n]
	r.st.ColumnBytes(i, to[have:])
	return to
}

// isSelect reports whether q only reads.
func isSelect(q string) bool {
	q = strings.TrimSpace(q)
	return len(q) >= 6 && strings.EqualFold(q[:6], "SELECT")
}
