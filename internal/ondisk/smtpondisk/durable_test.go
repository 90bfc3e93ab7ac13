package smtpondisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqlvfs"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// An engine is what keeps mail, on one disk.
type engine struct {
	vfs   *sqlvfs.VFS
	db    *sqldb.SQLite
	packs *packblob.Store
	boxes *store.Store
	queue *queue.Queue
}

func openEngine(fsys vfs.FS) (e *engine, err error) {
	e = &engine{}
	defer func() {
		if err != nil {
			_ = e.close()
		}
	}()
	if e.vfs, err = sqlvfs.Register(fsys); err != nil {
		return nil, err
	}
	if e.db, err = sqldb.OpenSQLite("/db", sqldb.Options{FS: fsys, VFS: e.vfs.Name(), Readers: 1}); err != nil {
		return nil, err
	}
	c := &testclock.Clock{}
	if e.packs, err = packblob.Open("/packs", packblob.Options{FS: fsys, Clock: c, SegmentSize: 64 << 10, LargeSize: 8 << 10, MinFree: -1}); err != nil {
		return nil, err
	}
	rows, err := sqlstore.New(context.Background(), e.db)
	if err != nil {
		return nil, err
	}
	items, err := sqlqueue.New(context.Background(), e.db)
	if err != nil {
		return nil, err
	}
	e.boxes = &store.Store{Backend: rows, Blobs: e.packs, Clock: c}
	e.queue = &queue.Queue{Backend: items, Blobs: e.packs, Clock: c}
	return e, nil
}

func (e *engine) close() error {
	var errs []error
	if e.db != nil {
		errs = append(errs, e.db.Close())
	}
	if e.packs != nil {
		errs = append(errs, e.packs.Close())
	}
	if e.vfs != nil {
		errs = append(errs, e.vfs.Close())
	}
	return errors.Join(errs...)
}

