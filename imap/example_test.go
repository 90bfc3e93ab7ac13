package imap_test

import (
	"context"
	"fmt"
	"net"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// A server over memory, and a client that saves a message.
func Example() {
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@example.org"}, Password: "correct horse"},
	}}
	boxes := &store.Store{Backend: new(memstore.Backend), Blobs: new(memblob.Store)}
	s := &imap.Server{Hostname: "mail.example.org", Store: boxes, Auth: users, InsecureAuth: true}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go s.Serve(ln)
	defer s.Shutdown(context.Background())

	c, err := imapclient.DialInsecure(ln.Addr().String(), nil)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Println(c.Login("ann@example.org", "correct horse").Wait())

	text := "Subject: Hello\r\n\r\nWorld\r\n"
	w := c.Append("INBOX", int64(len(text)), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagSeen}})
	w.Write([]byte(text))
	w.Close()
	placed, err := w.Wait()
	fmt.Println(placed.UID, err)

	box, err := c.Select("INBOX", nil).Wait()
	fmt.Println(box.NumMessages, err)
	fmt.Println(c.Logout().Wait())
	// Output:
	// <nil>
	// 1 <nil>
	// 1 <nil>
	// <nil>
}
