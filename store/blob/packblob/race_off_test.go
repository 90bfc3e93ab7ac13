//go:build !race

package packblob_test

const raceEnabled = false
