package blob_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// rows stands for what names blobs: a store, a queue.
type rows map[blob.Ref]bool

func (r rows) Unreferenced(_ context.Context, refs []blob.Ref) (free []blob.Ref, err error) {
	for _, ref := range refs {
		if !r[ref] {
			free = append(free, ref)
		}
	}
	return free, nil
}

func Example() {
	ctx := context.Background()
	s := &memblob.Store{}
	put := func(text string) blob.Info {
		w, _ := s.Create(ctx)
		defer w.Close()
		io.WriteString(w, text)
		info, _ := w.Commit()
		return info
	}
	named := rows{put("one").Ref: true} // the blob first, then the row that names it
	put("two")
	fmt.Println(put("one").Ref[:13]) // equal bytes are one blob

	tomorrow := time.Now().Add(24 * time.Hour)
	n, err := blob.Sweep(ctx, s, tomorrow, time.Hour, named)
	fmt.Println(n, err)
	// Output:
	// sha256-7692c3
	// 1 <nil>
}
