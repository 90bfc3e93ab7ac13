// Package peers finds and runs real mail programs for tests and benchmarks:
// command line clients, and a private Postfix and Dovecot on loopback ports.
//
// Nothing of the system's own configuration is used or changed.
package peers

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// folders are where Debian puts programs that are not on everyone's PATH.
func folders() []string {
	dirs := []string{"/usr/sbin", "/sbin", "/usr/lib/postfix/sbin", "/usr/lib/dovecot"}
	pg, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	return append(dirs, pg...)
}

// Find returns the path of a program.
func Find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range folders() {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("peers: program %s is not installed", name)
}

// Need skips the test unless all programs are there. In continuous integration
// (CI=true) a missing one is a failure: a test that never runs shows nothing.
func Need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := Find(name); err != nil {
			Missing(t, err.Error())
		}
	}
}

// Missing skips the test because the machine lacks something, or fails it with
// CI=true.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Forbidden skips the test because the machine does not allow what it does, such as
// mounting or tracing: in a container, or without root. That is no failure anywhere.
func Forbidden(t testing.TB, why string) {
	t.Helper()
	t.Skip("not allowed here: " + why)
}

// NeedRoot skips the test unless it runs as root that may become others: who is root
// in a container without privileges may not.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Forbidden(t, "this needs root")
	}
	if err := os.Chown(t.TempDir(), nobody, nobody); err != nil {
		Forbidden(t, err.Error())
	}
}

// runTimeout is the longest that one program may take; no test waits for it
// unless something hangs.
const runTimeout = 2 * time.Minute

// A Command is one run of a program.
type Command struct {
	Name  string
	Args  []string
	Dir   string
	Env   []string // added to a small fixed environment
	Stdin string
}

// Run runs the program and returns what it printed on both outputs.
func (c Command) Run(t testing.TB) (string, error) {
	t.Helper()
	path, err := Find(c.Name)
	if err != nil {
		Missing(t, err.Error())
	}
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, c.Args...)
	cmd.Dir = c.Dir
	home := c.Dir
	if home == "" {
		home = t.TempDir()
	}
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=xterm"}, c.Env...)
	cmd.Stdin = strings.NewReader(c.Stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", c.Name, strings.Join(c.Args, " "), err)
	}
	return out.String(), err
}

// MustRun is Run that ends the test on failure.
func (c Command) MustRun(t testing.TB) string {
	t.Helper()
	out, err := c.Run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listened on a moment ago. It
// lies below those that systems pick by themselves, which somebody's connection would
// have before the program that it is for.
func FreePort() (port int, err error) {
	for range 100 {
		port = 20_000 + rand.IntN(12_000)
		var ln net.Listener
		if ln, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, ln.Close()
		}
	}
	return 0, fmt.Errorf("peers: no free port: %w", err)
}
