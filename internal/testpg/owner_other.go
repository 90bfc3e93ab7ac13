//go:build !unix

package testpg

import (
	"errors"
	"os/exec"
)

func owner() (string, func(*exec.Cmd), error) {
	return "", nil, errors.New("testpg: needs Unix")
}

func give(string, string) error { return nil }

func group(*exec.Cmd) {}
