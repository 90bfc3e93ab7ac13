//go:build !linux

package sqldb

// registerVFS leaves SQLite its own layer: its fsync is what the system has.
func registerVFS() (string, error) { return "", nil }
