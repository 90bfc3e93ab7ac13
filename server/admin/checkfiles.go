package admin

import (
	"context"
	"maps"
	"slices"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// files asks those who keep the contents, who know more of their files than the
// contents of them.
func (c *checking) files(ctx context.Context) error {
	var lost error // the way to who asked
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	faults, err := c.Files(ctx, c.args.Deep, c.args.Repair, func(read int64) {
		if lost == nil {
			lost = c.news(func(at *At) { at.Bytes = read })
		}
		if lost != nil {
			cancel()
		}
	})
	if lost != nil {
		return lost
	}
	if err != nil {
		return err
	}
	for _, f := range faults {
		state, done := "B1", store.Left
		switch {
		case f.Ref != "":
			c.bad[f.Ref] = f.Text // whoever names it is told of
			continue
		case f.Repaired:
			done = store.Repaired
		case f.Kept:
			state, done = "B2", store.Known
		}
		if err := c.found(state, "contents", f.Text, done); err != nil {
			return err
		}
	}
	return nil
}

// discard gives up damaged contents that nothing names.
func (c *checking) discard(ctx context.Context) error {
	if len(c.bad) == 0 {
		return nil
	}
	p, ok := c.Blobs.(interface {
		Discard(ctx context.Context, refs ...blob.Ref) (int, error)
	})
	free := slices.Sorted(maps.Keys(c.bad))
	for _, h := range []blob.Holder{c.Store, c.Queue} {
		var err error
		if free, err = h.Unreferenced(ctx, free); err != nil {
			return err
		}
	}
	for _, ref := range free {
		done := store.Left
		if c.args.Repair && ok {
			if _, err := p.Discard(ctx, ref); err != nil {
				return err
			}
			done = store.Repaired
		}
		if err := c.found("B3", string(ref), "a damaged content that nothing names: "+c.bad[ref], done); err != nil {
			return err
		}
	}
	return nil
}
