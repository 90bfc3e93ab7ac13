//go:build !unix

package fileblob

import (
	"errors"
	"os"
)

func lock(*os.File) error   { return errors.New("a folder cannot be shared on this system") }
func unlock(*os.File) error { return nil }
