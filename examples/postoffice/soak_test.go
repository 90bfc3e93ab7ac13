package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/embedded"
)

// TestSoak is R10: messages come and go, half of them to mailboxes where they are
// read and deleted, half to elsewhere. Three days pass after each batch, so that all
// that is kept for a time has gone by the second half; over that the memory in use,
// open files and the disk stay the same, and a Shutdown leaves nothing that runs.
func TestSoak(t *testing.T) {
	const batches = 20
	batch := 1000
	if raceEnabled || testing.Short() {
		batch = 40
	}
	if os.Getenv("MAILKEEL_LONG") != "" {
		batch = 10_000
	}
	before := goleak.IgnoreCurrent()
	s := newSoak(t)
	began := time.Now()
	var samples []sample
	for i := range batches {
		s.pass(i, batch)
		s.clock.jump(72 * time.Hour)
		samples = append(samples, s.sample())
		t.Logf("%d messages: %v", (i+1)*batch, samples[i])
	}
	t.Logf("%d messages in %v", batches*batch, time.Since(began).Round(time.Second))
	s.stop()
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Shutdown: %v", err)
	}

	// The least of some samples is what is really in use: others see the server
	// in the middle of something.
	least := func(part []sample) sample {
		return sample{
			heap:  slices.MinFunc(part, func(a, b sample) int { return int(a.heap - b.heap) }).heap,
			disk:  slices.MinFunc(part, func(a, b sample) int { return int(a.disk - b.disk) }).disk,
			files: slices.MinFunc(part, func(a, b sample) int { return a.files - b.files }).files,
		}
	}
	mid, end := least(samples[batches/2:batches*3/4]), least(samples[batches*3/4:])
	if end.heap > mid.heap+mid.heap/20+2<<20 {
		t.Errorf("memory in use grew from %d to %d bytes", mid.heap, end.heap)
	}
	if end.files > mid.files+10 {
		t.Errorf("open files grew from %d to %d", mid.files, end.files)
	}
	if end.disk > mid.disk+mid.disk/4+8<<20 {
		t.Errorf("the disk in use grew from %d to %d bytes", mid.disk, end.disk)
	}
}

type sample struct {
	heap, disk int64
	files      int
}

func (s sample) String() string {
	return fmt.Sprintf("%.1f MB of memory, %d open files, %.1f MB of disk", float64(s.heap)/1e6, s.files, float64(s.disk)/1e6)
}

// soak is a postoffice in this process, with a clock of its own.
type soak struct {
	t     *testing.T
	dir   string
	clock *jumpClock
	home  *embedded.Home
	at    *server.Server
	sink  *countingSink
	stop  func()
	boxes []string
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{t: t, dir: filepath.Join(memory(t), "office"), clock: &jumpClock{}}
	s.sink = newCountingSink(t)
	args := append([]string{"-dir", s.dir, "-insecure-auth", "-trusted", "127.0.0.0/8", "-relay", s.sink.ln.Addr().String()}, free...)
	for i := range 4 {
		s.boxes = append(s.boxes, fmt.Sprintf("user%d@x.test", i))
		args = append(args, "-account", s.boxes[i]+":"+secret)
	}
	o, _, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithCancel(context.Background())
	if s.home, err = embedded.Open(ctx, s.dir, embedded.Options{Clock: s.clock, Logger: log}); err != nil {
		t.Fatal(err)
	}
	if s.at, err = o.build(ctx, s.home, log); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.at.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.sink.close()
	})
	t.Cleanup(s.stop)
	select {
	case <-s.at.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return s
}

