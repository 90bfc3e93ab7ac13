package memblob_test

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

func Example() {
	ctx := context.Background()
	s := &memblob.Store{}
	w, _ := s.Create(ctx)
	defer w.Close()
	io.WriteString(w, "Subject: hello\r\n\r\nhi\r\n")
	info, _ := w.Commit()
	rc, _ := s.Open(ctx, info.Ref, 9, 5)
	defer rc.Close()
	part, _ := io.ReadAll(rc)
	fmt.Printf("%d bytes, %q\n", info.Size, part)

	s.Fault = func(op string) error {
		if op == "create" {
			return errors.New("disk is full")
		}
		return nil
	}
	_, err := s.Create(ctx)
	fmt.Println(err)
	// Output:
	// 22 bytes, "hello"
	// disk is full
}
