package sqlvfs

import (
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// shared is what the connections to one database share. It goes with the last.
type shared struct {
	files    int
	readers  int   // hold SHARED or more
	reserved *file // holds RESERVED or more
	pending  *file // holds PENDING or EXCLUSIVE

	mapped  int
	regions []uintptr // the shared memory of the log
	locks   [lib.SQLITE_SHM_NLOCK]struct {
		shared    int
		exclusive bool
	}
}

func xLock(_ *libc.TLS, p uintptr, level int32) int32 {
	f := fileOf(p)
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	s := f.shared
	if s == nil || f.level >= level {
		return lib.SQLITE_OK
	}
	switch level {
	case lib.SQLITE_LOCK_SHARED:
		if s.pending != nil {
			return lib.SQLITE_BUSY
		}
		s.readers++
	case lib.SQLITE_LOCK_RESERVED:
		if s.reserved != nil {
			return lib.SQLITE_BUSY
		}
		s.reserved = f
	default:
		if s.pending != nil && s.pending != f || s.reserved != nil && s.reserved != f {
			return lib.SQLITE_BUSY
		}
		s.pending = f
		if s.readers > 1 {
			f.level = lib.SQLITE_LOCK_PENDING // and no new readers come
			return lib.SQLITE_BUSY
		}
	}
	f.level = level
	return lib.SQLITE_OK
}

func xUnlock(_ *libc.TLS, p uintptr, level int32) int32 {
	f := fileOf(p)
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.shared != nil {
		f.unlock(level)
	}
	return lib.SQLITE_OK
}

// unlock is called with v.mu.
func (f *file) unlock(level int32) {
	s := f.shared
	if f.level <= level {
		return
	}
	if s.reserved == f {
		s.reserved = nil
	}
	if s.pending == f {
		s.pending = nil
	}
	if level == lib.SQLITE_LOCK_NONE {
		s.readers--
	}
	f.level = level
}

func xCheckReservedLock(_ *libc.TLS, p, out uintptr) int32 {
	f := fileOf(p)
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	s := f.shared
	*(*int32)(at(out)) = libc.Bool32(s != nil && (s.reserved != nil || s.pending != nil))
	return lib.SQLITE_OK
}

// xShmMap gives a part of the shared memory, which is new and zero for the first
// connection, as after a start of the machine.
func xShmMap(tls *libc.TLS, p uintptr, i, size, extend int32, out uintptr) int32 {
	f := fileOf(p)
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	s := f.shared
	*(*uintptr)(at(out)) = 0
	if s == nil {
		return lib.SQLITE_IOERR_SHMMAP
	}
	if !f.mapped {
		f.mapped = true
		s.mapped++
	}
	for int(i) >= len(s.regions) {
		if extend == 0 {
			return lib.SQLITE_OK
		}
		r := libc.Xcalloc(tls, 1, libc.Tsize_t(size))
		if r == 0 {
			return lib.SQLITE_NOMEM
		}
		s.regions = append(s.regions, r)
	}
	*(*uintptr)(at(out)) = s.regions[i]
	return lib.SQLITE_OK
}

func xShmLock(_ *libc.TLS, p uintptr, off, n, flags int32) int32 {
	f := fileOf(p)
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.shared == nil {
		return lib.SQLITE_IOERR_SHMLOCK
	}
	locks := f.shared.locks[off : off+n]
	mask := uint(1)<<(off+n) - uint(1)<<off
	switch {
	case flags&lib.SQLITE_SHM_UNLOCK != 0:
		f.shmUnlock(mask)
	case flags&lib.SQLITE_SHM_SHARED != 0:
		if f.held[0]&mask == mask {
			return lib.SQLITE_OK
		}
		for i := range locks {
			if locks[i].exclusive {
				return lib.SQLITE_BUSY
			}
		}
		for i := range locks {
			locks[i].shared++
		}
		f.held[0] |= mask
	default:
		for i := range locks {
			if locks[i].exclusive || locks[i].shared > 0 {
				return lib.SQLITE_BUSY
			}
		}
		for i := range locks {
			locks[i].exclusive = true
		}
		f.held[1] |= mask
	}
	return lib.SQLITE_OK
}

// shmUnlock is called with v.mu.
func (f *file) shmUnlock(mask uint) {
	for i := range f.shared.locks {
		bit := uint(1) << i & mask
		if f.held[0]&bit != 0 {
			f.shared.locks[i].shared--
		}
		if f.held[1]&bit != 0 {
			f.shared.locks[i].exclusive = false
		}
		f.held[0] &^= bit
		f.held[1] &^= bit
	}
}

// xShmBarrier orders what connections read and write.
func xShmBarrier(_ *libc.TLS, p uintptr) {
	f := fileOf(p)
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
}

func xShmUnmap(tls *libc.TLS, p uintptr, _ int32) int32 {
	f := fileOf(p)
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	f.unmap(tls)
	return lib.SQLITE_OK
}

// unmap is called with v.mu.
func (f *file) unmap(tls *libc.TLS) {
	if !f.mapped {
		return
	}
	f.shmUnlock(^uint(0))
	f.mapped = false
	if f.shared.mapped--; f.shared.mapped == 0 {
		for _, r := range f.shared.regions {
			libc.Xfree(tls, r)
		}
		f.shared.regions = nil
	}
}
