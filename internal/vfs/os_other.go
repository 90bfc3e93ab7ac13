//go:build !linux

package vfs

import "os"

type osFile struct{ *os.File }
