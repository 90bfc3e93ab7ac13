package fileblob_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/mailkeel/mailkeel/store/blob/fileblob"
)

func Example() {
	dir, err := os.MkdirTemp("", "fileblob")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	blobs, err := fileblob.Open(dir, fileblob.Options{})
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
