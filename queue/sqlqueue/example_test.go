package sqlqueue_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// text is a mailkeel.Content.
type text string

func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}
func (t text) Size() int64 { return int64(len(t)) }

// A Queue over a database file. What was put is there after the process died.
func Example() {
	dir, err := os.MkdirTemp("", "sqlqueue")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	blobs := new(memblob.Store)

	openQueue := func() (*queue.Queue, func() error) {
		db, err := sqldb.OpenSQLite(filepath.Join(dir, "mail.db"), sqldb.Options{})
		if err != nil {
			panic(err)
		}
		items, err := sqlqueue.New(ctx, db)
		if err != nil {
			panic(err)
		}
		return &queue.Queue{Backend: items, Blobs: blobs}, db.Close
	}

	q, closeDB := openQueue()
	env := &mailkeel.Envelope{ID: "m1", From: "ann@example.org", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.com"}}}
	for _, r := range q.Deliver(ctx, env, text("Subject: hello\r\n\r\nhi\r\n")) {
		fmt.Println("put:", r.Err)
	}
	if err := closeDB(); err != nil {
		panic(err)
	}

	q, closeDB = openQueue()
	defer closeDB()
	for it, err := range q.Backend.List(ctx, queue.Query{}) {
		fmt.Println(it.ID, "to", it.Route, err)
	}
	// Output:
	// put: <nil>
	// m1/0 to example.com <nil>
}
