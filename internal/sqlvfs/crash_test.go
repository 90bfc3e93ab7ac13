package sqlvfs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/vfs"
)

// A ledger is what a table should hold. Each transaction writes a key and its
// negative with the same value.
type ledger struct {
	mu     sync.Mutex
	rows   map[int64]string // committed
	trying map[int64]string // what rows will be if the one that runs is committed
	// failed is what rows would be if one had been committed that was not, since
	// the last that was: a power cut may leave it, whole.
	failed []map[int64]string
}

// wants are the tables that a power cut may leave now.
func (l *ledger) wants() []map[int64]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	wants := append([]map[int64]string{l.rows}, l.failed...)
	if l.trying != nil {
		wants = append(wants, l.trying)
	}
	return wants
}

// small makes the log begin anew often.
var small = sqldb.Options{Readers: 2, MaxLog: 64 << 10, Reserve: 32 << 10}

// work runs transactions. It goes on after errors, and returns the first.
func (l *ledger) work(db *sqldb.SQLite, rnd *rand.Rand, n int) (first error) {
	for i := range n {
		next := maps.Clone(l.rows)
		k, size := int64(rnd.IntN(40)+1), rnd.IntN(300)
		if rnd.IntN(8) == 0 {
			size = 20_000 // overflows pages
		}
		v := fmt.Sprintf("%d-%d-%s", i, k, strings.Repeat("x", size))
		remove := rnd.IntN(4) == 0
		if delete(next, k); !remove {
			next[k] = v
		}
		l.mu.Lock()
		l.trying = next
		l.mu.Unlock()
		err := db.Update(context.Background(), func(c sqldb.Conn) error {
			if remove {
				return c.Exec("DELETE FROM t WHERE k IN (?, ?)", k, -k)
			}
			err := c.Exec("INSERT OR REPLACE INTO t VALUES (?, ?)", k, v)
			if err == nil {
				err = c.Exec("INSERT OR REPLACE INTO t VALUES (?, ?)", -k, v)
			}
			return err
		})
		l.mu.Lock()
		if l.trying = nil; err == nil {
			l.rows, l.failed = next, nil
		} else {
			l.failed = append(l.failed, next)
			if first == nil {
				first = err
			}
		}
		l.mu.Unlock()
	}
	return first
}

// same says what is wrong with a table that should hold one of some.
func same(db *sqldb.SQLite, wants ...map[int64]string) error {
	got, err := rows(db)
	if err != nil {
		return err
	}
	half := map[int64]string{}
	for k, v := range got {
		if got[-k] != v {
			return fmt.Errorf("half of a transaction: %d", k)
		}
		if k > 0 {
			half[k] = v
		}
	}
	for _, want := range wants {
		if maps.Equal(half, want) {
			return nil
		}
	}
	return fmt.Errorf("%d rows, and not those that were committed", len(half))
}

// verify opens what is left.
func verify(disk *vfs.Mem, wants ...map[int64]string) error {
	db, done, err := open(disk, small)
	if err != nil {
		return err
	}
	faults, err := db.Check(context.Background())
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("integrity_check: %q", faults)
	}
	if err == nil {
		err = same(db, wants...)
	}
	return errors.Join(err, done())
}

// TestPowerCutAtEveryOperation cuts the power before every operation of SQLite, in
// three ways.
func TestPowerCutAtEveryOperation(t *testing.T) {
	transactions := 240
	if raceEnabled {
		transactions = 30
	}
	l := &ledger{rows: map[int64]string{}}
	disk := new(vfs.Mem)
	ops, points, stopped := 0, 0, false
	kinds := map[string]int{}
	fsys := &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		switch op.Kind {
		case "ReadAt", "Stat", "Close":
			return nil
		}
		if stopped {
			return nil
		}
		ops++
		kinds[op.Kind]++
		wants := l.wants()
		for loss := range vfs.Loss(3) {
			points++
			if err := verify(disk.CrashWith(loss, uint64(ops)), wants...); err != nil && !stopped {
				t.Errorf("operation %d, %s %s, loss %d: %v", ops, op.Kind, op.Name, loss, err)
				stopped = true
			}
		}
		return nil
	}}
	stopped = true
	db, done, err := open(fsys, small)
	must(t, err)
	must(t, create(db))
	for round := range 3 {
		stopped = false
		must(t, l.work(db, rand.New(rand.NewPCG(uint64(round), 3)), transactions/3))
		must(t, done())
		if t.Failed() {
			return
		}
		db, done, err = open(fsys, small)
		must(t, err)
	}
	stopped = true
	must(t, done())
	t.Logf("%d operations %v, %d power cuts", ops, kinds, points)
}