// pass sends n messages and waits until none is left.
func (s *soak) pass(batch, n int) {
	s.t.Helper()
	const senders = 8
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	gone := s.sink.n.Load()
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(batch), uint64(i)))
			who := s.boxes[i%len(s.boxes)]
			door, from, to := server.SMTP, "eve@far.test", who
			if i%2 == 1 {
				door, from, to = server.Submission, who, "zoe@far.test"
			} else {
				to = s.boxes[i/2]
			}
			if err := s.send(ctx, door, from, to, n/senders, rnd); err != nil {
				s.t.Errorf("sending: %v", err)
				cancel()
			}
		})
	}
	for _, who := range s.boxes {
		all.Go(func() {
			if err := s.read(ctx, who, n/senders); err != nil {
				s.t.Errorf("reading: %v", err)
				cancel()
			}
		})
	}
	all.Wait()
	if err := s.sink.wait(ctx, gone+int64(n/senders*senders/2)); err != nil {
		s.t.Errorf("%d of %d messages left: %v", s.sink.n.Load()-gone, n/2, err)
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// send sends n messages over one connection.
func (s *soak) send(ctx context.Context, door, from, to string, n int, rnd *rand.Rand) error {
	nc, err := net.Dial("tcp", s.at.Addr(door).String())
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	r := bufio.NewReader(nc)
	reply := func(code string) error {
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(l, code) {
				return fmt.Errorf("got %q, want %s", l, code)
			}
			if l[3] == ' ' {
				return nil
			}
		}
	}
	say := func(code, line string) error {
		if line != "" {
			if _, err := io.WriteString(nc, line+"\r\n"); err != nil {
				return err
			}
		}
		return reply(code)
	}
	if err = say("220", ""); err == nil {
		err = say("250", "EHLO far.test")
	}
	if err == nil && door == server.Submission {
		err = say("235", "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+from+"\x00"+secret)))
	}
	for i := 0; err == nil && i < n; i++ {
		if _, err = fmt.Fprintf(nc, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", from, to); err != nil {
			break
		}
		for _, code := range []string{"250", "250", "354"} {
			if err == nil {
				err = reply(code)
			}
		}
		if err != nil {
			break
		}
		size := 500 + rnd.IntN(6000)
		if rnd.IntN(100) == 0 {
			size = 200_000
		}
		msg := fmt.Appendf(nil, "From: <%s>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%x@x.test>\r\n\r\n", from, rnd.Uint64())
		for len(msg) < size {
			msg = fmt.Appendf(msg, "%016x%016x%016x\r\n", rnd.Uint64(), rnd.Uint64(), rnd.Uint64())
		}
		if _, err = nc.Write(append(msg, ".\r\n"...)); err == nil {
			err = reply("250")
		}
	}
	return err
}

// read reads and deletes n messages as they come.
func (s *soak) read(ctx context.Context, who string, n int) error {
	nc, err := net.Dial("tcp", s.at.Addr(server.IMAP).String())
	if err != nil {
		return err
	}
	news := make(chan struct{}, 1)
	c := imapclient.New(nc, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(m *imapclient.UnilateralDataMailbox) {
			if m.NumMessages != nil && *m.NumMessages > 0 {
				select {
				case news <- struct{}{}:
				default:
				}
			}
		},
	}})
	defer c.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	if err := c.Login(who, secret).Wait(); err != nil {
		return err
	}
	sel, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		return err
	}
	for there := sel.NumMessages > 0; n > 0; there = false {
		if !there {
			idle, err := c.Idle()
			if err != nil {
				return err
			}
			select {
			case <-news:
			case <-ctx.Done():
			}
			if err := idle.Close(); err != nil {
				return err
			}
			if err := idle.Wait(); err != nil {
				return err
			}
		}
		var uids imap.UIDSet
		got, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
		if err != nil {
			return err
		}
		for _, m := range got {
			if !bytes.HasSuffix(m.BodySection[0].Bytes, []byte("\r\n")) {
				return fmt.Errorf("UID %d is not whole", m.UID)
			}
			uids.AddNum(m.UID)
		}
		n -= len(got)
		if len(got) > 0 {
			if err := c.Store(uids, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close(); err != nil {
				return err
			}
			if err := c.UIDExpunge(uids).Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// sample measures when what is only late has come to its end.
func (s *soak) sample() sample {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	out := sample{heap: int64(m.HeapAlloc)}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		out.files = len(entries)
	}
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went meanwhile
		}
		if fi, err := d.Info(); err == nil {
			out.disk += fi.Size()
		}
		return nil
	})
	return out
}

// testLog puts what a server logs into the log of the test.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

// jumpClock is real time that jumps, as after a machine slept.
type jumpClock struct {
	mu     sync.Mutex
	ahead  time.Duration
	timers map[*jumpTimer]struct{}
}

type jumpTimer struct {
	c    *jumpClock
	at   time.Time
	ch   chan time.Time
	real *time.Timer
}

func (c *jumpClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *jumpClock) NewTimer(d time.Duration) mailkeel.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &jumpTimer{c: c, at: time.Now().Add(c.ahead + d), ch: make(chan time.Time, 1)}
	t.real = time.AfterFunc(d, func() { t.fire() })
	if c.timers == nil {
		c.timers = map[*jumpTimer]struct{}{}
	}
	c.timers[t] = struct{}{}
	return t
}

func (t *jumpTimer) fire() {
	if t.Stop() {
		t.ch <- t.at
	}
}

func (t *jumpTimer) C() <-chan time.Time { return t.ch }

func (t *jumpTimer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	_, there := t.c.timers[t]
	delete(t.c.timers, t)
	t.real.Stop()
	return there
}

// jump lets d pass at once.
func (c *jumpClock) jump(d time.Duration) {
	c.mu.Lock()
	c.ahead += d
	now := time.Now().Add(c.ahead)
	var due []*jumpTimer
	for t := range c.timers {
		if !t.at.After(now) {
			due = append(due, t)
		}
	}
	c.mu.Unlock()
	for _, t := range due {
		t.fire()
	}
}

// countingSink is a smart host that forgets what it takes.
type countingSink struct {
	ln   net.Listener
	n    atomic.Int64
	more chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func newCountingSink(t *testing.T) *countingSink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &countingSink{ln: ln, more: make(chan struct{}, 1), open: map[net.Conn]struct{}{}}
	s.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[nc] = struct{}{}
			s.mu.Unlock()
			s.wg.Go(func() {
				s.session(nc)
				nc.Close()
				s.mu.Lock()
				delete(s.open, nc)
				s.mu.Unlock()
			})
		}
	})
	return s
}

func (s *countingSink) session(nc net.Conn) {
	r := bufio.NewReader(nc)
	say := "220 sink.test\r\n"
	for data := false; ; {
		if say != "" {
			if _, err := io.WriteString(nc, say); err != nil {
				return
			}
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case data && line == ".\r\n":
			data, say = false, "250 2.0.0 ok\r\n"
			s.n.Add(1)
			select {
			case s.more <- struct{}{}:
			default:
			}
		case data:
			say = ""
		case strings.HasPrefix(line, "DATA"):
			data, say = true, "354 go\r\n"
		case strings.HasPrefix(line, "EHLO"):
			say = "250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
		case strings.HasPrefix(line, "QUIT"):
			return
		default:
			say = "250 2.0.0 ok\r\n"
		}
	}
}

// wait waits until n messages have come.
func (s *countingSink) wait(ctx context.Context, n int64) error {
	for s.n.Load() < n {
		select {
		case <-s.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *countingSink) close() {
	s.ln.Close()
	s.mu.Lock()
	for nc := range s.open {
		nc.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
