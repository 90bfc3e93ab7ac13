//go:build race

package sqlqueue_test

// many is how many items wait. The race detector makes SQLite slow.
const many = 20_000
