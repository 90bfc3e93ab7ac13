package sqldb

// Many is a power of a DB with many writers at a time, in many processes. A
// statement sees what was committed before it began, so who reads first and
// writes then locks: with Lock, or rows with FOR UPDATE, which such a DB
// understands.
type Many interface {
	DB
	// Tables translates a step of Migrate.
	Tables(step string) string
}

// Locker is a power of a Conn of a Many.
type Locker interface {
	// Lock waits for the other Updates, of any process, that have locked one
	// of these names, until they end. It may do so with the next statement.
	Lock(names ...string) error
}

// Lock keeps other Updates that lock one of these names out until this one ends. A
// DB with one writer need not do anything.
func Lock(c Conn, names ...string) error {
	if l, ok := c.(Locker); ok {
		return l.Lock(names...)
	}
	return nil
}

// Delayer is a power of a Conn to which the way is long.
type Delayer interface {
	// Later is Exec, but may run with the next statement, or the commit. The
	// Update fails if it does.
	Later(query string, args ...any) error
}

// Later runs a statement whose outcome does not matter to the function: if it
// fails, so does the Update, perhaps later. Changes is not valid after it.
func Later(c Conn, query string, args ...any) error {
	if d, ok := c.(Delayer); ok {
		return d.Later(query, args...)
	}
	return c.Exec(query, args...)
}
