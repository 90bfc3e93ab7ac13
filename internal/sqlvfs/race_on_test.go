//go:build race

package sqlvfs_test

const raceEnabled = true
