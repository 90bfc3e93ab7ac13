package fileblob

import (
	"context"

	"github.com/mailkeel/mailkeel/internal/committer"
)

// dirSync makes the names in one folder durable, as a committer.Target: commits
// to one folder share a sync. Those to different folders are left to the kernel,
// whose journal joins them (measured: as fast as one after the other by us, or
// faster).
type dirSync struct {
	s     *Store
	shard *shard
	dir   string
}

var _ committer.Target = (*dirSync)(nil)

func (d *dirSync) Begin() error            { return nil }
func (d *dirSync) Mark(bool) error         { return nil }
func (d *dirSync) Keep(bool) error         { return nil }
func (d *dirSync) Undo(bool) (bool, error) { return true, nil }
func (d *dirSync) Flush() error            { return nil }
func (d *dirSync) Rollback()               {}

func (d *dirSync) Commit() error {
	err := d.s.fs.SyncDir(d.dir)
	if err != nil {
		d.shard.mu.Lock()
		d.shard.doubt++
		d.shard.mu.Unlock()
	}
	return err
}

// syncDir returns when a name that came into the folder of a place is durable. doubt
// is that of the shard before it came: a sync that failed since may have lost it,
// whatever the next one says.
func (s *Store) syncDir(ctx context.Context, p place, doubt int) error {
	if err := p.shard.group.Do(ctx, func() error { return nil }); err != nil {
		return err
	}
	p.shard.mu.Lock()
	defer p.shard.mu.Unlock()
	if p.shard.doubt != doubt {
		return errDoubt
	}
	return nil
}
