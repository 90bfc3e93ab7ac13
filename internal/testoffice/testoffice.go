// Package testoffice runs examples/postoffice as a process of its own, for tests
// with real programs and for tests that kill it.
//
//	office := testoffice.Start(t, "-domain", "x.test", "-account", "ann@x.test:secret", "-insecure-auth")
//	// office.SMTP, office.IMAP and so on say where it listens.
//
// The program is built once for each test binary, with the race detector if that
// has it. The end of a test ends its processes.
package testoffice

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the package that is built.
const program = "github.com/mailkeel/mailkeel/examples/postoffice"

// patience is how long a start and a stop may take. It only bounds a test that has
// gone wrong.
const patience = 2 * time.Minute

// An Office is a process that runs postoffice.
type Office struct {
	// Where it listens, "127.0.0.1:port"; empty is off. LMTP may be a path.
	SMTP, Submission, Submissions, LMTP, IMAP, IMAPS, POP3, POP3S, HTTP string
	Dir                                                                 string
	// Greeting is what it printed before it was ready.
	Greeting string

	tb   testing.TB
	bin  string
	args []string
	ran  bool // it was ready once

	process *os.Process
	stderr  lockedBuffer
	exited  chan struct{}
	err     error // of Wait, once exited is closed
}

// Start starts postoffice and returns when it is ready. It listens on free
// loopback ports, but for LMTP and POP3, with all that it keeps in a temporary
// directory; args come after the flags that say so and win over them. An empty
// address turns a door off.
func Start(tb testing.TB, args ...string) *Office {
	tb.Helper()
	o := &Office{tb: tb, bin: Binary(tb), args: args}
	if at := slices.Index(args, "-dir"); at >= 0 && at+1 < len(args) {
		o.Dir = args[at+1]
	} else {
		o.Dir = filepath.Join(tb.TempDir(), "office")
	}
	tb.Cleanup(func() {
		o.Kill()
		if tb.Failed() {
			tb.Logf("postoffice said:\n%s", o.Stderr())
		}
	})
	o.start()
	return o
}

// Restart starts it again on the same directory and addresses, after Stop or Kill.
// More flags win over those of before.
func (o *Office) Restart(args ...string) {
	o.tb.Helper()
	o.args = append(slices.Clip(o.args), args...)
	o.start()
}

