package sqldb

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// A reserve is a file that only takes room, to be given up when there is none: the
// database cannot forget anything without writing, so a full disk would stay full.
type reserve struct {
	fs   vfs.FS
	path string
	size int64 // zero means no reserve

	mu    sync.Mutex
	there bool
	given int // how often it was given up
}

// times is how often the reserve was given up.
func (r *reserve) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.given
}

// missing says that there should be a reserve and is none.
func (r *reserve) missing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.there && r.size > 0
}

// give gives the reserve up. It reports whether there may be room now that was not
// when times was what it was.
func (r *reserve) give(times int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.there && r.fs.Remove(r.path) == nil {
		r.there = false
		r.given++
	}
	return r.given != times
}

// fill makes the reserve if it is missing and there is room again, for more than
// itself.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.there || r.size <= 0 {
		return
	}
	if fi, err := r.fs.Stat(r.path); err == nil && fi.Size() == r.size {
		r.there = true
		return
	}
	if free, ok := vfs.Free(r.fs, filepath.Dir(r.path)); ok && free < 3*r.size {
		return
	}
	f, err := r.fs.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	zeros := make([]byte, 64<<10) // written, for a hole takes no room
	for left := r.size; left > 0 && err == nil; left -= int64(len(zeros)) {
		_, err = f.Write(zeros[:min(left, int64(len(zeros)))])
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if r.there = err == nil; !r.there {
		_ = r.fs.Remove(r.path)
	}
}
