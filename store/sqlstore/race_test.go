//go:build race

package sqlstore_test

// raced says that the race detector makes SQLite ten times slower.
const raced = true
