package cluster_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/cluster"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// Nodes that start at the same moment on an empty database make its tables once. Their
// role owns the database, as the package documentation says, and may do nothing else.
func TestNodesStartAtOnce(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	pg.Exec(t, "postgres", "CREATE ROLE mail LOGIN")
	pg.Exec(t, "postgres", "CREATE DATABASE mail OWNER mail TEMPLATE template0 ENCODING 'UTF8'")
	conn := strings.Replace(pg.URL("mail"), "user=postgres", "user=mail", 1)
	ctx := context.Background()
	nodes := make([]*cluster.Node, 4)
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() {
			n, err := cluster.Open(ctx, conn, &memblob.Store{}, cluster.Options{MaxConns: 4})
			if err != nil {
				t.Error(err)
				return
			}
			nodes[i] = n
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if err := nodes[0].Accounts.PutDomain(ctx, accounts.Domain{Name: "example.test"}); err != nil {
		t.Fatal(err)
	}
	if ds, err := nodes[3].Accounts.Domains(ctx); err != nil || len(ds) != 1 {
		t.Errorf("another node sees %v, %v", ds, err)
	}
	// They sign with the same keys, though all make some at once.
	records := make([]string, len(nodes))
	for i, n := range nodes {
		wg.Go(func() {
			n.Keys.NoRSA = true
			keys, err := n.Keys.Keys(ctx, "example.test")
			if err != nil || len(keys) != 1 {
				t.Errorf("%v, %v", keys, err)
				return
			}
			records[i] = keys[0].Name() + " " + keys[0].Record()
		})
	}
	wg.Wait()
	if len(slices.Compact(records)) != 1 {
		t.Errorf("different keys: %q", records)
	}
	for _, n := range nodes {
		c := server.Config{Hostname: "mail.example.test", SMTP: server.Listen{Addr: "127.0.0.1:0"}}
		n.Fill(&c)
		s, err := server.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if c.Sole {
			t.Error("a node believes that it is alone")
		}
		stop, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- s.Run(stop) }()
		<-s.Ready()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
