package pop3

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// BenchmarkRETR is one client on loopback that fetches one message again and again,
// with the rows and the bytes in memory.
func BenchmarkRETR(b *testing.B) {
	for _, size := range []int{3_000, 100_000, 10_000_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			s := &Server{InsecureAuth: true, Store: newStore(), Auth: anyone{}}
			put(b, s.Store, "a1", "INBOX", strings.Repeat(strings.Repeat("x", 78)+"\r\n", size/80))
			p := dial(b, start(b, s))
			p.br = bufio.NewReaderSize(p.Conn, 64<<10)
			p.login("ann")
			answer := int64(len("+OK 100000 octets\r\n.\r\n")-6+len(strconv.Itoa(size/80*80))) + int64(size/80*80)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				p.send("RETR 1")
				if _, err := io.CopyN(io.Discard, p.br, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLogin is a session that logs in to a maildrop of 100,000, asks for STAT
// and quits. Rows are made up as they are read.
func BenchmarkLogin(b *testing.B) {
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: &crowded{Backend: new(memstore.Backend), n: 100_000, size: 3000}, Blobs: new(memblob.Store)}}
	if _, err := s.Store.As("a1").Folder(context.Background(), "INBOX"); err != nil {
		b.Fatal(err)
	}
	addr := start(b, s)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(c, "USER a\r\nPASS secret\r\nSTAT\r\nQUIT\r\n")
		if out, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(out), "+OK Bye\r\n") {
			b.Fatal(err)
		}
		c.Close()
	}
}
