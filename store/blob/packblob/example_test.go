package packblob_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

func Example() {
	dir, err := os.MkdirTemp("", "packblob")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	blobs, err := packblob.Open(dir, packblob.Options{})
	if err != nil {
		panic(err)
	}
	defer blobs.Close()
	w, err := blobs.Create(ctx)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	fmt.Fprint(w, "Subject: hello\r\n\r\nhi\r\n")
	info, err := w.Commit() // it survives a power cut now
	if err != nil {
		panic(err)
	}

	r, err := blobs.Open(ctx, info.Ref, 9, 5)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	part, err := io.ReadAll(r)
	fmt.Println(info.Size, string(part), err)
	// Output: 22 hello <nil>
}

// Two blobs that are staged first share one sync.
func ExampleStore_Create() {
	dir, err := os.MkdirTemp("", "packblob")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	blobs, err := packblob.Open(dir, packblob.Options{})
	if err != nil {
		panic(err)
	}
	defer blobs.Close()
	var staged []blob.Stager
	for _, text := range []string{"one", "two"} {
		w, err := blobs.Create(context.Background())
		if err != nil {
			panic(err)
		}
		defer w.Close()
		fmt.Fprint(w, text)
		s := w.(blob.Stager)
		if _, err := s.Stage(); err != nil {
			panic(err)
		}
		staged = append(staged, s)
	}
	for _, s := range staged {
		if err := s.Wait(); err != nil {
			panic(err)
		}
	}
	fmt.Println(blobs.Stats().Syncs, "sync for", blobs.Stats().Blobs, "blobs")
	// Output: 1 sync for 2 blobs
}
