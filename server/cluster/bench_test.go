package cluster_test

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/cluster"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
)

// BenchmarkFile takes messages of 10 KB by SMTP and files them in 20 mailboxes, all
// synced before the 250.
func BenchmarkFile(b *testing.B) {
	pg := testpg.Start(b, testpg.Options{Settings: map[string]string{"shared_buffers": "128MB", "max_wal_size": "1GB"}})
	blobs, err := fileblob.Open(filepath.Join(b.TempDir(), "blobs"), fileblob.Options{Shared: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	n, err := cluster.Open(ctx, pg.Database(b), blobs, cluster.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Accounts.PutDomain(ctx, accounts.Domain{Name: "example.test"}); err != nil {
		b.Fatal(err)
	}
	for i := range 20 {
		_, err := n.Accounts.CreateAccount(ctx, accounts.Account{Address: fmt.Sprintf("u%d@example.test", i)}, "")
		if err != nil {
			b.Fatal(err)
		}
	}
	c := server.Config{Hostname: "mail.example.test", SMTP: server.Listen{Addr: "127.0.0.1:0"}}
	n.Fill(&c)
	s, err := server.New(c)
	if err != nil {
		b.Fatal(err)
	}
	stop, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(stop) }()
	<-s.Ready()
	corpus := load.NewCorpus()
	for _, sessions := range []int{1, 20, 50} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			before := cpu()
			r := load.SMTP{Addr: s.Addr(server.SMTP).String(), Sessions: sessions, Messages: b.N, Size: 10_000, To: "u{u}@example.test", Users: 20, Corpus: corpus}.Run(ctx)
			b.ReportMetric(float64(cpu()-before)/float64(time.Microsecond)/float64(b.N), "µs-CPU/op")
			b.Logf("%+v", r)
		})
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// cpu is what this process used, client and node.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
