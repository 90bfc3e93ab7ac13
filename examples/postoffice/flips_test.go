package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// TestABitFlips is R6: one bit of one file in the directory of a stopped server
// changes, of each kind of file. Whatever it is, no wrong bytes are served as a
// message. In packs it also costs at most one message, and the start succeeds; a
// damaged database or VERSION may stop the start, and then it is said which file
// that is and what to do. The directory is that of a clean stop and that of a crash.
func TestABitFlips(t *testing.T) {
	flips := 200
	if raceEnabled || testing.Short() {
		flips = 3
	}
	if os.Getenv("MAILKEEL_LONG") != "" {
		flips = 2000
	}
	seed := killSeed(t)
	f := newFlips(t)
	for _, way := range []struct {
		name  string
		files map[string][]byte
		kinds []string
	}{
		{"stopped", f.stopped, []string{"segment", "index", "large", "tls.pem", "VERSION", "LOCK"}},
		{"crashed", f.crashed, []string{"segment", "large", "mail.db-wal"}},
	} {
		for i, kind := range way.kinds {
			t.Run(way.name+"/"+kind, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, uint64(i)))
				var lost, seen, refused, most int
				for range flips {
					name, bit := f.choose(kind, way.files, rnd)
					o := f.try(t, kind, way.files, name, bit)
					lost += min(o.lost, 1)
					most = max(most, o.lost)
					seen += o.seen
					refused += o.refused
					if t.Failed() {
						t.Fatalf("%s, bit %d", name, bit)
					}
				}
				t.Logf("%d flips: %d detected, %d cost messages, at most %d; %d stopped the start", flips, seen, lost, most, refused)
			})
		}
	}
}

// flips are the files of a directory, with what they must hold.
type flips struct {
	dir              string
	account          mailkeel.AccountID
	messages         map[blob.Ref][]byte
	inbox, queued    int
	stopped, crashed map[string][]byte
}

