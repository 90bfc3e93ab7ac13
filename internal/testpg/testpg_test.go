package testpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mailkeel/mailkeel/internal/testpg"
)

func TestServerLivesAsLongAsTheTest(t *testing.T) {
	var dir string
	t.Run("inner", func(t *testing.T) {
		c := testpg.Start(t, testpg.Options{})
		dir = c.Dir
		url := c.Database(t)
		if url == c.Database(t) {
			t.Error("two databases are one")
		}
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		var sync string
		if err := conn.QueryRow(ctx, "show fsync").Scan(&sync); err != nil || sync != "on" {
			t.Errorf("fsync is %q, %v", sync, err)
		}
		if _, err := conn.Exec(ctx, "create table t ()"); err != nil {
			t.Error(err)
		}
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(ctx); err == nil {
			t.Error("the server runs after Stop")
		}
		if err := c.Restart(); err != nil {
			t.Fatal(err)
		}
		if conn, err = pgx.Connect(ctx, url); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(ctx, "select * from t"); err != nil {
			t.Errorf("after a crash: %v", err)
		}
	})
	if dir == "" {
		t.Skip("PostgreSQL is not installed")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
}

// asVictim makes the test binary one that starts a server and is killed.
const asVictim = "MAILKEEL_TESTPG_VICTIM"

// A server ends with its test also if that is killed, whatever PG variables are set.
func TestServerEndsWithAKilledTest(t *testing.T) {
	if os.Getenv(asVictim) != "" {
		c := testpg.Start(t, testpg.Options{NoSync: true})
		c.Database(t)
		fmt.Println("dir", c.Dir)
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithAKilledTest$")
	cmd.Env = append(os.Environ(), asVictim+"=1", "PGPORT=5999", "PGDATA=/nowhere", "PGDATABASE=nothing")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir, said := "", ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); said += lines.Text() + "\n" {
		if d, ok := strings.CutPrefix(lines.Text(), "dir "); ok {
			dir = d
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if dir == "" {
		if strings.Contains(said, "not installed") || !strings.Contains(said, "FAIL") {
			t.Skip("PostgreSQL is not installed")
		}
		t.Fatalf("no server: %s", said)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is left", dir)
		}
	}
}