// TestEveryOperationFails fails each operation once, or from then on for a while:
// what was not committed is not there, and what is committed later stays, also if
// the power goes at some later operation.
func TestEveryOperationFails(t *testing.T) {
	errs := []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE}
	step, every := 1, 7
	if raceEnabled {
		step, every = 5, 41
	}
	ops, points := 0, 0
	var broken error
	for good := range 2 {
		for n := 1; ; n += step {
			l := &ledger{rows: map[int64]string{}}
			disk := new(vfs.Mem)
			count, failing, failed := 0, false, ""
			fsys := &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
				if ops++; failed != "" && ops%every == 0 && broken == nil {
					points++
					broken = verify(disk.CrashWith(vfs.Loss(points%3), uint64(ops)), l.wants()...)
				}
				if !failing {
					return nil
				}
				if count++; count == n || count > n && good == 1 {
					if failed == "" {
						failed = fmt.Sprintf("%s %s, %d", op.Kind, op.Name, n)
					}
					return errs[n%len(errs)]
				}
				return nil
			}}
			db, done, err := open(fsys, small)
			must(t, err)
			must(t, create(db))
			must(t, l.work(db, rand.New(rand.NewPCG(1, 1)), 5))
			failing = true
			_ = l.work(db, rand.New(rand.NewPCG(2, 2)), 12)
			if failing = false; failed == "" {
				must(t, done())
				break
			}
			if err := same(db, l.rows); err != nil {
				t.Fatalf("%s failed: %v", failed, err)
			}
			if err := l.work(db, rand.New(rand.NewPCG(3, 3)), 5); err != nil {
				t.Fatalf("%s failed, and work does not go on: %v", failed, err)
			}
			for loss := range vfs.Loss(3) {
				if err := verify(disk.CrashWith(loss, uint64(n)), l.rows); err != nil {
					t.Fatalf("%s failed, then the power: %v", failed, err)
				}
			}
			must(t, done())
			if err := errors.Join(broken, verify(disk, l.rows)); err != nil {
				t.Fatalf("%s failed: %v", failed, err)
			}
		}
	}
	t.Logf("%d power cuts after a failure", points)
}

// TestTheNameOfTheLogIsDurable: SQLite does not look whether the sync of the folder
// of a new log worked.
func TestTheNameOfTheLogIsDurable(t *testing.T) {
	old := new(vfs.Mem)
	db, done, err := open(old, small)
	must(t, err)
	must(t, create(db))
	must(t, done())
	for n := 1; n < 20; n++ {
		for _, was := range []*vfs.Mem{new(vfs.Mem), old} {
			disk, syncs := was.Crash(), 0
			db, done, err := open(&vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
				if op.Kind == "SyncDir" {
					if syncs++; syncs == n {
						return syscall.EIO
					}
				}
				return nil
			}}, small)
			if err != nil {
				continue // it says so
			}
			must(t, create(db))
			l := &ledger{rows: map[int64]string{}}
			must(t, l.work(db, rand.New(rand.NewPCG(1, 1)), 3))
			if err := verify(disk.Crash(), l.rows); err != nil {
				t.Errorf("sync %d of the folder failed, then the power: %v", n, err)
			}
			must(t, done())
		}
	}
}
