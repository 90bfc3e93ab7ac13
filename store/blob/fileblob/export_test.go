package fileblob

import "runtime"

// WaitFor returns when n commits wait for the sync of a folder that runs now.
func (s *Store) WaitFor(n int) {
	for {
		for i := range s.shards {
			if s.shards[i].group.Waiting() >= n {
				return
			}
		}
		runtime.Gosched()
	}
}
