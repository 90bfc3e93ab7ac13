// Package mailviewondisk tests package mailview over the backends that keep mail on disk.
// The tests of package mailview itself use those in memory, so that who requires a door,
// or package mailtest, has no database driver among the modules of go.sum.
package mailviewondisk
