package pop3_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/pop3"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// A server over memory, and a client that asks how much there is.
func Example() {
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@example.org"}, Password: "correct horse"},
	}}
	boxes := &store.Store{Backend: new(memstore.Backend), Blobs: new(memblob.Store)}
	s := &pop3.Server{Hostname: "mail.example.org", Store: boxes, Auth: users, InsecureAuth: true}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go s.Serve(ln)
	defer s.Shutdown(context.Background())

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(c, "USER ann@example.org\r\nPASS correct horse\r\nSTAT\r\nQUIT\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		fmt.Println(lines.Text())
	}
	// Output:
	// +OK mail.example.org ready
	// +OK Send the password
	// +OK maildrop has 0 messages (0 octets)
	// +OK 0 0
	// +OK Bye
}
