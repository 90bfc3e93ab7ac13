package webdoor_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/webdoor"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/webmail"
)

// A server with webmail under a name of its own.
func Example() {
	users := &static.Directory{Accounts: []static.Account{{Account: accounts.Account{Address: "ann@example.test"}, Password: "correct horse"}}}
	s, err := server.New(server.Config{
		Hostname: "mail.example.test", Store: &memstore.Backend{}, Blobs: &memblob.Store{}, Queue: &memqueue.Backend{},
		Directory: users, Auth: users,
		HTTP: server.Listen{Addr: "127.0.0.1:0"},
		Web:  webdoor.New(func(h *webmail.Handler) { h.Brand.Name = "Acme Mail" }),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()

	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := browser.Get("http://" + s.Addr(server.HTTP).String())
	if err != nil {
		log.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	res.Body.Close()
	fmt.Println(res.Request.URL.Path, res.StatusCode, strings.Contains(string(page), "Acme Mail"))
	stop()
	fmt.Println(<-done)
	// Output:
	// /signin 200 true
	// <nil>
}
