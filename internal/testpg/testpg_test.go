package testpg_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

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
