//go:build unix

package smtp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/smtp"
)

// naive is a client that sends a whole message at once, as RFC 2920 lets it, and
// reads as little as it may.
type naive struct {
	net.Conn
	r *bufio.Reader
}

func newNaive(b *testing.B, addr string) *naive {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	n := &naive{c, bufio.NewReader(c)}
	n.replies(b, 1)
	io.WriteString(c, "EHLO client.example.net\r\n")
	for {
		line, err := n.r.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if line[3] == ' ' {
			return n
		}
	}
}

func (n *naive) replies(b *testing.B, count int) {
	for range count {
		line, err := n.r.ReadSlice('\n')
		if err != nil || line[0] > '3' {
			b.Errorf("%q %v", line, err)
		}
	}
}

func discard(context.Context, *mailkeel.Envelope, mailkeel.Content) error { return nil }

// BenchmarkReceive is a message of 10 KB into a Transport that does nothing, over
// two connections for each processor and over 50; "engine" is the engine with a
// backend that reads and drops.
func BenchmarkReceive(b *testing.B) {
	line := strings.Repeat("x", 76) + "\r\n"
	head := []byte("MAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
	content := []byte("From: zoe@example.net\r\nTo: ann@example.org\r\nSubject: a message\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@example.net>\r\n\r\n" +
		strings.Repeat(line, 10<<10/len(line)) + ".\r\n")
	for _, bench := range []struct {
		name  string
		conns int // for each processor
		bare  bool
	}{{"2", 2, false}, {"50", 50, false}, {"engine-2", 2, true}, {"engine-50", 50, true}} {
		b.Run(bench.name, func(b *testing.B) {
			addr := ""
			if bench.bare {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				s := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return dropper{}, nil }))
				s.Domain, s.MaxMessageBytes = "bare.example", 50<<20
				ran := make(chan error)
				go func() { ran <- s.Serve(ln) }()
				b.Cleanup(func() { s.Close(); <-ran })
				addr = ln.Addr().String()
			} else {
				addr = newRig(b, func(s *smtp.Server) {
					s.Next, s.Blobs, s.TLS = mailkeel.HandlerFunc(discard), &nowhere{}, nil
				}).addr
			}
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			b.SetParallelism(bench.conns)
			before := cpu(b)
			b.RunParallel(func(pb *testing.PB) {
				n := newNaive(b, addr)
				defer n.Close()
				for pb.Next() {
					n.Write(head)
					n.replies(b, 3)
					n.Write(content)
					n.replies(b, 1)
				}
			})
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/msg") // of both ends
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// cpu is what this process used until now.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type dropper struct{}

func (dropper) Reset()                                 {}
func (dropper) Logout() error                          { return nil }
func (dropper) Mail(string, *gosmtp.MailOptions) error { return nil }
func (dropper) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (dropper) Data(r io.Reader) error                 { _, err := io.Copy(io.Discard, r); return err }
