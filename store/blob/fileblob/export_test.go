package fileblob

import "runtime"

// WaitFor returns when n commits wait for the sync that runs now.
func (s *Store) WaitFor(n int) {
	for s.group.Waiting() < n {
		runtime.Gosched()
	}
}
