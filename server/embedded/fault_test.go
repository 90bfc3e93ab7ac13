package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store"
)

// patience is how long a connection of a client may last. It matters only when a test
// fails.
const patience = 10 * time.Minute

// errCut means that the server ended a connection, which it may when something
// fails; but not with a promise.
var errCut = errors.New("the connection was closed")

// A faultRun fails operations under one server while clients talk to it.
type faultRun struct {
	rig   *rig
	disk  *vfs.Mem
	clock *testclock.Clock
	hop   *hop
	log   syncBuffer

	addrs []string // of MX, MSA and IMAP
	conns [3]*textproto.Conn
	tag   int

	failing bool
	mu      sync.Mutex
	count   int
	fail    func(n int) error
	failed  string

	took   map[string]bool // answers to steps: yes or no
	closed int             // connections that were cut
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (f *faultRun) before(op vfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.failing {
		return nil
	}
	f.count++
	err := f.fail(f.count)
	if err != nil && f.failed == "" {
		f.failed = fmt.Sprintf("operation %d, %s %s: %v", f.count, op.Kind, op.Name, err)
	}
	return err
}

func (f *faultRun) set(failing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing = failing
}

func (f *faultRun) start() (err error) {
	if f.rig, err = openRig(&vfs.Inject{FS: f.disk, Before: f.before}, f.clock, f.hop, slog.New(slog.NewTextHandler(&f.log, nil))); err != nil {
		return err
	}
	s := f.rig.srv
	f.addrs, err = f.rig.run(s.MX, s.MSA, s.IMAP)
	return err
}

func (f *faultRun) close() error {
	for _, c := range f.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	return f.rig.close()
}

// conn is a connection to a door, after the login.
func (f *faultRun) conn(door int) (*textproto.Conn, error) {
	if c := f.conns[door]; c != nil {
		return c, nil
	}
	nc, err := net.Dial("tcp", f.addrs[door])
	if err != nil {
		return nil, err
	}
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	c := textproto.NewConn(nc)
	f.conns[door] = c
	if door == 2 {
		if _, err := c.ReadLine(); err != nil {
			return nil, err
		}
		for _, cmd := range []string{"LOGIN ann@x.test pw", "SELECT INBOX"} {
			if ok, err := f.imap(cmd, ""); err != nil || !ok {
				f.cut(door)
				return nil, errors.Join(err, errCut)
			}
		}
		return c, nil
	}
	if _, _, err := c.ReadResponse(220); err != nil {
		return nil, err
	}
	cmds := []string{"EHLO client.test"}
	if door == 1 {
		cmds = append(cmds, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann@x.test\x00pw")))
	}
	for _, cmd := range cmds {
		if ok, err := f.smtp(door, cmd); err != nil || !ok {
			f.cut(door)
			return nil, errors.Join(err, errCut)
		}
	}
	return c, nil
}

func (f *faultRun) cut(door int) {
	_ = f.conns[door].Close()
	f.conns[door] = nil
	f.closed++
}

// smtp says something and reports whether the answer was yes. It is an error if it is
// neither that nor a temporary no.
func (f *faultRun) smtp(door int, cmd string) (bool, error) {
	c := f.conns[door]
	if err := c.PrintfLine("%s", cmd); err != nil {
		return false, errCut
	}
	return f.answer(c, cmd)
}

func (f *faultRun) answer(c *textproto.Conn, cmd string) (bool, error) {
	code, msg, err := c.ReadResponse(0)
	if perr := (*textproto.Error)(nil); errors.As(err, &perr) {
		err = nil
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, fmt.Errorf("no answer to %.30s", cmd)
	case err != nil:
		return false, errCut
	case code >= 500 || strings.Contains(msg, "panic"):
		return false, fmt.Errorf("%.30s: %d %s", cmd, code, msg)
	}
	return code < 400, nil
}

// imap sends a command, with a literal at its end, and reports whether it was done.
func (f *faultRun) imap(cmd, literal string) (bool, error) {
	c := f.conns[2]
	f.tag++
	tag := fmt.Sprint("t", f.tag)
	if literal != "" {
		cmd += fmt.Sprintf(" {%d}", len(literal))
	}
	if err := c.PrintfLine("%s %s", tag, cmd); err != nil {
		return false, errCut
	}
	for {
		line, err := c.ReadLine()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, fmt.Errorf("no answer to %.30s", cmd)
		} else if err != nil {
			return false, errCut
		}
		if strings.HasPrefix(line, "+") {
			if err := c.PrintfLine("%s", literal); err != nil {
				return false, errCut
			}
			continue
		}
		if i := strings.LastIndexByte(line, '{'); i >= 0 && strings.HasSuffix(line, "}") {
			n, err := strconv.Atoi(line[i+1 : len(line)-1])
			if err != nil {
				return false, err
			}
			b := make([]byte, n)
			if _, err := io.ReadFull(c.R, b); err != nil {
				return false, errCut
			}
			if !bytes.HasPrefix(b, []byte("Subject: ")) && !bytes.Contains(b, []byte("\r\nSubject: ")) {
				return false, fmt.Errorf("FETCH gave %.60q", b)
			}
			continue
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if !strings.HasPrefix(rest, "OK") && !strings.HasPrefix(rest, "NO") || strings.Contains(rest, "panic") {
				return false, fmt.Errorf("%.30s: %s", cmd, line)
			}
			return strings.HasPrefix(rest, "OK"), nil
		}
	}
}

// letter is a message of some size.
func letter(key string, size int) string {
	s := "Subject: " + key + "\r\nFrom: <ann@x.test>\r\n\r\n"
	return s + strings.Repeat("all work and no play\r\n", size/22) + "end\r\n"
}

// mail sends a message.
func (f *faultRun) mail(door int, text string, rcpts ...string) (bool, error) {
	c, err := f.conn(door)
	if err != nil {
		return false, err
	}
	from := "MAIL FROM:<ann@x.test>"
	if door == 0 {
		from = "MAIL FROM:<zoe@y.test>"
	}
	for _, cmd := range append([]string{from}, rcpts...) {
		if !strings.HasPrefix(cmd, "MAIL") {
			cmd = "RCPT TO:<" + cmd + ">"
		}
		if ok, err := f.smtp(door, cmd); err != nil {
			return false, err
		} else if !ok {
			_, err := f.smtp(door, "RSET")
			return false, err
		}
	}
	if ok, err := f.smtp(door, "DATA"); err != nil || !ok {
		return false, err
	}
	w := bufio.NewWriter(c.W)
	_, _ = w.WriteString(text + ".\r\n")
	if err := errors.Join(w.Flush(), c.W.Flush()); err != nil {
		return false, errCut
	}
	return f.answer(c, "DATA")
}

// A doing is a step of the dialogs and its effect.
type doing struct {
	name string
	do   func(f *faultRun, key string) (bool, error)
	// done says whether a state has the effect: 0, or 1 once.
	done func(f *faultRun, s *state, key string) int
}

func imapDoing(name, cmd string, done func(f *faultRun, s *state, key string) int) doing {
	return doing{name, func(f *faultRun, key string) (bool, error) {
		if _, err := f.conn(2); err != nil {
			return false, err
		}
		text := ""
		if strings.HasPrefix(cmd, "APPEND") || strings.HasPrefix(cmd, "UID REPLACE") {
			text = letter(key, 5000)
		}
		return f.imap(cmd, text)
	}, done}
}

func (f *faultRun) box(s *state, name string) box {
	for _, b := range s.boxes {
		if b.Account == f.rig.ids[0] && b.Name == name {
			return b
		}
	}
	return box{}
}

// has is how many messages of a mailbox have a subject.
func (b box) has(key string) (n int) {
	for _, m := range b.msgs {
		if m.key == key {
			n++
		}
	}
	return n
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// filed is 1 if all of some people have a message, once.
func filed(who ...int) func(f *faultRun, s *state, key string) int {
	return func(f *faultRun, s *state, key string) int {
		least, most := 1, 0
		for _, w := range who {
			n, _ := s.count(f.rig.ids[w], key)
			least, most = min(least, n), max(most, n)
		}
		if most > 1 {
			return most
		}
		return least
	}
}

var doings = []doing{
	{"receive", func(f *faultRun, key string) (bool, error) {
		return f.mail(0, letter(key, 3000), people[0], people[1])
	}, filed(0, 1)},
	{"receive a large one", func(f *faultRun, key string) (bool, error) { return f.mail(0, letter(key, 30_000), people[0]) }, filed(0)},
	{"submit", func(f *faultRun, key string) (bool, error) { return f.mail(1, letter(key, 1000), "ok@y.test") }, nil},
	imapDoing("append", "APPEND Archive (\\Seen)", func(f *faultRun, s *state, key string) int { return f.box(s, "Archive").has(key) }),
	imapDoing("store", "UID STORE 1 +FLAGS (\\Flagged)", func(f *faultRun, s *state, _ string) int {
		return truth(strings.Contains(f.box(s, "INBOX").msgs[1].flags, "Flagged"))
	}),
	imapDoing("fetch", "UID FETCH 1:3 (FLAGS BODY.PEEK[])", nil),
	imapDoing("copy", "UID COPY 2 Archive", func(f *faultRun, s *state, _ string) int { return f.box(s, "Archive").has("m-2") }),
	imapDoing("move", "UID MOVE 3 Archive", func(f *faultRun, s *state, _ string) int { return f.box(s, "Archive").has("m-3") }),
	imapDoing("mark", "UID STORE 2 +FLAGS.SILENT (\\Deleted)", func(f *faultRun, s *state, _ string) int {
		return truth(strings.Contains(f.box(s, "INBOX").msgs[2].flags, "Deleted"))
	}),
	imapDoing("expunge", "UID EXPUNGE 4", func(f *faultRun, s *state, _ string) int { return truth(f.box(s, "INBOX").has("m-4") == 0) }),
	imapDoing("create", "CREATE new", func(f *faultRun, s *state, _ string) int { return truth(f.box(s, "new").ID != 0) }),
	{"append two", func(f *faultRun, key string) (bool, error) {
		if _, err := f.conn(2); err != nil {
			return false, err
		}
		one := letter(key, 5000)
		return f.imap(fmt.Sprintf("APPEND Archive {%d+}\r\n%s (\\Seen)", len(one), one), letter(key, 15_000))
	}, func(f *faultRun, s *state, key string) int {
		if n := f.box(s, "Archive").has(key); n != 1 {
			return n / 2
		}
		return 2 // half of it
	}},
	imapDoing("replace", "UID REPLACE 5 Archive", func(f *faultRun, s *state, key string) int {
		old, is := f.box(s, "INBOX").has("m-5"), f.box(s, "Archive").has(key)
		if old+is != 1 {
			return 2
		}
		return is
	}),
}

// play goes through all, and notes the answers.
func (f *faultRun) play() error {
	for i, d := range doings {
		key := fmt.Sprint("m-1-", i)
		ok, err := d.do(f, key)
		if errors.Is(err, errCut) {
			for door, c := range f.conns {
				if c != nil && (door == 2) == (i > 2) {
					f.cut(door)
				}
			}
			delete(f.took, key) // it may have been done
			continue
		} else if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		f.took[key] = ok
	}
	return nil
}

// judge compares a state with the answers.
func (f *faultRun) judge(s *state, settled bool) error {
	for i, d := range doings {
		key := fmt.Sprint("m-1-", i)
		took, known := f.took[key]
		if d.name == "submit" && took {
			waits := false
			for _, it := range s.items {
				waits = waits || strings.HasSuffix(it, "> ok@y.test")
			}
			if f.hop.len() == 0 && !waits {
				return errors.New("what was submitted is gone")
			}
		}
		if d.done == nil || !known {
			continue
		}
		n := d.done(f, s, key)
		if took && n == 0 && i < 2 && !settled {
			continue // it is on its way through the queue
		}
		if took && n != 1 || !took && n > 1 || !took && n == 1 && i > 2 {
			return fmt.Errorf("%s: the answer was %v, and it was done %d times", d.name, took, n)
		}
	}
	if n, _ := s.count(f.rig.ids[0], "m-1"); n != 1 {
		return fmt.Errorf("an old message is there %d times", n)
	}
	return nil
}

// base is a disk with a little mail on it.
func base(t *testing.T, clock *testclock.Clock) *vfs.Mem {
	t.Helper()
	disk := new(vfs.Mem)
	r, err := openRig(disk, clock, &hop{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := r.send(fmt.Sprint("old", i), "zoe@y.test", letter(fmt.Sprint("m-", i+1), 2000), r.local(0)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := r.srv.Store.As(r.ids[0]).Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.srv.Store.As(r.ids[0]).SetFlags(t.Context(), f.ID, store.FlagChange{Add: []string{store.FlagDeleted}}, 4); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	return disk.Crash()
}

// faulty plays the dialogs while operations fail, and again when they do no more. It
// reports whether any failed.
func faulty(disk *vfs.Mem, clock *testclock.Clock, fail func(n int) error) (f *faultRun, err error) {
	f = &faultRun{disk: disk, clock: clock, fail: fail, hop: &hop{tries: map[string]int{}}, took: map[string]bool{}}
	if err := f.start(); err != nil {
		return f, err
	}
	defer func() {
		err = errors.Join(err, f.close())
		if err == nil && strings.Contains(f.log.String(), "panic") {
			err = fmt.Errorf("panic: %s", f.log.String())
		}
	}()
	for door := range f.conns {
		if _, err := f.conn(door); err != nil {
			return f, err
		}
	}
	f.set(true)
	err = f.play()
	f.set(false)
	if err != nil {
		return f, err
	}
	s, err := f.rig.look()
	if err == nil {
		err = f.judge(s, false)
	}
	if err != nil {
		return f, err
	}
	// The same server goes on.
	ctx := context.Background()
	for _, d := range doings[:4] {
		key := "m-2-" + d.name[:1]
		for try := 0; ; try++ {
			ok, err := d.do(f, key)
			if errors.Is(err, errCut) && try == 0 { // of before
				f.conns = [3]*textproto.Conn{}
				continue
			}
			if err != nil || !ok {
				return f, fmt.Errorf("%s, when nothing fails any more: %v, %w", d.name, ok, err)
			}
			break
		}
	}
	for range 4 { // what waits in the queue is due
		clock.Advance(10 * time.Minute)
		if err := f.rig.srv.Queue.Settled(ctx); err != nil {
			return f, err
		}
	}
	if s, err = f.rig.look(); err == nil {
		err = f.judge(s, true)
	}
	if err == nil && len(s.items) > 0 {
		err = fmt.Errorf("there waits %v", s.items)
	}
	if err != nil {
		return f, fmt.Errorf("later: %w", err)
	}
	for loss := range vfs.Loss(3) {
		left, err := func() (_ *state, err error) {
			r, err := openRig(f.disk.CrashWith(loss, 1), clock, &hop{}, nil)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, r.close()) }()
			if faults, err := r.home.Damage(ctx); err != nil || len(faults) > 0 {
				return nil, fmt.Errorf("damage: %q, %w", faults, err)
			}
			return r.look()
		}()
		if err == nil {
			err = left.between(s, s)
		}
		if err != nil {
			return f, fmt.Errorf("after a power cut, loss %d: %w", loss, err)
		}
	}
	return f, nil
}

// TestEveryOperationFails fails each operation on the files of a whole server, once
// or from there on, while clients talk to it over SMTP and IMAP.
func TestEveryOperationFails(t *testing.T) {
	errs := []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE, io.ErrShortWrite}
	step := 3 // each operation would take a minute
	switch {
	case raceEnabled:
		step = 41
	case os.Getenv("MAILKEEL_LONG") != "":
		step = 1
	}
	clock := &testclock.Clock{}
	disk := base(t, clock)
	runs, refused, cut := 0, 0, 0
	for good := range 2 {
		for n := 1; ; n += step {
			err := errs[(n+good)%len(errs)]
			f, ferr := faulty(disk.Crash(), clock, func(i int) error {
				if i == n || i > n && good == 1 {
					return err
				}
				return nil
			})
			if f.failed == "" && ferr == nil {
				break
			}
			if runs++; ferr != nil {
				t.Fatalf("%s, for good %d: %v\n%s", f.failed, good, ferr, f.log.String())
			}
			for _, took := range f.took {
				refused += truth(!took)
			}
			cut += f.closed
		}
	}
	t.Logf("%d runs, %d answers were no, %d connections were closed; 0 violations", runs, refused, cut)
}

// TestAStartFails at every operation: it says so, and the next one finds everything.
func TestAStartFails(t *testing.T) {
	errs := []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE}
	clock := &testclock.Clock{}
	old := base(t, clock)
	first := new(vfs.Mem) // nothing was ever kept there
	step := 3
	switch {
	case raceEnabled:
		step = 37
	case os.Getenv("MAILKEEL_LONG") != "":
		step = 1
	}
	for good := range 2 {
		for messages, was := range []*vfs.Mem{first, old} {
			failed, ended := 0, false
			for n := 1; !ended; n += step {
				disk, count, mu := was.Crash(), 0, sync.Mutex{}
				r, err := openRig(&vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
					mu.Lock() // packs read while the database opens
					defer mu.Unlock()
					if count++; count == n || count > n && good == 1 {
						return errs[n%len(errs)]
					}
					return nil
				}}, clock, &hop{}, nil)
				mu.Lock()
				ended = count < n
				mu.Unlock()
				if err != nil {
					failed++
				} else if err := r.close(); err != nil && ended {
					t.Fatal(err)
				}
				if r, err = openRig(disk, clock, &hop{}, nil); err != nil {
					t.Fatalf("after operation %d failed: %v", n, err)
				}
				s, err := r.look()
				if err == nil {
					if got, _ := s.count(r.ids[0], "m-1"); got != messages {
						err = fmt.Errorf("an old message is there %d times", got)
					}
				}
				if err := errors.Join(err, r.close()); err != nil {
					t.Fatalf("after operation %d failed: %v", n, err)
				}
			}
			t.Logf("%d starts failed", failed)
		}
	}
}