func newFlips(t *testing.T) *flips {
	t.Helper()
	ctx := t.Context()
	f := &flips{dir: filepath.Join(memory(t), "office"), messages: map[blob.Ref][]byte{}}
	home, err := embedded.Open(ctx, f.dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	if _, err := home.TLS("mx.x.test"); err != nil {
		t.Fatal(err)
	}
	if err := home.Accounts.PutDomain(ctx, accounts.Domain{Name: "x.test"}); err != nil {
		t.Fatal(err)
	}
	acc, err := home.Accounts.CreateAccount(ctx, accounts.Account{Address: "ann@x.test"}, "")
	if err != nil {
		t.Fatal(err)
	}
	f.account = acc.ID
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 60 {
		size := 200 + rnd.IntN(6000)
		if i%20 == 7 {
			size = 200_000 // has a file of its own
		}
		msg := fmt.Appendf(nil, "Subject: number %d\r\n\r\n", i)
		for len(msg) < size {
			msg = fmt.Appendf(msg, "%016x%016x%016x\r\n", rnd.Uint64(), rnd.Uint64(), rnd.Uint64())
		}
		if i == 40 {
			// So that what comes is only in the log after a crash, and the
			// segment goes on behind an index that is written.
			if err := home.Close(); err != nil {
				t.Fatal(err)
			}
			if home, err = embedded.Open(ctx, f.dir, embedded.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.put(ctx, home, msg, i%10 == 9); err != nil {
			t.Fatal(err)
		}
	}
	f.crashed = snapshot(t, f.dir)
	if err := home.Close(); err != nil {
		t.Fatal(err)
	}
	f.stopped = snapshot(t, f.dir)
	return f
}

// memory returns a folder for files that need not be durable, for thousands of starts
// and stops sync a lot.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "flips-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// put files a message, or queues it.
func (f *flips) put(ctx context.Context, home *embedded.Home, msg []byte, queued bool) error {
	w, err := home.Blobs.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(msg); err != nil {
		return err
	}
	info, err := w.Commit()
	if err != nil {
		return err
	}
	f.messages[info.Ref] = msg
	if queued {
		f.queued++
		return home.Queue.Put(ctx, queue.Item{
			ID: fmt.Sprint("m", f.queued, "/0"), Envelope: mailkeel.Envelope{ID: fmt.Sprint("m", f.queued), Rcpts: []mailkeel.Recipient{{Addr: "zoe@y.test"}}},
			Blob: info, Route: "y.test", Queued: info.Young, Due: info.Young,
		})
	}
	f.inbox++
	st := &store.Store{Backend: home.Store, Blobs: home.Blobs}
	out, err := st.Deliver(ctx, store.Delivery{Blob: info, Targets: []store.Target{{Account: f.account}}})
	if err == nil {
		err = out[0].Err
	}
	return err
}

// snapshot reads all files of a directory, other than what only takes room.
func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "-reserve") || strings.HasSuffix(path, ".tmp") {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			name, _ := filepath.Rel(dir, path)
			files[name] = bytes.TrimRight(b, "\x00") // room, made again by restore
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// choose picks a bit of a file of a kind. In a segment that is one of its records,
// or now and then one of the room behind them.
func (f *flips) choose(kind string, files map[string][]byte, rnd *rand.Rand) (name string, bit int64) {
	var names []string
	for name := range files {
		switch {
		case kind == "segment" && strings.HasSuffix(name, ".seg"), kind == "index" && strings.HasSuffix(name, ".idx"),
			kind == "large" && filepath.Base(filepath.Dir(name)) == "large", kind == name:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	name = names[rnd.IntN(len(names))]
	size := int64(len(files[name]))
	if kind == "segment" && rnd.IntN(10) == 0 {
		size += 4096
	}
	return name, rnd.Int64N(size * 8)
}

type outcome struct{ lost, seen, refused int }

// try writes the files with one bit changed, opens them twice, and compares.
func (f *flips) try(t *testing.T, kind string, files map[string][]byte, name string, bit int64) (o outcome) {
	t.Helper()
	ctx := t.Context()
	dir := filepath.Join(filepath.Dir(f.dir), "flipped")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for n, b := range files {
		path := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		room := int64(len(b))
		switch filepath.Ext(n) {
		case ".seg":
			room = (room + 1<<20) / 4096 * 4096
		case ".db":
			room = (room + 4095) / 4096 * 4096
		}
		if n == name {
			b = append(slices.Clone(b), make([]byte, max(0, bit/8+1-int64(len(b))))...)
			b[bit/8] ^= 1 << (bit % 8)
		}
		if err := errors.Join(os.WriteFile(path, b, 0o600), os.Truncate(path, max(room, int64(len(b))))); err != nil {
			t.Fatal(err)
		}
	}
	packs := kind == "segment" || kind == "index" || kind == "large"
	before, all, torn := -1, f.inbox+f.queued, 0
	for range 2 { // the second start finds what the first left
		home, err := embedded.Open(ctx, dir, embedded.Options{})
		if err != nil {
			o.refused = 1
			if packs || kind == "LOCK" || kind == "tls.pem" {
				t.Errorf("it does not start: %v", err)
			} else if !strings.Contains(err.Error(), dir) || hint(err) == "" {
				t.Errorf("it does not start, and does not say what to do: %v", err)
			}
			return o
		}
		there, broken := f.read(t, home)
		if all-there > 1 && packs || there+broken != all && kind != "mail.db-wal" {
			t.Errorf("%d messages are there and %d cannot be read, of %d", there, broken, all)
		}
		o.lost = all - there
		if kind == "mail.db-wal" && before < 0 && o.lost > 1 && home.Lost() == "" {
			t.Errorf("%d messages are gone, and nobody says so", o.lost)
		}
		damage, err := home.Blobs.CheckAll(ctx)
		if err != nil {
			t.Errorf("checking all: %v", err)
		}
		// The last batch of a segment cannot be told from one that a crash cut off.
		torn += home.Blobs.Stats().Torn
		if broken > 0 && len(damage)+torn == 0 {
			t.Errorf("%d messages cannot be read, and nobody says why", broken)
		}
		o.seen = min(1, o.seen+len(damage)+o.lost)
		if before >= 0 && there != before {
			t.Errorf("the first start had %d messages, the second %d", before, there)
		}
		before = there
		if _, err := home.TLS("mx.x.test"); err != nil {
			t.Errorf("there is no certificate: %v", err)
		}
		// It goes on: new mail is taken, and can be read.
		g := *f
		g.messages = map[blob.Ref][]byte{}
		if err := g.put(ctx, home, fmt.Appendf(nil, "Subject: new %d\r\n\r\n", rand.Uint64()), false); err != nil {
			t.Errorf("new mail: %v", err)
		}
		for ref, want := range g.messages {
			if got, err := content(ctx, home, ref); err != nil || !bytes.Equal(got, want) {
				t.Errorf("new mail: %q, %v", got, err)
			}
			before++
			all++
			f.messages[ref] = want
		}
		if err := home.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	return o
}

func content(ctx context.Context, home *embedded.Home, ref blob.Ref) ([]byte, error) {
	r, err := home.Blobs.Open(ctx, ref, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// read reads all messages: each is as it was, or an error.
func (f *flips) read(t *testing.T, home *embedded.Home) (there, broken int) {
	t.Helper()
	ctx := t.Context()
	var refs []blob.Ref
	st := &store.Store{Backend: home.Store, Blobs: home.Blobs}
	folders, err := st.As(f.account).Folders(ctx)
	if err != nil {
		t.Errorf("folders: %v", err)
	}
	for _, box := range folders {
		err := home.Store.View(ctx, func(tx store.Tx) error {
			for m, err := range tx.Messages(box.ID, store.Query{}) {
				if err != nil {
					return err
				}
				refs = append(refs, m.Blob)
			}
			return nil
		})
		if err != nil {
			t.Errorf("messages: %v", err)
		}
	}
	items := &queue.Queue{Backend: home.Queue, Blobs: home.Blobs}
	for it, err := range items.List(ctx, queue.Query{}) {
		if err != nil {
			t.Errorf("queue: %v", err)
		}
		refs = append(refs, it.Blob.Ref)
	}
	for _, ref := range refs {
		got, err := content(ctx, home, ref)
		if err != nil {
			broken++
			if !errors.Is(err, blob.ErrNotFound) { // which a damaged one is, too
				t.Logf("reading %s: %v", ref, err)
			}
			continue
		}
		there++
		if !bytes.Equal(got, f.messages[ref]) {
			t.Errorf("%s has other bytes than it had", ref)
		}
	}
	return there, broken
}
