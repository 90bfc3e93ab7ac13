package smtp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/smtp"
)

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// attacks are what one connection can do to hold memory. Each ends with the
// connection open and the server waiting for more.
var attacks = []struct {
	name string
	send func() string
}{
	{"nothing", func() string { return "" }},
	{"EHLO", func() string { return "EHLO x\r\n" }},
	{"half a command", func() string { return "EHLO x\r\nMAIL FROM:<" + strings.Repeat("x", 3000) }},
	{"half a login", func() string { return "EHLO x\r\nAUTH PLAIN " + strings.Repeat("A", 12000) }},
	{"half an answer", func() string { return "EHLO x\r\nAUTH PLAIN\r\n" + strings.Repeat("A", 12000) }},
	{"long name", func() string { return "EHLO " + strings.Repeat("x", 3500) + "\r\n" }},
	{"recipients", func() string {
		var b strings.Builder
		b.WriteString("EHLO x\r\nMAIL FROM:<zoe@example.net>\r\n")
		for i := range 1100 {
			fmt.Fprintf(&b, "RCPT TO:<ann+%d@example.org>\r\n", i)
		}
		return b.String()
	}},
	{"long recipients", func() string {
		var b strings.Builder
		b.WriteString("EHLO x\r\nMAIL FROM:<zoe@example.net>\r\n")
		for i := range 1100 {
			fmt.Fprintf(&b, "RCPT TO:<ann+%d%s@example.org> ORCPT=rfc822;%s\r\n", i, strings.Repeat("x", 50), strings.Repeat("x", 400))
		}
		return b.String()
	}},
	{"half a message", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nX: y\r\n\r\n" + strings.Repeat("x", 60_000)
	}},
	{"long header line", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nX:" + strings.Repeat(" x", 32_000)
	}},
	{"endless field", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nAuthentication-Results:" + strings.Repeat(" (x)\r\n", 30_000)
	}},
	{"half a chunk", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nBDAT 1000000\r\n" + strings.Repeat("x", 60_000)
	}},
}

// T7: a connection costs at most 256 KB, whatever it does.
func TestT7_MemoryPerConnection(t *testing.T) {
	const conns, bar = 40, 256 << 10
	r := newRig(t, func(s *smtp.Server) {
		s.Auth, s.InsecureAuth, s.MaxPerIP = users(), true, 10_000
		s.Blobs = nowhere{}
	})
	// A server that has served has its buffers.
	dial(t, r.addr).hello().mail("zoe@example.net", "ann@example.org", "x")
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	for _, a := range attacks {
		text := a.send()
		before := heap()
		var wg sync.WaitGroup
		open := make([]net.Conn, conns)
		for i := range open {
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			open[i] = c
			wg.Go(func() {
				io.WriteString(c, text)
				// The last reply says that all before was handled; a message or a
				// line that is half there has none, and is waited for otherwise.
				b := make([]byte, 64<<10)
				for n := strings.Count(text, "\r\n"); n >= 0; n-- {
					c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
					if _, err := c.Read(b); err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		each := (heap() - before) / conns
		t.Logf("%-16s %7d bytes", a.name, each)
		if each > bar {
			t.Errorf("%s: a connection costs %d bytes", a.name, each)
		}
		for _, c := range open {
			c.Close()
		}
		for r.Conns() > 0 {
			runtime.Gosched()
		}
	}
}
