package smtp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	netsmtp "net/smtp"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// Mail into a function: a server that hands each message to the application.
func Example() {
	users := &static.Directory{Accounts: []static.Account{{Account: accounts.Account{Address: "ann@example.org"}}}}
	mx := &smtp.Server{
		Hostname:  "mx.example.org",
		Blobs:     &memblob.Store{},
		Directory: users,
		Next: mailkeel.HandlerFunc(func(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) error {
			r, err := c.Open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			data, err := io.ReadAll(r)
			_, subject, _ := strings.Cut(string(data), "Subject: ")
			subject, _, _ = strings.Cut(subject, "\r\n")
			fmt.Println(env.From, "wrote to", env.Rcpts[0].Addr, "about", subject)
			return err
		}),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ran := make(chan error)
	go func() { ran <- mx.Serve(ln) }()

	err = netsmtp.SendMail(ln.Addr().String(), nil, "zoe@example.net", []string{"ann@example.org"}, []byte("Subject: lunch\r\n\r\nToday?\r\n"))
	fmt.Println(err)
	err = netsmtp.SendMail(ln.Addr().String(), nil, "zoe@example.net", []string{"bob@example.org"}, nil)
	fmt.Println(err)
	fmt.Println(mx.Shutdown(context.Background()), <-ran)
	// Output:
	// zoe@example.net wrote to ann@example.org about lunch
	// <nil>
	// 550 "5.1.1 no such user here"
	// <nil> <nil>
}
