package imap

import (
	"fmt"
	"io"
	"testing"

	"github.com/mailkeel/mailkeel/internal/linewriter"
	"github.com/mailkeel/mailkeel/store"
)

// BenchmarkFetchFlags writes what FETCH 1:* (UID FLAGS) of 100,000 messages says.
func BenchmarkFetchFlags(b *testing.B) {
	s := numbered(100_000)
	c := &conn{w: writer{Writer: linewriter.Writer{W: io.Discard}}}
	b.ReportAllocs()
	for b.Loop() {
		for seq, r := range s.all(s.everything()) {
			c.fetchFlags(seq, r, true, true)
		}
		c.w.release()
	}
}

// BenchmarkTell tells one change in a mailbox of 100,000.
func BenchmarkTell(b *testing.B) {
	s := numbered(100_000)
	c := &conn{w: writer{Writer: linewriter.Writer{W: io.Discard}}, session: session{sel: &selection{snap: s, keywords: 1}}}
	b.ReportAllocs()
	for i := store.ModSeq(2); b.Loop(); i++ {
		s = s.apply([]change{{row: row{50_000, joinFlags([]string{`\Seen`, fmt.Sprint(i % 2)}), i}}})
		c.tell(s, true)
		c.w.release()
	}
}

// BenchmarkNoop asks for changes when there are none, over loopback.
func BenchmarkNoop(b *testing.B) {
	p := dial(b, start(b, &Server{InsecureAuth: true, Auth: anyone{}}))
	p.ok("LOGIN ann secret")
	p.ok("SELECT INBOX")
	b.ReportAllocs()
	for b.Loop() {
		p.ok("NOOP")
	}
}

func BenchmarkLoginLogout(b *testing.B) {
	addr := start(b, &Server{InsecureAuth: true, Auth: anyone{}})
	for b.Loop() {
		p := dial(b, addr)
		p.ok("LOGIN ann secret")
		p.ok("LOGOUT")
		p.Close()
	}
}
