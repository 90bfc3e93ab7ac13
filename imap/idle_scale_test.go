package imap

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// idleServer is the environment variable that makes this test binary the server of
// TestIdleAtScale: "plain" or "tls".
const idleServer = "MAILKEEL_TEST_IDLE_SERVER"

// TestIdleServer serves one mailbox for TestIdleAtScale, in a process of its own,
// so that its memory is that of the server alone. It takes a line at a time: "put"
// delivers a message, "memory" tells what it uses.
func TestIdleServer(t *testing.T) {
	how := os.Getenv(idleServer)
	if how == "" {
		t.Skip("for TestIdleAtScale")
	}
	s := &Server{Hostname: "h", Auth: anyone{}, Store: newStore(), InsecureAuth: true, MaxConns: 1 << 20, MaxPerAccount: 1 << 20}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		if how == "tls" {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}}
			done <- s.ServeTLS(ln)
		} else {
			done <- s.Serve(ln)
		}
	}()
	fmt.Println("addr", ln.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "put":
			put(t, s.Store, "a1", inbox, "new\n")
		case "cpu":
			fmt.Println("cpu", int64(cpu()))
		case "memory":
			var m runtime.MemStats
			for range 3 {
				debug.FreeOSMemory() // what a quiet server comes to
			}
			runtime.ReadMemStats(&m)
			fmt.Println("memory", pss(t), m.HeapAlloc, m.StackInuse)
		}
	}
	s.Close()
	<-done
}

// pss is the memory of this process in bytes, or that of Go where the system does
// not tell.
func pss(t *testing.T) (n int64) {
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.Sys - m.HeapReleased)
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, "Pss:"); ok {
			fmt.Sscan(rest, &n)
		}
	}
	return n << 10
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestIdleAtScale bounds what a session in IDLE costs, all memory of the process
// counted, and tells how long news take to reach all sessions.
func TestIdleAtScale(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	sessions := 1000
	if os.Getenv("MAILKEEL_LONG") != "" {
		sessions = 5000
	}
	for _, test := range []struct {
		how  string
		most int64
	}{{"plain", 20 << 10}, {"tls", 40 << 10}} {
		t.Run(test.how, func(t *testing.T) { idleAtScale(t, test.how, sessions, test.most) })
	}
}

func idleAtScale(t *testing.T, how string, sessions int, most int64) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestIdleServer$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), idleServer+"="+how)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	out := bufio.NewScanner(stdout)
	var addr string
	for out.Scan() {
		if _, err := fmt.Sscanf(out.Text(), "addr %s", &addr); err == nil {
			break
		}
	}
	ask := func(what string, answers ...any) {
		io.WriteString(stdin, what+"\n")
		for out.Scan() {
			if rest, ok := strings.CutPrefix(out.Text(), what+" "); ok {
				fmt.Sscan(rest, answers...)
				return
			}
		}
		t.Fatal("the server ended")
	}
	memory := func() (total, heap, stacks int64) {
		ask("memory", &total, &heap, &stacks)
		return total, heap, stacks
	}
	open := func() *peer {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if how == "tls" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		p := &peer{t, c, bufio.NewReaderSize(c, 512)}
		p.line()
		p.ok("LOGIN ann secret")
		p.ok("SELECT INBOX")
		p.send("i IDLE")
		p.line()
		return p
	}
	peers := make([]*peer, 0, sessions+20)
	defer func() {
		for _, p := range peers {
			p.Close()
		}
	}()
	for range 20 { // what is made once is not counted
		peers = append(peers, open())
	}
	before, heapBefore, stacksBefore := memory()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range sessions / 10 {
				p := open()
				mu.Lock()
				peers = append(peers, p)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	tell := func() {
		after, heap, stacks := memory()
		n := int64(sessions)
		t.Logf("%d sessions (%s): %d bytes each; heap %d, stack %d", sessions, how,
			(after-before)/n, (heap-heapBefore)/n, (stacks-stacksBefore)/n)
		if each := (after - before) / n; each > most {
			t.Errorf("a session costs %d bytes, may cost %d", each, most)
		}
	}
	tell()
	var used, now time.Duration
	for round := range 3 {
		times := make([]time.Duration, len(peers))
		begin := time.Now()
		for i, p := range peers {
			wg.Go(func() {
				if l := p.line(); l != fmt.Sprintf("* %d EXISTS", round+1) {
					t.Error(l)
				}
				times[i] = time.Since(begin)
			})
		}
		ask("cpu", &used)
		begin = time.Now()
		io.WriteString(stdin, "put\n")
		wg.Wait()
		slices.Sort(times)
		ask("cpu", &now)
		t.Logf("%v of CPU; p50 %v, p99 %v, all %v", now-used, times[len(times)/2], times[len(times)*99/100], times[len(times)-1])
	}
	tell()
}
