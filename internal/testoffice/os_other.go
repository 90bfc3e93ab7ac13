//go:build !linux

package testoffice

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }

// keep leaves the program in the temporary directory.
func keep(_, path string) (string, error) { return path, nil }
