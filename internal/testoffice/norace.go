//go:build !race

package testoffice

const raceEnabled = false
