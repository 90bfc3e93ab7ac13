package admin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server/admin"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "db"), sqldb.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	users, err := sqlaccounts.New(ctx, db)
	if err != nil {
		fmt.Println(err)
		return
	}
	blobs := &memblob.Store{}
	a := &admin.Admin{
		Accounts: users,
		Store:    &store.Store{Backend: &memstore.Backend{}, Blobs: blobs},
		Queue:    &queue.Queue{Backend: &memqueue.Backend{}, Blobs: blobs},
		Blobs:    blobs,
	}

	// The program's side: postoffice domain add example.test, and so on.
	cli := &admin.CLI{
		Program: "postoffice", Dir: dir,
		Socket: func(dir string) string { return filepath.Join(dir, "control") },
		Open: func(context.Context, string) (*admin.Admin, func() error, error) {
			return a, func() error { return nil }, nil
		},
	}
	for _, args := range [][]string{
		{"domain", "add", "example.test"},
		{"domain", "list", "-json"},
		{"alias", "add", "team@example.test", "ann@example.net"},
		{"domain", "delete", "example.test"},
	} {
		fmt.Println("exit code", cli.Run(ctx, args, nil, os.Stdout, os.Stdout))
	}
	// Output:
	// domain example.test added
	// exit code 0
	// {"name":"example.test"}
	// exit code 0
	// alias team@example.test added: ann@example.net
	// exit code 0
	// postoffice: domain in use: example.test
	//   delete its accounts and aliases first
	// exit code 1
}