func (o *Office) start() {
	o.tb.Helper()
	addrs := o.doors()
	was := make([]string, len(addrs))
	for i, d := range addrs {
		was[i] = *d.addr
	}
	for try := 1; !o.try(); try++ {
		if try == 20 || !strings.Contains(o.Stderr(), "address already in use") {
			o.tb.Fatalf("testoffice: postoffice ended before it was ready: %v\n%s", o.err, o.Stderr())
		}
		// Between a stop and a start a connection of someone else got the
		// port, as its own end. That passes.
		for i, d := range addrs {
			*d.addr = was[i]
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// try starts the process and reports whether it became ready.
func (o *Office) try() bool {
	o.tb.Helper()
	cmd := exec.Command(o.bin, o.flags()...)
	cmd.Stderr = &o.stderr
	cmd.SysProcAttr, cmd.Env = attributes(), environ()
	out, err := cmd.StdoutPipe()
	if err != nil {
		o.tb.Fatal(err)
	}
	o.exited = make(chan struct{})
	started := make(chan error, 1)
	read := make(chan struct{})
	exited := o.exited
	go func() {
		// The thread that starts the process must live as long as it: the
		// kernel ends the process with it, so that nothing outlives a test
		// that was killed.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-read
			o.err = cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		o.tb.Fatalf("testoffice: %v", err)
	}
	o.process = cmd.Process
	ready := make(chan bool, 1)
	go func() {
		defer close(read)
		ready <- o.greeting(out)
		io.Copy(io.Discard, out)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case ok := <-ready:
		if !ok {
			<-o.exited
		}
		o.ran = o.ran || ok
		return ok
	case <-timer.C:
		o.Kill()
		o.tb.Fatalf("testoffice: postoffice is not ready after %v\n%s", patience, o.Stderr())
		return false
	}
}

// flags are those of the next start.
func (o *Office) flags() []string {
	free := "127.0.0.1:0"
	args := []string{"-dir", o.Dir}
	for _, d := range o.doors() {
		addr := free
		if *d.addr != "" {
			addr = *d.addr // as before
		} else if d.flag == "-lmtp" || d.flag == "-pop3" || d.flag == "-pop3s" || d.flag == "-http" || o.ran {
			addr = ""
		}
		args = append(args, d.flag, addr)
	}
	return append(args, o.args...)
}

type door struct {
	flag string
	addr *string
}

func (o *Office) doors() []door {
	return []door{
		{"-smtp", &o.SMTP}, {"-submission", &o.Submission}, {"-submissions", &o.Submissions},
		{"-lmtp", &o.LMTP}, {"-imap", &o.IMAP}, {"-imaps", &o.IMAPS},
		{"-pop3", &o.POP3}, {"-pop3s", &o.POP3S}, {"-http", &o.HTTP},
	}
}

// greeting reads addresses until the line that says ready.
func (o *Office) greeting(out io.Reader) bool {
	for _, d := range o.doors() {
		*d.addr = ""
	}
	var all strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		l := lines.Text()
		if l == "ready" {
			o.Greeting = all.String()
			return true
		}
		all.WriteString(l + "\n")
		words := strings.Fields(l)
		for _, d := range o.doors() {
			if len(words) > 1 && words[0] == d.flag[1:] && *d.addr == "" {
				*d.addr = words[1]
			}
		}
	}
	return false
}

// Stop asks it to end with SIGTERM, waits, and fails the test if the exit code is
// not 0.
func (o *Office) Stop() {
	o.tb.Helper()
	if err := o.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		o.tb.Fatalf("testoffice: %v", err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-o.exited:
	case <-timer.C:
		o.Kill()
		o.tb.Fatalf("testoffice: postoffice has not stopped after %v\n%s", patience, o.Stderr())
	}
	if o.err != nil {
		o.tb.Fatalf("testoffice: postoffice ended with %v\n%s", o.err, o.Stderr())
	}
}

// Kill ends it with SIGKILL, as a crash does, and waits until it is gone.
func (o *Office) Kill() {
	if o.process == nil {
		return
	}
	o.process.Kill()
	<-o.exited
}

// Term sends SIGTERM and does not wait: see Exited and Kill.
func (o *Office) Term() { o.process.Signal(syscall.SIGTERM) }

// Abort starts it like Restart and ends it with SIGKILL after some time, whether it
// is ready or not.
func (o *Office) Abort(after time.Duration) {
	o.tb.Helper()
	cmd := exec.Command(o.bin, o.flags()...)
	cmd.Stderr = &o.stderr
	cmd.SysProcAttr, cmd.Env = attributes(), environ()
	runtime.LockOSThread() // see try
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		o.tb.Fatalf("testoffice: %v", err)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	cmd.Wait()
	timer.Stop()
}

// KillNow is Kill without the wait, for when others use the connections.
func (o *Office) KillNow() { o.process.Kill() }

// Pid is that of the process.
func (o *Office) Pid() int { return o.process.Pid }

// Exited is closed when the process has ended.
func (o *Office) Exited() <-chan struct{} { return o.exited }

// Stderr is what it has logged so far, over all starts.
func (o *Office) Stderr() string { return o.stderr.String() }

// Run runs a sub-command in the directory of the office, such as "queue", "list",
// and returns what it printed and its exit code.
func (o *Office) Run(args ...string) (stdout, stderr string, code int) {
	o.tb.Helper()
	return Run(o.tb, append(slices.Clip(args), "-dir", o.Dir)...)
}

// Run runs postoffice with args until it ends.
func Run(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(Binary(tb), args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, environ()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		tb.Fatalf("testoffice: %v", err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// environ keeps the race detector from sleeping for a second at the end.
func environ() []string {
	return append(os.Environ(), "GORACE=atexit_sleep_ms=1 "+os.Getenv("GORACE"))
}

// binary is built once for each test binary.
var binary = sync.OnceValues(build)

// Binary returns the path of the program. It holds until the test binary ends.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := binary()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// look looks at all sources of the module: the go command takes the result of an
// earlier run for this one unless a file changed that the test looked at, and it does
// not see what the program is built from.
func look() {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return
	}
	_ = filepath.WalkDir(filepath.Dir(strings.TrimSpace(string(mod))), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, "_test.go") && filepath.Base(filepath.Dir(path)) != "testdata" {
			_, err = os.Stat(path)
		}
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 1 {
			return filepath.SkipDir
		}
		return nil
	})
}

func build() (string, error) {
	look()
	dir, err := os.MkdirTemp("", "postoffice-")
	if err != nil {
		return "", fmt.Errorf("testoffice: %w", err)
	}
	path := filepath.Join(dir, "postoffice")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, program)...).CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("testoffice: cannot build postoffice: %w\n%s", err, out)
	}
	return keep(dir, path)
}

// lockedBuffer is written by the process's reader and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
