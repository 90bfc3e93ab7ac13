package vfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// A file is durable when it was synced, and its name when the folder was.
func Example() {
	disk := new(vfs.Mem) // in a program: vfs.OS{}
	save := func(name string, sync bool) error {
		f, err := disk.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(f, "hello")
		err = errors.Join(err, f.Sync(), f.Close())
		if err == nil && sync {
			err = disk.SyncDir("/")
		}
		return err
	}
	fmt.Println(save("/kept", true), save("/lost", false))
	after := disk.Crash()
	_, kept := after.Stat("/kept")
	_, lost := after.Stat("/lost")
	fmt.Println(kept, errors.Is(lost, fs.ErrNotExist))
	// Output:
	// <nil> <nil>
	// <nil> true
}
