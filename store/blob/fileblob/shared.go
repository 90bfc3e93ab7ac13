package fileblob

import (
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// abandonedAfter is how old a temporary file is that nobody writes to any more.
const abandonedAfter = 24 * time.Hour

// abandoned reports whether a temporary file was left by a process that crashed.
func (s *Store) abandoned(e fs.DirEntry) bool {
	fi, err := e.Info()
	return err == nil && s.clock.Now().Sub(fi.ModTime()) > abandonedAfter
}

// hold keeps others, also in other processes, from looking at a blob of a shard to
// change it, until release.
func (s *Store) hold(sh *shard) (err error) {
	sh.mu.Lock()
	if s.locks == "" {
		return nil
	}
	defer func() {
		if err != nil {
			sh.mu.Unlock()
		}
	}()
	if sh.lock == nil {
		name := filepath.Join(s.locks, hex.EncodeToString([]byte{sh.number}))
		if sh.lock, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			sh.lock = nil
			return err
		}
	}
	return lock(sh.lock)
}

func (s *Store) release(sh *shard) {
	defer sh.mu.Unlock()
	if sh.lock == nil {
		return
	}
	if unlock(sh.lock) != nil {
		sh.lock.Close() // which ends the lock
		sh.lock = nil
	}
}
