package sqldb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// writeLog fills a database by n transactions of several pages each, and then lets
// more, if set, do something. It returns the two files as a crash would leave them.
func writeLog(t *testing.T, n int, more func(*SQLite)) (db, log []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	s, err := OpenSQLite(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	do(t, s, func(c Conn) error { return c.Exec("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)") })
	for range n {
		insert(t, s, 5000)
	}
	if more != nil {
		more(s)
	}
	if db, err = os.ReadFile(path); err == nil {
		log, err = os.ReadFile(path + "-wal")
	}
	if err != nil {
		t.Fatal(err)
	}
	return db, log
}

func do(t *testing.T, s *SQLite, fn func(Conn) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func insert(t *testing.T, s *SQLite, size int) {
	t.Helper()
	do(t, s, func(c Conn) error { return c.Exec("INSERT INTO t (v) VALUES (?)", make([]byte, size)) })
}

// start opens a copy of the files, and returns how many rows are there and what is lost.
func start(t *testing.T, db, log []byte) (rows int, lost *Lost) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := errors.Join(os.WriteFile(path, db, 0o600), os.WriteFile(path+"-wal", log, 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSQLite(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.View(context.Background(), func(c Conn) error {
		return c.Query("SELECT count(*) FROM t", func(r Row) error { rows = int(r.Int(0)); return nil })
	})
	if err != nil && !strings.Contains(err.Error(), "no such table") {
		t.Fatal(err)
	}
	return rows, s.Lost()
}

func flip(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// TestFlippedBitOfTheLogIsTold: SQLite takes a log up to the first damage, without a
// word. Whenever an acknowledged transaction behind that is gone it is told.
func TestFlippedBitOfTheLogIsTold(t *testing.T) {
	const n = 12
	db, log := writeLog(t, n, nil)
	if rows, lost := start(t, db, log); rows != n || lost != nil {
		t.Fatalf("%d rows, lost %v, of a log that is in order", rows, lost)
	}
	bits := []int{}
	for at := range logHead {
		bits = append(bits, at*8+rand.IntN(8))
	}
	frames := (len(log) - logHead) / (frameHead + 4096)
	for range 30 {
		frame := logHead + rand.IntN(frames)*(frameHead+4096)
		bits = append(bits, (frame+rand.IntN(frameHead))*8+rand.IntN(8), (frame+rand.IntN(frameHead+4096))*8+rand.IntN(8))
	}
	for _, bit := range bits {
		rows, lost := start(t, db, flip(log, bit))
		commits := 0
		if lost != nil {
			commits = lost.Commits
		}
		// The damaged frame may be the end of its transaction itself. A log without
		// its head also lacks the one that made the table.
		gone := n - rows
		if bit < logHead*8 || rows == 0 {
			if commits < n-1 {
				t.Errorf("byte %d: %d rows, lost %v", bit/8, rows, lost)
			}
		} else if commits != gone && commits != gone-1 {
			t.Errorf("byte %d: %d rows, lost %v", bit/8, rows, lost)
		}
		if lost != nil && (lost.Frames < lost.Commits || !strings.Contains(lost.String(), fmt.Sprint(lost.Frames, " frames"))) {
			t.Error(lost)
		}
	}
}

// TestLogCutOffIsNotTold: where a kill or the power ends a log nothing is behind.
func TestLogCutOffIsNotTold(t *testing.T) {
	db, log := writeLog(t, 5, nil)
	for at := 0; at < len(log); at += 1 + rand.IntN(500) {
		if rows, lost := start(t, db, log[:at]); lost != nil {
			t.Errorf("%d bytes: %d rows, lost %v", at, rows, lost)
		}
	}
}

// TestOldFramesAreNotTold: behind the end of a log stand those of the one that was
// there before, and of transactions that were taken back.
func TestOldFramesAreNotTold(t *testing.T) {
	for name, more := range map[string]func(*SQLite){
		"begun anew": func(s *SQLite) {
			if err := s.writer.conn.Query("PRAGMA wal_checkpoint(RESTART)", func(Row) error { return nil }); err != nil {
				t.Fatal(err)
			}
			insert(t, s, 10)
		},
		"taken back": func(s *SQLite) {
			_ = s.writer.conn.Query("PRAGMA cache_size=10", func(Row) error { return nil })
			err := s.Update(t.Context(), func(c Conn) error {
				for range 50 {
					if err := c.Exec("INSERT INTO t (v) VALUES (?)", make([]byte, 5000)); err != nil {
						return err
					}
				}
				return errors.New("no")
			})
			if err == nil {
				t.Error("was to fail")
			}
			insert(t, s, 10)
		},
	} {
		_, before := writeLog(t, 20, nil)
		db, log := writeLog(t, 20, more)
		if len(log) < len(before) {
			t.Errorf("%s: the log has %d bytes, and had %d: nothing old is there", name, len(log), len(before))
		}
		if rows, lost := start(t, db, log); rows != 21 || lost != nil {
			t.Errorf("%s: %d rows, lost %v", name, rows, lost)
		}
	}
}

// TestDamageOfTheLastTransactionMayBeThePower: the last transaction may be one that nobody was told
// of, and the words say so.
func TestDamageOfTheLastTransactionMayBeThePower(t *testing.T) {
	db, log := writeLog(t, 3, nil)
	last := len(log) - 2*(frameHead+4096)
	rows, lost := start(t, db, flip(log, (last+100)*8))
	if rows != 2 || lost == nil || lost.Commits != 1 || !strings.Contains(lost.String(), "either power failed") {
		t.Errorf("%d rows, %v", rows, lost)
	}
	rows, lost = start(t, db, flip(log, (logHead+100)*8))
	if rows != 0 || lost == nil || lost.Commits < 3 || strings.Contains(lost.String(), "power") {
		t.Errorf("%d rows, %v", rows, lost)
	}
}

func FuzzReadLog(f *testing.F) {
	f.Add([]byte{}, []byte{})
	head := []byte{0x37, 0x7f, 6, 0x82, 0, 0x2d, 0xe2, 0x18, 0, 0, 2, 0, 0, 0, 0, 0}
	f.Add(head, make([]byte, 2000))
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		fsys := new(vfs.Mem)
		if err := fsys.MkdirAll("/d", 0o700); err != nil {
			t.Fatal(err)
		}
		w, err := fsys.OpenFile("/d/log", os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Write(append(append([]byte{}, head...), rest...)); err != nil {
			t.Fatal(err)
		}
		w.Close()
		lost, err := readLog(fsys, "/d/log")
		if err != nil || lost != nil && lost.Frames*(512+frameHead) > len(head)+len(rest) {
			t.Error(lost, err)
		}
	})
}

// BenchmarkReadLog is what a start after a crash pays.
func BenchmarkReadLog(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	head := []byte{0x37, 0x7f, 6, 0x82, 0, 0x2d, 0xe2, 0x18, 0, 0, 0x10, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	sum := logSum{}.add(binary.LittleEndian, head)
	buf := bytes.NewBuffer(nil)
	put := func(s logSum) {
		for _, x := range s {
			buf.Write([]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
		}
	}
	buf.Write(head)
	put(sum)
	for range 64 << 20 / (frameHead + 4096) {
		frame := []byte{0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8}
		page := make([]byte, 4096)
		sum = sum.add(binary.LittleEndian, frame[:8]).add(binary.LittleEndian, page)
		buf.Write(frame)
		put(sum)
		buf.Write(page)
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(buf.Len()))
	b.ResetTimer()
	for b.Loop() {
		if lost, err := readLog(vfs.OS{}, path); lost != nil || err != nil {
			b.Fatal(lost, err)
		}
	}
}
