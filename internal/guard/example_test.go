package guard_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"

	"github.com/mailkeel/mailkeel/internal/guard"
)

// A door gives the guard a function that serves one connection.
func Example() {
	g := &guard.Guard{MaxConns: 100, Coalesce: 4096}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ran := make(chan error)
	go func() {
		ran <- g.Serve(ln, nil, func(c *guard.Conn) {
			c.OnFarewell(func() { fmt.Fprint(c, "421 going down\r\n") })
			fmt.Fprint(c, "220 hello\r\n") // leaves with the first Read
			io.Copy(io.Discard, c)
		})
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	r := bufio.NewScanner(c)
	r.Scan()
	fmt.Println(r.Text())
	go g.Shutdown(context.Background())
	r.Scan()
	fmt.Println(r.Text(), r.Scan(), <-ran)
	// Output:
	// 220 hello
	// 421 going down false <nil>
}
