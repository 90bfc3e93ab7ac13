package fileblob

import (
	"context"

	"github.com/mailkeel/mailkeel/internal/committer"
)

// dirSyncs joins the syncs of folders, as a committer.Target: what it commits is
// the set of folders in which names were made.
type dirSyncs struct {
	s    *Store
	open *dirBatch
}

var _ committer.Target = (*dirSyncs)(nil)

type dirBatch struct{ dirs map[string]*dirSync }

type dirSync struct {
	shard *shard
	err   error
}

func (d *dirSyncs) Begin() error            { d.open = &dirBatch{map[string]*dirSync{}}; return nil }
func (d *dirSyncs) Mark(bool) error         { return nil }
func (d *dirSyncs) Keep(bool) error         { return nil }
func (d *dirSyncs) Undo(bool) (bool, error) { return true, nil }
func (d *dirSyncs) Flush() error            { return nil }
func (d *dirSyncs) Rollback()               {}

// Commit leaves the result of each folder to those who asked for it.
func (d *dirSyncs) Commit() error {
	for dir, one := range d.open.dirs {
		if one.err = d.s.fs.SyncDir(dir); one.err != nil {
			one.shard.mu.Lock()
			one.shard.doubt = true
			one.shard.mu.Unlock()
		}
	}
	return nil
}

// syncDir makes the names in the folder of a place durable, together with other
// commits.
func (s *Store) syncDir(ctx context.Context, p place) error {
	var b *dirBatch
	err := s.group.Do(ctx, func() error {
		b = s.syncs.open
		b.dirs[p.dir] = &dirSync{shard: p.shard}
		return nil
	})
	if err != nil {
		return err
	}
	return b.dirs[p.dir].err
}
