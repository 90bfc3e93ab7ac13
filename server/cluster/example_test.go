package cluster_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/cluster"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// A node needs a database. Here there is none, and Open says so.
func Example() {
	ctx := context.Background()
	node, err := cluster.Open(ctx, "postgres://mail@127.0.0.1:1/mail", &memblob.Store{}, cluster.Options{})
	if err != nil {
		fmt.Println("no database:", !errors.Is(err, cluster.ErrServer))
		return
	}
	config := server.Config{Hostname: "mail.example.test", SMTP: server.Listen{Addr: "127.0.0.1:0"}}
	node.Fill(&config)
	s, err := server.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Run(ctx))
	// Output: no database: true
}
