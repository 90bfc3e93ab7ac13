package sqldb_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// killed is the path of the database, in a process that is going to be killed.
const killed = "MAILKEEL_SQLDB_KILLED"

// TestKilledProcessKeepsWhatItAcknowledged runs itself, and kills that process
// while many goroutines write.
func TestKilledProcessKeepsWhatItAcknowledged(t *testing.T) {
	if path := os.Getenv(killed); path != "" {
		writeForEver(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "db")
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcessKeepsWhatItAcknowledged$")
		cmd.Env = append(os.Environ(), killed+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var acknowledged []int
		for lines.Scan() {
			k, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			if acknowledged = append(acknowledged, k); len(acknowledged) == 200 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if cmd.Wait() == nil {
			t.Fatal("the process was not killed")
		}
		db := open(t, path, sqldb.Options{})
		there := map[int]bool{}
		err = db.View(t.Context(), func(c sqldb.Conn) error {
			return c.Query("SELECT k FROM t", func(r sqldb.Row) error { there[int(r.Int(0))] = true; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range acknowledged {
			if !there[k] {
				t.Errorf("round %d: %d is lost", round, k)
			}
		}
		if faults, err := db.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults %q, %v", faults, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// writeForEver says each number that it has written.
func writeForEver(t *testing.T, path string) {
	db := open(t, path, sqldb.Options{})
	if err := sqldb.Migrate(t.Context(), db, "test", `CREATE TABLE t (k INTEGER PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	base := 0
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		return c.Query("SELECT coalesce(max(k), 0) FROM t", func(r sqldb.Row) error { base = int(r.Int(0)); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for k := base + 1 + w; k < base+1_000_000; k += 10 {
				if err := db.Update(t.Context(), insert(k)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Println(k)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
