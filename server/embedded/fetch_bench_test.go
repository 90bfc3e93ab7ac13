package embedded_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// fetches are what clients ask for of messages, of 3 KB in INBOX and of 100 KB in Large;
// allocs is how often memory may be allocated for one of them.
var fetches = []struct {
	name, box, items string
	allocs           float64
}{
	{"Flags", "INBOX", "(UID FLAGS)", 0},
	{"Sizes", "INBOX", "(UID FLAGS INTERNALDATE RFC822.SIZE)", 1},
	{"Headers", "INBOX", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT MESSAGE-ID REFERENCES IN-REPLY-TO CONTENT-TYPE)])", 5},
	{"List", "INBOX", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)", 13},
	{"Envelope", "INBOX", "(ENVELOPE)", 9},
	{"Structure", "INBOX", "(BODYSTRUCTURE)", 7},
	{"Body", "INBOX", "(BODY.PEEK[])", 8},
	{"LargeBody", "Large", "(BODY.PEEK[])", 8},
}

// fetcher fills the mailboxes of an account and returns a client of it, which does
// commands and says how many bytes came.
func fetcher(tb testing.TB, many, few int) func(command string) int64 {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	home, err := embedded.Open(tb.Context(), tb.TempDir(), embedded.Options{})
	must(err)
	tb.Cleanup(func() { home.Close() })
	must(home.Accounts.PutDomain(tb.Context(), accounts.Domain{Name: "x.test"}))
	a, err := home.Accounts.CreateAccount(tb.Context(), accounts.Account{Address: "ann@x.test"}, "correct horse battery staple")
	must(err)
	st := &store.Store{Backend: home.Store, Blobs: home.Blobs, Limit: home.Accounts.Limit}
	fillFolder(tb, st, a, "INBOX", many, 3000)
	fillFolder(tb, st, a, "Large", few, 100<<10)
	s := &imap.Server{Hostname: "h", Store: st, Auth: home.Accounts, InsecureAuth: true}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go s.Serve(ln)
	tb.Cleanup(func() { s.Close() })
	nc, err := net.Dial("tcp", ln.Addr().String())
	must(err)
	tb.Cleanup(func() { nc.Close() })
	buf := make([]byte, 256<<10)
	end := make([]byte, 0, 10<<10)
	do := func(command string) (n int64) {
		tb.Helper()
		fmt.Fprintf(nc, "x %s\r\n", command)
		for end = append(end[:0], '\n'); !bytes.Contains(end, []byte("\nx OK")); {
			k, err := nc.Read(buf)
			if err != nil {
				tb.Fatalf("%s: %v %q", command, err, end)
			}
			if end = append(end, buf[max(0, k-4000):k]...); bytes.Contains(end, []byte("\nx NO")) {
				tb.Fatalf("%s: %q", command, end)
			}
			end = append(end[:0], end[max(0, len(end)-4000):]...)
			n += int64(k)
		}
		return n
	}
	do("LOGIN ann@x.test \"correct horse battery staple\"")
	return do
}

// BenchmarkFetch reads mailboxes over loopback; an op is one message. The processor
// time is that of server and client together.
func BenchmarkFetch(b *testing.B) {
	const many, few = 10_000, 300
	do := fetcher(b, many, few)
	for _, f := range fetches {
		b.Run(f.name, func(b *testing.B) {
			do("SELECT " + f.box)
			have := many
			if f.box != "INBOX" {
				have = few
			}
			b.ReportAllocs()
			before := processTime(b)
			var n int64
			for i := 0; i < b.N; {
				k := min(have, b.N-i)
				n += do(fmt.Sprintf("FETCH 1:%d %s", k, f.items))
				i += k
			}
			b.ReportMetric(float64(processTime(b)-before)/float64(b.N), "cpu-ns/op")
			b.SetBytes(n / int64(b.N))
		})
	}
}

// What a command needs is not made anew for each message.
func TestFetchAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	const n = 500
	do := fetcher(t, n, n/10)
	for _, f := range fetches {
		do("SELECT " + f.box)
		command := "FETCH 1:* " + f.items
		messages := float64(n)
		if f.box != "INBOX" {
			messages /= 10
		}
		each := testing.AllocsPerRun(5, func() { do(command) }) / messages
		// A command and each batch have something of their own.
		if most := f.allocs + 0.5 + 150/messages; each > most {
			t.Errorf("%s: %.1f allocations for each message, not %.1f", f.name, each, most)
		}
		t.Logf("%s: %.1f allocations for each message", f.name, each)
	}
}

// processTime is what this process has used of the processors.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillFolder puts n messages of size bytes into a mailbox.
func fillFolder(b testing.TB, st *store.Store, a accounts.Account, name string, n, size int) {
	access := st.As(a.ID)
	box, err := access.Folder(b.Context(), name)
	if err != nil {
		mb, err := access.Create(b.Context(), name, "")
		if err != nil {
			b.Fatal(err)
		}
		box.ID = mb.ID
	}
	for i := 0; i < n; {
		var ms []store.Append
		var ws []blob.Writer
		for ; len(ms) < 200 && i < n; i++ {
			w, err := st.Blobs.Create(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			io.WriteString(w, letter(i, size))
			info, err := w.(blob.Stager).Stage()
			if err != nil {
				b.Fatal(err)
			}
			ws = append(ws, w)
			ms = append(ms, store.Append{Blob: info})
		}
		for _, w := range ws {
			if err := w.(blob.Stager).Wait(); err != nil {
				b.Fatal(err)
			}
			w.Close()
		}
		if _, err := access.Append(b.Context(), box.ID, ms...); err != nil {
			b.Fatal(err)
		}
	}
}

// letter is message i of about size bytes.
func letter(i, size int) string {
	head := fmt.Sprintf("Received: from src%d.example.com by mx.example.org with ESMTP id R%08x; Thu, 01 Jan 2026 10:00:00 +0000\r\n"+
		"From: \"Ann Example\" <ann%d@example.com>\r\nTo: user <user@example.org>\r\nSubject: topic%d of the %d\r\nDate: Thu, 01 Jan 2026 10:00:00 +0000\r\n"+
		"Message-ID: <%d.%d@example.com>\r\nIn-Reply-To: <%d@example.com>\r\nReferences: <%d@example.com> <%d@example.com>\r\nX-Number: %d\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n", i%251, i, i%5003, i%97, i, i, size, i-1, i-2, i-1, i)
	line := strings.Repeat("lorem ipsum dolor ", 4) + "\r\n"
	return head + strings.Repeat(line, max(0, size-len(head))/len(line))
}
