package imapondisk

import (
	"testing"

	"github.com/mailkeel/mailkeel/imap"
)

// BenchmarkSelect selects a mailbox of 100,000 messages that lies in SQLite: one
// that is known, and one that is not.
func BenchmarkSelect(b *testing.B) {
	f := fill(b, 100_000)
	b.Run("known", func(b *testing.B) {
		f.ok("SELECT INBOX")
		b.ReportAllocs()
		for b.Loop() {
			f.ok("SELECT INBOX")
		}
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			p := dial(b, start(b, &imap.Server{InsecureAuth: true, Auth: anyone{}, Store: f.store}))
			p.ok("LOGIN ann secret")
			b.StartTimer()
			p.ok("SELECT INBOX")
		}
	})
}
