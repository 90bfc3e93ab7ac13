package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mailkeel/mailkeel/internal/control"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "control")
	ln, err := control.Listen(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := &control.Server{Handle: func(_ context.Context, command string, _ json.RawMessage, emit func(any) error) error {
		if command != "count" {
			return control.Usagef("no such command: %s", command)
		}
		for i := range 2 {
			if err := emit(i); err != nil {
				return err
			}
		}
		return nil
	}}
	go s.Serve(ln)
	defer s.Close()

	c, err := control.Dial(ctx, path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	show := func(row json.RawMessage) error { fmt.Println(string(row)); return nil }
	fmt.Println(c.Do(ctx, "count", nil, show))
	fmt.Println(c.Do(ctx, "dance", nil, show))
	// Output:
	// 0
	// 1
	// <nil>
	// no such command: dance
}