// messages returns what all rows name, by the line "Subject", and fails if a row
// names what is not there.
func (e *engine) messages(ctx context.Context) (map[string]int, error) {
	var refs []blob.Ref
	for it, err := range e.queue.Backend.List(ctx, queue.Query{}) {
		if err != nil {
			return nil, err
		}
		refs = append(refs, it.Blob.Ref)
	}
	for _, id := range []mailkeel.AccountID{"a1", "b2"} {
		folders, err := e.boxes.As(id).Folders(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range folders {
			err := e.boxes.As(id).Scan(ctx, f.ID, store.Query{}, func(_ store.Mailbox, seq iter.Seq2[store.Message, error]) error {
				for m, err := range seq {
					if err != nil {
						return err
					}
					refs = append(refs, m.Blob)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	got := map[string]int{}
	for _, ref := range refs {
		rc, err := e.packs.Open(ctx, ref, 0, -1)
		if err != nil {
			return nil, fmt.Errorf("a row names %s: %w", ref, err)
		}
		data, err := io.ReadAll(rc)
		rc.Close()
		if err != nil {
			return nil, err
		}
		subject, _, _ := strings.Cut(string(data), "\r\n")
		got[subject]++
	}
	return got, nil
}

// onDisk is a server whose engine is on a disk. Every change of that is told to
// before, if it is not nil.
type onDisk struct {
	*rig
	*engine
	disk   *vfs.Mem
	before atomic.Pointer[func(vfs.Op) error]
}

func newOnDisk(t *testing.T, change func(*smtp.Server)) *onDisk {
	t.Helper()
	d := &onDisk{disk: new(vfs.Mem)}
	e, err := openEngine(&vfs.Inject{FS: d.disk, Before: func(op vfs.Op) error {
		switch op.Kind {
		case "ReadAt", "Stat", "ReadDir", "Close":
			return nil
		}
		if fn := d.before.Load(); fn != nil {
			return (*fn)(op)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.engine = e
	t.Cleanup(func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
	d.rig = newRig(t, func(s *smtp.Server) {
		s.Blobs = e.packs
		s.Next = &queue.Inline{First: &mailbox.Transport{Store: e.boxes}, Queue: e.queue}
		if change != nil {
			change(s)
		}
	})
	return d
}

func (d *onDisk) watch(fn func(vfs.Op) error) {
	if fn == nil {
		d.before.Store(nil)
	} else {
		d.before.Store(&fn)
	}
}

// subject is the first line of message n, which is long if n is odd: a large blob.
func subject(n int) string { return fmt.Sprintf("Subject: number %d", n) }

// batch sends messages so that they share a commit, and returns the replies.
func (d *onDisk) batch(t *testing.T, first, n int) []string {
	t.Helper()
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.db.Update(context.Background(), func(sqldb.Conn) error { close(inside); <-leave; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-inside
	ps := make([]*peer, n)
	for i := range ps {
		ps[i] = dial(t, d.addr).hello()
		ps[i].conn.SetDeadline(time.Now().Add(10 * time.Minute)) // every step is looked at
		to := []string{"ann@example.org", "bob@example.org", "away@example.org"}[i%3]
		ps[i].do("MAIL FROM:<x@y.example>", "250 ", "RCPT TO:<"+to+">", "250 ", "DATA", "354 ")
		size := 100
		if i%4 == 3 {
			size = 12 << 10 // a large blob
		}
		ps[i].send(subject(first+i) + "\r\n\r\n" + strings.Repeat("0123456789\r\n", size/12) + ".\r\n")
	}
	for d.db.Waiting() < n {
		runtime.Gosched()
	}
	close(leave)
	replies := make([]string, n)
	for i, p := range ps {
		replies[i] = p.reply()
		p.conn.Close()
	}
	wg.Wait()
	return replies
}

// TestNoRowBeforeItsBlob cuts the power while messages are taken: before every
// operation that makes something durable, and between those, losing what was not
// durable in three ways. What is left has all that was acknowledged, and no row that
// names a blob that is not there.
func TestNoRowBeforeItsBlob(t *testing.T) {
	d := newOnDisk(t, nil)
	const each = 6
	var mu sync.Mutex
	acked := map[string]bool{}
	ops, cuts := 0, 0
	cut := func(loss vfs.Loss) {
		left := d.disk.CrashWith(loss, uint64(ops))
		cuts++
		e, err := openEngine(left)
		if err != nil {
			t.Errorf("operation %d, loss %d: %v", ops, loss, err)
			return
		}
		got, err := e.messages(context.Background())
		if err != nil {
			t.Errorf("operation %d, loss %d: %v", ops, loss, err)
		}
		for s := range acked {
			if got[s] != 1 {
				t.Errorf("operation %d, loss %d: %q is there %d times", ops, loss, s, got[s])
			}
		}
		if err := e.close(); err != nil {
			t.Error(err)
		}
	}
	d.watch(func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			return nil
		}
		ops++
		if strings.HasPrefix(op.Kind, "Sync") || op.Kind == "Rename" {
			cut(vfs.LoseAll)
			cut(vfs.LoseHalf)
			cut(vfs.LoseTail)
		} else if ops%5 == 0 {
			cut(vfs.LoseHalf)
		}
		return nil
	})
	for round := range 3 {
		for i, reply := range d.batch(t, round*each, each) {
			if !strings.HasPrefix(reply, "250 ") {
				t.Fatal(reply)
			}
			mu.Lock()
			acked[subject(round*each+i)] = true
			mu.Unlock()
		}
		mu.Lock()
		cut(vfs.LoseAll)
		mu.Unlock()
	}
	d.watch(nil)
	t.Logf("%d operations, %d power cuts", ops, cuts)
	if cuts < 40 {
		t.Errorf("only %d power cuts", cuts)
	}
}

// commits reports whether op is the sync of a batch of blobs: of the segment that is
// written to. It has the name under which it was prepared, or that of a segment.
func commits(op vfs.Op) bool {
	return op.Kind == "SyncData" && path.Dir(op.Name) == "/packs" && path.Ext(op.Name) != ".idx"
}

// TestFailedSyncOfBlobsFailsTheirMailOnly fails one sync of a segment. Those whose
// messages were in it hear 4xx and nothing of them is kept; who shares the transaction
// does not notice; and the next mail is taken.
func TestFailedSyncOfBlobsFailsTheirMailOnly(t *testing.T) {
	d := newOnDisk(t, nil)
	for i, reply := range d.batch(t, 0, 3) {
		if !strings.HasPrefix(reply, "250 ") {
			t.Fatal(i, reply)
		}
	}
	failed := 0
	d.watch(func(op vfs.Op) error {
		if commits(op) {
			if failed++; failed == 1 {
				return syscall.EIO
			}
		}
		return nil
	})
	// Who is in the same transaction, and waits for no blob.
	other := make(chan error, 1)
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = d.db.Update(context.Background(), func(sqldb.Conn) error { close(inside); <-leave; return nil })
	})
	<-inside
	go func() {
		other <- d.db.Update(context.Background(), func(c sqldb.Conn) error { return c.Exec("CREATE TABLE neighbour (k INTEGER)") })
	}()
	for d.db.Waiting() < 1 {
		runtime.Gosched()
	}
	var ps []*peer
	for i := range 3 {
		p := dial(t, d.addr).hello()
		p.do("MAIL FROM:<x@y.example>", "250 ", "RCPT TO:<"+[]string{"ann@example.org", "bob@example.org", "away@example.org"}[i]+">", "250 ", "DATA", "354 ")
		p.send(subject(10+i) + "\r\n\r\nhello\r\n.\r\n")
		ps = append(ps, p)
	}
	for d.db.Waiting() < 4 {
		runtime.Gosched()
	}
	close(leave)
	for _, p := range ps {
		if reply := p.reply(); !strings.HasPrefix(reply, "451 ") {
			t.Errorf("after a failed sync: %q", reply)
		}
	}
	if err := <-other; err != nil {
		t.Error("neighbour:", err)
	}
	wg.Wait()
	for i, reply := range d.batch(t, 20, 3) {
		if !strings.HasPrefix(reply, "250 ") {
			t.Errorf("next mail %d: %q", i, reply)
		}
	}
	d.watch(nil)
	e, err := openEngine(d.disk.Crash())
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	got, err := e.messages(t.Context())
	if err != nil || len(got) != 6 || got[subject(0)] != 1 || got[subject(22)] != 1 || got[subject(10)] != 0 {
		t.Error(got, err)
	}
}

// TestALoneMessageCostsTwoSyncs counts: one for the bytes and one for the rows,
// whatever happens beside; none for what a filter refuses.
func TestALoneMessageCostsTwoSyncs(t *testing.T) {
	d := newOnDisk(t, func(s *smtp.Server) {
		s.Filters = &filter.Chain{Groups: [][]filter.Filter{{refuser{}}}}
	})
	p := dial(t, d.addr).hello()
	send := func(to, body string) string {
		p.do("MAIL FROM:<x@y.example>", "250 ", "RCPT TO:<"+to+">", "250 ", "DATA", "354 ")
		p.send(body + "\r\n.\r\n")
		return p.reply()
	}
	for _, to := range []string{"ann@example.org", "away@example.org"} { // makes the folders, and is learnt
		if got := send(to, "Subject: warm\r\n\r\nup"); !strings.HasPrefix(got, "250 ") {
			t.Fatal(got)
		}
	}
	var mu sync.Mutex
	blobs, rows, others := 0, 0, map[vfs.Op]int{}
	d.watch(func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case commits(op):
			blobs++
		case op.Name == "/db-wal" && strings.HasPrefix(op.Kind, "Sync"):
			rows++
		case strings.HasPrefix(op.Kind, "Sync") && path.Dir(op.Name) != "/packs": // there, room is made ahead of use
			others[op]++
		}
		return nil
	})
	const n = 10
	for i := range n {
		if got := send([]string{"ann@example.org", "away@example.org"}[i%2], subject(i)+"\r\n\r\nhello"); !strings.HasPrefix(got, "250 ") {
			t.Fatal(got)
		}
		if got := send("ann@example.org", "Subject: refuse me\r\n\r\nhello"); !strings.HasPrefix(got, "550 ") {
			t.Fatal(got)
		}
	}
	d.watch(nil)
	mu.Lock()
	defer mu.Unlock()
	if blobs != n || rows != n || len(others) != 0 {
		t.Errorf("%d messages cost %d syncs of blobs, %d of rows and %v", n, blobs, rows, others)
	}
}

// refuser refuses what asks for it.
type refuser struct{}

func (refuser) Name() string { return "refuser" }

func (refuser) FilterMessage(ctx context.Context, tx *filter.Transaction) (filter.Verdict, error) {
	rc, err := tx.Content.Open(ctx)
	if err != nil {
		return filter.Verdict{}, err
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err == nil && strings.Contains(string(data), "refuse me") {
		return filter.Verdict{Refuse: &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 1}, Message: "as you wish"}}, nil
	}
	return filter.Verdict{}, err
}
