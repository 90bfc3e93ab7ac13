package server_test

import (
	"context"
	"fmt"
	"net/smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// A mail server over memory, with a function that sees what is filed.
func Example() {
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{Address: "ann@example.test"}, Password: "correct horse"},
	}}
	s, err := server.New(server.Config{
		Hostname: "mx.example.test",
		Store:    &memstore.Backend{}, Blobs: &memblob.Store{}, Queue: &memqueue.Backend{},
		Directory: users, Auth: users,
		SMTP: server.Listen{Addr: "127.0.0.1:0"},
		IMAP: server.Listen{Addr: "127.0.0.1:0"},
		Local: func(next mailkeel.Transport) mailkeel.Transport {
			return mailkeel.HandlerFunc(func(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) error {
				fmt.Println("for", env.Rcpts[0].Addr)
				return mailkeel.Deliver(ctx, next, env, c)[0].Err
			})
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()

	err = smtp.SendMail(s.Addr(server.SMTP).String(), nil, "zoe@example.net", []string{"ann@example.test"}, []byte("Subject: hi\r\n\r\n"))
	fmt.Println("sent:", err)
	stop()
	fmt.Println("stopped:", <-done)
	// Output:
	// for ann@example.test
	// sent: <nil>
	// stopped: <nil>
}
