package embedded_test

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
)

// A truth is all that may be read of a directory, as it was filed.
type truth struct {
	ids   []store.AccountID
	mail  map[store.AccountID]map[string]string // bytes of messages, and what was parsed of them
	items map[string]string                     // what is queued, by ID
}

// observe reads all that there is. What is read must be true, or an error. It returns
// a digest of it all, and the first error.
func (h *house) observe(want *truth, learn bool) (digest string, failed error) {
	h.Helper()
	fail := func(err error) bool {
		if failed == nil {
			failed = err
		}
		return err != nil
	}
	var all strings.Builder
	for _, id := range want.ids {
		as := h.admin.Store.As(id)
		folders, err := as.Folders(h.Context())
		fail(err)
		for _, f := range folders {
			fmt.Fprintf(&all, "%s %+v\n", id, f)
			var ms []store.Message
			err := as.Scan(h.Context(), f.ID, store.Query{}, func(_ store.Mailbox, rows iter.Seq2[store.Message, error]) error {
				ms = nil
				for m, err := range rows {
					if err != nil {
						return err
					}
					ms = append(ms, m)
				}
				return nil
			})
			fail(err)
			for _, m := range ms {
				fmt.Fprintf(&all, "%+v\n", m)
				cold, err := as.Cold(h.Context(), f.ID, m.ID)
				c := cold[m.ID]
				if fail(err) || c.ID == 0 || c.Check(&m) != nil {
					all.WriteString("damaged\n")
					c = store.Cold{}
				}
				opened, rc, err := as.Open(h.Context(), f.ID, m.UID)
				if fail(err) {
					continue
				}
				if c.Check(&opened) != nil {
					c = store.Cold{} // two have one UID now, and another one is opened
				}
				b, err := io.ReadAll(rc)
				rc.Close()
				if fail(err) {
					continue
				}
				parsed := fmt.Sprintf("%x %x %q", c.Envelope, c.Structure, c.Preview)
				if learn {
					if want.mail[id] == nil {
						want.mail[id] = map[string]string{}
					}
					want.mail[id][string(b)] = parsed
				}
				if was, ok := want.mail[id][string(b)]; !ok {
					h.Errorf("%s %s UID %d is served as\n%s", id, f.Name, m.UID, b)
				} else if c.ID != 0 && (parsed != was || m.Size != int64(len(b))) {
					h.Errorf("%s %s UID %d is shown as %d bytes, %s, was %s", id, f.Name, m.UID, m.Size, parsed, was)
				}
				if c.ID == 0 {
					continue
				}
				rc, err = as.OpenAt(h.Context(), m, c, 10, 20)
				if fail(err) {
					continue
				}
				if part, err := io.ReadAll(rc); !fail(err) && string(part) != string(b[10:30]) {
					h.Errorf("%s %s UID %d is served in part as %q", id, f.Name, m.UID, part)
				}
				rc.Close()
			}
		}
	}
	for it, err := range h.home.Queue.List(h.Context(), queue.Query{}) {
		if fail(err) {
			break
		}
		fmt.Fprintf(&all, "%+v\n", it)
		if it.Envelope.ID == "" {
			continue // it says that it is damaged
		}
		rc, err := h.home.Blobs.Open(h.Context(), it.Blob.Ref, 0, -1)
		if fail(err) {
			continue
		}
		b, err := io.ReadAll(rc)
		rc.Close()
		if fail(err) {
			continue
		}
		what := fmt.Sprintf("%s %v %q %s", it.Envelope.From, it.Envelope.Rcpts, it.Prefix, b)
		if learn {
			want.items[it.Envelope.ID] = what
		}
		if want.items[it.Envelope.ID] != what {
			h.Errorf("item %s is %s", it.ID, what)
		}
	}
	return all.String(), failed
}

// TestFlippedBitsInTheDatabase: no wrong bytes are ever served as a message. Either
// the directory opens, or the error says which file is damaged and what to do.
func TestFlippedBitsInTheDatabase(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	ann, bob := furnish(t, dir)
	h := mustOpen(t, dir)
	for i := range 200 {
		h.file(fmt.Sprint("more", i), "Return-Path: <zoe@y.test>\r\n", []store.AccountID{ann, bob}[i%2])
	}
	for i := range 20 {
		h.queue(fmt.Sprint("queued", i), fmt.Sprintf("zoe%d@y.test", i), nil)
	}
	want := &truth{[]store.AccountID{ann, bob}, map[store.AccountID]map[string]string{}, map[string]string{}}
	before, err := h.observe(want, true)
	h.must(err)
	// A message that a repair files anew has lost what was added in front.
	for _, id := range want.ids {
		for b, parsed := range want.mail[id] {
			if at := strings.Index(b, "From: zoe"); at > 0 {
				want.mail[id][b[at:]] = parsed
			}
		}
	}
	h.close()
	file := filepath.Join(dir, "mail.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flips := 200
	if raceEnabled { // SQLite is slow then, and races in it are not looked for here
		flips = 20
	}
	if os.Getenv("MAILKEEL_LONG") != "" {
		flips = 3000
	}
	rnd := rand.New(rand.NewPCG(5, 20))
	var refused, bySQLite, byCheck, harmless, unseen, unfinished int
	for n := range flips {
		at, bit := rnd.IntN(len(whole)), rnd.IntN(8)
		b := append([]byte(nil), whole...)
		b[at] ^= 1 << bit
		for _, f := range []string{"mail.db-wal", "mail.db-shm"} {
			os.Remove(filepath.Join(dir, f))
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("flip %d: bit %d of byte %d, page %d", n, bit, at, at/4096+1)
		h, err := openHouse(t, dir)
		if err != nil {
			refused++
			if !errors.Is(err, embedded.ErrDamaged) || !strings.Contains(err.Error(), file) || !strings.Contains(embedded.Hint(err), "cp BACKUP/mail.db "+file) {
				t.Errorf("%s: it does not open, and says %v", what, err)
			}
			continue
		}
		after, failed := h.observe(want, false)
		found, _, code := h.check(`{}`)
		sqlite := len(found) > 0 && found[0] == "D1"
		switch {
		case code == 2:
			unfinished++
		case sqlite:
			bySQLite++
		case len(found) > 0:
			byCheck++
		case after == before:
			harmless++
		default:
			unseen++
			if failed != nil {
				t.Errorf("%s: check finds nothing, and reading fails: %v", what, failed)
			}
		}
		if code != 2 {
			if _, _, code = h.check(`{"repair":true}`); code != 2 {
				h.observe(want, false)
			}
		}
		if t.Failed() {
			t.Logf("%s: check finds %q", what, found)
		}
		if err := h.home.Close(); err != nil && !errors.Is(err, sqldb.ErrDamaged) {
			t.Errorf("%s: closing: %v", what, err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d flips: %d kept it from opening, %d ended the check, %d more were found by SQLite, %d more by check alone, %d were harmless, %d changed what nothing covers",
		flips, refused, unfinished, bySQLite, byCheck, harmless, unseen)
}
