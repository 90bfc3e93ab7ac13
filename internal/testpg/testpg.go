// Package testpg starts throw-away PostgreSQL servers for tests, from the packages
// of the system (Debian: postgresql). They listen on a Unix socket in a private
// directory, and end with the test, also if its process is killed.
package testpg

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options for Start. The zero value is good.
type Options struct {
	// NoSync switches fsync off, for tests that do not show what survives.
	NoSync bool
	// Settings are further ones of postgresql.conf.
	Settings map[string]string
}

// A Cluster is a running server.
type Cluster struct {
	Dir string // its data, and socket

	bin, user string
	run       func(*exec.Cmd) // makes a command one of the owner of Dir
	made      atomic.Int64
	guard     io.Closer // when it closes, also because we died, the server ends
	ended     chan error
}

// patience is how long a server may take to start or stop on a busy machine.
const patience = 2 * time.Minute

// port is part of the name of the socket only. It is said everywhere, because PGPORT
// may be set.
const port = "5432"

// Start starts a server that ends with t. Without PostgreSQL the test is skipped,
// or with CI=true in the environment fails.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	bin, err := find()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	c := &Cluster{bin: bin}
	if c.user, c.run, err = owner(); err != nil {
		t.Fatal(err)
	}
	// The name of a socket may have about 100 bytes, and everyone must get there.
	parent := os.TempDir()
	if len(parent) > 60 || !open(parent) {
		parent = "/tmp"
	}
	if c.Dir, err = os.MkdirTemp(parent, "testpg"); err != nil {
		t.Fatal(err)
	}
	if err := give(c.Dir, c.user); err != nil {
		os.RemoveAll(c.Dir)
		t.Fatal(err)
	}
	// First of all, so that nothing is left whenever the test is killed.
	if err := c.watch(); err != nil {
		os.RemoveAll(c.Dir)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.guard.Close()
		if err := <-c.ended; err != nil {
			t.Errorf("testpg: end of the server: %v", err)
		}
	})
	args := []string{"-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"}
	if o.NoSync {
		args = append(args, "--no-sync")
	}
	if out, err := c.command("initdb", args...).CombinedOutput(); err != nil {
		t.Fatalf("testpg: initdb: %v\n%s", err, out)
	}
	if err := c.configure(o); err != nil {
		t.Fatal(err)
	}
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	return c
}

// find returns the folder with the newest server that is installed.
func find() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // Debian
	more, _ := filepath.Glob("/usr/pgsql-*/bin")          // Red Hat
	dirs = append(dirs, more...)
	slices.SortFunc(dirs, func(a, b string) int { return number(b) - number(a) })
	if p, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(p))
	}
	for _, d := range dirs {
		if _, err := exec.LookPath(filepath.Join(d, "initdb")); err != nil {
			continue
		}
		if _, err := exec.LookPath(filepath.Join(d, "pg_ctl")); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("testpg: PostgreSQL is not installed (Debian: apt-get install postgresql)")
}

// open reports whether all users may make folders in dir, as in /tmp.
func open(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o007 != 0o007 {
		return false
	}
	for d := filepath.Dir(dir); d != filepath.Dir(d); d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}

// number is the version in the name of a folder.
func number(dir string) int {
	n, _ := strconv.Atoi(strings.TrimFunc(filepath.Base(filepath.Dir(dir)), func(r rune) bool { return r < '0' || r > '9' }))
	return n
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }
func (c *Cluster) log() string  { return filepath.Join(c.Dir, "log") }

// command runs as the owner of the data.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	c.run(cmd)
	return cmd
}

func (c *Cluster) configure(o Options) error {
	settings := map[string]string{
		"listen_addresses": "''", "port": port, "unix_socket_directories": "'" + c.Dir + "'", "max_connections": "100",
		"shared_buffers": "16MB", "log_timezone": "UTC", "timezone": "UTC",
		"autovacuum_naptime": "10s", "max_wal_size": "256MB", "min_wal_size": "32MB",
	}
	if o.NoSync {
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	for k, v := range o.Settings {
		settings[k] = v
	}
	var b bytes.Buffer
	for k, v := range settings {
		fmt.Fprintf(&b, "%s = %s\n", k, v)
	}
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("testpg: %w", err)
	}
	_, err = f.Write(b.Bytes())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// ctl runs pg_ctl, whose children keep its output open.
func (c *Cluster) ctl(args ...string) error {
	out, err := os.CreateTemp(c.Dir, "ctl")
	if err != nil {
		return fmt.Errorf("testpg: %w", err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := c.command("pg_ctl", append([]string{"-D", c.data(), "-w", "-t", fmt.Sprint(int(patience.Seconds()))}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(c.log())
		return fmt.Errorf("testpg: pg_ctl %s: %w\n%s%s", strings.Join(args, " "), err, said, log)
	}
	return nil
}

func (c *Cluster) up() error { return c.ctl("-l", c.log(), "start") }

// watch starts a shell that ends the server when its input ends.
func (c *Cluster) watch() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("testpg: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", `trap '' INT HUP TERM; cat >/dev/null
		"$1/pg_ctl" -D "$2/data" -m immediate -w stop >/dev/null 2>&1
		rm -rf "$2"; test ! -e "$2"`, "sh", c.bin, c.Dir)
	cmd.Dir, cmd.Stdin = "/", r
	c.run(cmd)
	group(cmd)
	err = cmd.Start()
	r.Close()
	if err != nil {
		w.Close()
		return fmt.Errorf("testpg: %w", err)
	}
	c.guard, c.ended = w, make(chan error, 1)
	go func() { c.ended <- cmd.Wait() }()
	return nil
}

// Stop stops the server as a crash of it would.
func (c *Cluster) Stop() error { return c.ctl("-m", "immediate", "stop") }

// Restart starts the server after Stop.
func (c *Cluster) Restart() error { return c.up() }

// URL is the connection string of a database.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("host=%s port=%s user=postgres dbname=%s sslmode=disable", c.Dir, port, database)
}

// Database makes a database and returns its connection string.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("test", c.made.Add(1))
	c.Exec(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0")
	return c.URL(name)
}

// Schema makes a schema in a database that it shares with other schemas and returns
// its connection string. That is ten times faster than a Database.
func (c *Cluster) Schema(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("test", c.made.Add(1))
	c.Exec(t, "postgres", "CREATE SCHEMA "+name)
	return c.URL("postgres") + " search_path=" + name
}

// Exec runs a statement in a database.
func (c *Cluster) Exec(t testing.TB, database, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, query); err != nil {
		t.Fatal(err)
	}
}
