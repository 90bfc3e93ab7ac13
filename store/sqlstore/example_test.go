package sqlstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// A Store over a database file. The contents lie in a blob.Store beside it.
func Example() {
	dir, err := os.MkdirTemp("", "sqlstore")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	db, err := sqldb.OpenSQLite(filepath.Join(dir, "mail.db"), sqldb.Options{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	rows, err := sqlstore.New(ctx, db)
	if err != nil {
		panic(err)
	}
	st := &store.Store{Backend: rows, Blobs: new(memblob.Store)}

	w, err := st.Blobs.Create(ctx)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	fmt.Fprint(w, "Subject: hello\r\n\r\nhi\r\n")
	info, err := w.Commit()
	if err != nil {
		panic(err)
	}
	out, err := st.Deliver(ctx, store.Delivery{Blob: info, Targets: []store.Target{{Account: "ann"}}})
	if err != nil {
		panic(err)
	}
	fmt.Println("UID", out[0].UID, out[0].Err)
	// Output: UID 1 <nil>
}

// Shared counters that expire, such as those of a rate limit.
func ExampleKV() {
	dir, err := os.MkdirTemp("", "sqlstore")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "mail.db"), sqldb.Options{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	kv, err := sqlstore.NewKV(context.Background(), db)
	if err != nil {
		panic(err)
	}
	for range 3 {
		err := kv.Update(context.Background(), "192.0.2.1", time.Minute, func(old []byte) ([]byte, error) {
			fmt.Println(len(old), "before")
			return append(old, '.'), nil
		})
		if err != nil {
			panic(err)
		}
	}
	// Output:
	// 0 before
	// 1 before
	// 2 before
}
