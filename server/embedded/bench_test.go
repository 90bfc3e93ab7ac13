package embedded_test

import (
	"fmt"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/embedded"
)

// BenchmarkServer is a whole server in this process that takes messages of 10 KB:
// "queue" are for elsewhere and stay in the queue, "file" are for 20 accounts here.
// The client is in this process too; for a comparison that leaves it out, see
// package bench.
func BenchmarkServer(b *testing.B) {
	home, err := embedded.Open(b.Context(), b.TempDir(), embedded.Options{})
	if err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(home.Accounts.PutDomain(b.Context(), accounts.Domain{Name: "example.test"}))
	must(home.Accounts.PutAlias(b.Context(), accounts.Alias{Address: "out@example.test", Targets: []string{"someone@elsewhere.example"}}))
	const users = 20
	for u := range users {
		_, err := home.Accounts.CreateAccount(b.Context(), accounts.Account{Address: fmt.Sprintf("u%d@example.test", u)}, "correct horse battery")
		must(err)
	}
	config := server.Config{Hostname: "mail.example.test", SMTP: server.Listen{Addr: "127.0.0.1:0"}}
	home.Fill(&config)
	s, err := server.New(config)
	must(err)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(b.Context()) }()
	defer func() {
		must(s.Shutdown(b.Context()))
		must(<-ran)
	}()
	select {
	case <-s.Ready():
	case err := <-ran:
		b.Fatal(err)
	}
	corpus := load.NewCorpus()
	for _, to := range []struct{ name, address string }{{"queue", "out@example.test"}, {"file", "u{u}@example.test"}} {
		for _, sessions := range []int{1, 10, 50} {
			b.Run(fmt.Sprintf("%s/%d", to.name, sessions), func(b *testing.B) {
				b.ReportAllocs()
				r := load.SMTP{Addr: s.Addr(server.SMTP).String(), Sessions: sessions, Messages: b.N, To: to.address, Users: users, Corpus: corpus}.Run(b.Context())
				if r.Sent != b.N {
					b.Fatalf("%d of %d sent: %s", r.Sent, b.N, r.FirstError)
				}
				b.ReportMetric(r.Rate(), "msgs/s")
				b.ReportMetric(float64(r.P99.Microseconds())/1000, "p99-ms")
			})
		}
	}
}
