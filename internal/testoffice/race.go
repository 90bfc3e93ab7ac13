//go:build race

package testoffice

const raceEnabled = true
