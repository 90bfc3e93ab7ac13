package embedded_test

import (
	"context"
	"fmt"
	"os"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/embedded"
)

// A whole mail server, kept in one directory.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, err := os.MkdirTemp("", "mail")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	home, err := embedded.Open(ctx, dir, embedded.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	home.Accounts.PutDomain(ctx, accounts.Domain{Name: "example.test"})
	home.Accounts.CreateAccount(ctx, accounts.Account{Address: "ann@example.test"}, "correct horse battery")

	config := server.Config{
		Hostname: "mail.example.test",
		SMTP:     server.Listen{Addr: "127.0.0.1:0"},
		IMAP:     server.Listen{Addr: "127.0.0.1:0"},
	}
	config.TLS, err = home.TLS(config.Hostname)
	if err != nil {
		fmt.Println(err)
		return
	}
	home.Fill(&config)
	s, err := server.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	fmt.Println("SMTP is open:", s.Addr(server.SMTP) != nil)
	stop()
	fmt.Println("stopped:", <-done)
	// Output:
	// SMTP is open: true
	// stopped: <nil>
}
