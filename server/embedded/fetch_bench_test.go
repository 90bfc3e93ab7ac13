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

// BenchmarkFetch reads mailboxes over loopback; an op is one message. The processor
// time is that of server and client together.
func BenchmarkFetch(b *testing.B) {
	home, err := embedded.Open(b.Context(), b.TempDir(), embedded.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer home.Close()
	if err := home.Accounts.PutDomain(b.Context(), accounts.Domain{Name: "x.test"}); err != nil {
		b.Fatal(err)
	}
	a, err := home.Accounts.CreateAccount(b.Context(), accounts.Account{Address: "ann@x.test"}, "correct horse battery staple")
	if err != nil {
		b.Fatal(err)
	}
	st := &store.Store{Backend: home.Store, Blobs: home.Blobs, Limit: home.Accounts.Limit}
	const many, few = 10_000, 300
	fillFolder(b, st, a, "INBOX", many, 3000)
	fillFolder(b, st, a, "Large", few, 100<<10)
	s := &imap.Server{Hostname: "h", Store: st, Auth: home.Accounts, InsecureAuth: true}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(ln)
	defer s.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	buf := make([]byte, 256<<10)
	var end []byte
	do := func(command string) (n int64) {
		fmt.Fprintf(nc, "x %s\r\n", command)
		for end = append(end[:0], '\n'); !bytes.Contains(end, []byte("\nx OK")); {
			k, err := nc.Read(buf)
			if err != nil {
				b.Fatalf("%s: %v %q", command, err, end)
			}
			end = append(end, buf[max(0, k-1000):k]...)
			end = end[max(0, len(end)-1000):]
			n += int64(k)
		}
		return n
	}
	do("LOGIN ann@x.test \"correct horse battery staple\"")
	for _, bb := range []struct {
		name, box, items string
		n                int
	}{
		{"Flags", "INBOX", "(UID FLAGS)", many},
		{"Sizes", "INBOX", "(UID FLAGS INTERNALDATE RFC822.SIZE)", many},
		{"Headers", "INBOX", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT MESSAGE-ID REFERENCES IN-REPLY-TO CONTENT-TYPE)])", many},
		{"List", "INBOX", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)", many},
		{"Envelope", "INBOX", "(ENVELOPE)", many},
		{"Structure", "INBOX", "(BODYSTRUCTURE)", many},
		{"Body", "INBOX", "(BODY.PEEK[])", many},
		{"LargeBody", "Large", "(BODY.PEEK[])", few},
	} {
		b.Run(bb.name, func(b *testing.B) {
			do("SELECT " + bb.box)
			b.ReportAllocs()
			before := processTime(b)
			var n int64
			for i := 0; i < b.N; {
				k := min(bb.n, b.N-i)
				n += do(fmt.Sprintf("FETCH 1:%d %s", k, bb.items))
				i += k
			}
			b.ReportMetric(float64(processTime(b)-before)/float64(b.N), "cpu-ns/op")
			b.SetBytes(n / int64(b.N))
		})
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
func fillFolder(b *testing.B, st *store.Store, a accounts.Account, name string, n, size int) {
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
