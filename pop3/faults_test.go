package pop3

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// faulty fails or panics when it is told to.
type faulty struct {
	store.Backend
	view   atomic.Pointer[func() error]
	update atomic.Pointer[func() error]
}

func (f *faulty) View(ctx context.Context, fn func(store.Tx) error) error {
	if fail := f.view.Load(); fail != nil {
		if err := (*fail)(); err != nil {
			return err
		}
	}
	return f.Backend.View(ctx, fn)
}

func (f *faulty) Update(ctx context.Context, fn func(store.Tx) error) error {
	if fail := f.update.Load(); fail != nil {
		if err := (*fail)(); err != nil {
			return err
		}
	}
	return f.Backend.Update(ctx, fn)
}

// blobs opens what open returns.
type blobs struct {
	*memblob.Store
	open atomic.Pointer[func() (io.ReadCloser, error)]
}

func (b *blobs) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	if open := b.open.Load(); open != nil {
		return (*open)()
	}
	return b.Store.Open(ctx, ref, off, n)
}

func faults(t *testing.T) (*faulty, *blobs, *Server, string) {
	b, bs := &faulty{Backend: new(memstore.Backend)}, &blobs{Store: new(memblob.Store)}
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: b, Blobs: bs}}
	return b, bs, s, start(t, s)
}

func always(err error) *func() error {
	fn := func() error { return err }
	return &fn
}

// What fails is told with a code that says to try again, a panic too, and the
// session goes on.
func TestFaultsWhileReading(t *testing.T) {
	b, bs, s, addr := faults(t)
	put(t, s.Store, "a1", "INBOX", "Subject: x\r\n\r\nhello\r\n")
	p := dial(t, addr)
	b.view.Store(always(errDisk))
	p.ok("USER ann")
	if l := p.do("PASS secret"); l != "-ERR [SYS/TEMP] The maildrop cannot be opened now" {
		t.Error(l)
	}
	if n := len(s.state.logins); n != 0 {
		t.Errorf("%d sessions are counted", n)
	}
	b.view.Store(nil)
	p.login("ann")

	b.view.Store(always(errDisk))
	if l := p.do("RETR 1"); l != "-ERR [SYS/TEMP] Temporary failure, try again later" {
		t.Error(l)
	}
	boom := func() error { panic("boom") }
	b.view.Store(&boom)
	if l := p.do("TOP 1 0"); l != "-ERR [SYS/TEMP] Internal error" {
		t.Error(l)
	}
	b.view.Store(nil)

	const damaged = "-ERR [SYS/PERM] The message is damaged on the server and cannot be read"
	for _, tt := range []struct {
		open func() (io.ReadCloser, error)
		want string
	}{
		{func() (io.ReadCloser, error) { return nil, blob.ErrNotFound }, damaged},
		{func() (io.ReadCloser, error) { return nil, fmt.Errorf("x: %w", blob.ErrDamaged) }, damaged},
		{func() (io.ReadCloser, error) { return nil, errDisk }, "-ERR [SYS/TEMP] Temporary failure, try again later"},
		{func() (io.ReadCloser, error) { return reading("Subject", nil), nil }, damaged},             // too short
		{func() (io.ReadCloser, error) { return reading("Subject", blob.ErrDamaged), nil }, damaged}, // found late
	} {
		bs.open.Store(&tt.open)
		if l := p.do("RETR 1"); l != tt.want {
			t.Errorf("%q, want %q", l, tt.want)
		}
	}
	bs.open.Store(nil)
	p.ok("RETR 1")
	if l := p.lines(); len(l) != 3 {
		t.Error(l)
	}
}

// reading gives text and then err.
func reading(text string, err error) io.ReadCloser {
	if err == nil {
		err = io.EOF
	}
	return io.NopCloser(io.MultiReader(strings.NewReader(text), ending{err}))
}

type ending struct{ err error }

func (e ending) Read([]byte) (int, error) { return 0, e.err }

// When part of a message has left, the connection ends: what is missing must not be
// taken for the end of the message.
func TestFaultInTheMiddleOfAMessage(t *testing.T) {
	_, bs, s, addr := faults(t)
	put(t, s.Store, "a1", "INBOX", strings.Repeat("0123456\r\n", 10_000))
	for _, err := range []error{nil, errDisk} {
		open := func() (io.ReadCloser, error) { return reading(strings.Repeat("0123456\r\n", 9_000), err), nil }
		bs.open.Store(&open)
		p := dial(t, addr)
		p.login("ann")
		p.ok("RETR 1")
		out, _ := io.ReadAll(p.br)
		if n := len(out); n == 0 || n > 81_000 || strings.Contains(string(out), ".") || strings.Contains(string(out), "ERR") {
			t.Errorf("%d bytes, %.200q", n, out[max(0, n-100):])
		}
	}
}

// QUIT says +OK only once the deletions are done, and what was not done if it fails.
func TestQuitThatCannotDelete(t *testing.T) {
	b, _, s, addr := faults(t)
	for range 2*batch + 10 {
		put(t, s.Store, "a1", "INBOX", "x\r\n")
	}
	b.update.Store(always(errDisk))
	p := dial(t, addr)
	p.login("ann")
	for _, n := range []int{2, 3, 4, 7, 9} {
		p.ok("DELE %d", n)
	}
	if l := p.do("QUIT"); l != "-ERR [SYS/TEMP] Not deleted: 2-4 7 9" {
		t.Error(l)
	}
	p.closed()

	// The second of three transactions fails.
	var calls atomic.Int32
	second := func() error {
		if calls.Add(1) == 2 {
			return errDisk
		}
		return nil
	}
	b.update.Store(&second)
	p = dial(t, addr)
	p.login("ann")
	for n := range 2*batch + 10 {
		p.ok("DELE %d", n+1)
	}
	if l := p.do("QUIT"); l != fmt.Sprintf("-ERR [SYS/TEMP] Not deleted: %d-%d", batch+1, 2*batch+10) {
		t.Error(l)
	}
	p.closed()
	b.update.Store(nil)
	p = dial(t, addr)
	p.login("ann")
	if l := p.ok("STAT"); !strings.HasPrefix(l, fmt.Sprintf("+OK %d ", batch+10)) {
		t.Error(l)
	}
	// The line stays short, whatever it has to tell (RFC 2449, 4).
	b.update.Store(always(errDisk))
	for n := range batch / 2 {
		p.ok("DELE %d", 2*n+1)
	}
	if l := p.do("QUIT"); len(l) > 510 || !strings.HasPrefix(l, "-ERR [SYS/TEMP] Not deleted: 1 3 5 ") || !strings.HasSuffix(l, " and later ones") {
		t.Error(l)
	}
	b.update.Store(nil)
	if f, err := s.Store.As("a1").Folder(t.Context(), "INBOX"); err != nil || f.Messages != batch+10 {
		t.Errorf("%d messages, %v", f.Messages, err)
	}
}

// Flags that cannot be set are no reason for QUIT to fail.
func TestSeenIsACourtesy(t *testing.T) {
	b, _, s, addr := faults(t)
	put(t, s.Store, "a1", "INBOX", "x\r\n")
	b.update.Store(always(errDisk))
	p := dial(t, addr)
	p.login("ann")
	p.ok("RETR 1")
	p.lines()
	p.ok("QUIT")
	b.update.Store(nil)
	p = dial(t, addr)
	p.login("ann")
	p.ok("RETR 1")
	p.lines()
	p.Close() // without QUIT
	s.Shutdown(t.Context())
	if f, err := s.Store.As("a1").Folder(t.Context(), "INBOX"); err != nil || f.Unseen != 0 {
		t.Errorf("%d unseen, %v", f.Unseen, err)
	}
}

func TestKeepUnseen(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore(), KeepUnseen: true}
	put(t, s.Store, "a1", "INBOX", "x\r\n")
	p := dial(t, start(t, s))
	p.login("ann")
	p.ok("RETR 1")
	p.lines()
	p.ok("QUIT")
	if f, err := s.Store.As("a1").Folder(t.Context(), "INBOX"); err != nil || f.Unseen != 1 {
		t.Errorf("%d unseen, %v", f.Unseen, err)
	}
}

// The answer to QUIT waits until the deletion is done.
func TestQuitWaits(t *testing.T) {
	b, _, s, addr := faults(t)
	put(t, s.Store, "a1", "INBOX", "x\r\n")
	entered, release := make(chan struct{}), make(chan struct{})
	wait := func() error {
		entered <- struct{}{}
		<-release
		return nil
	}
	p := dial(t, addr)
	p.login("ann")
	p.ok("DELE 1")
	b.update.Store(&wait)
	p.send("QUIT")
	<-entered
	b.update.Store(nil)
	answered := make(chan string, 1)
	go func() { l, _ := p.br.ReadString('\n'); answered <- l }()
	select {
	case l := <-answered:
		t.Errorf("%q before the deletion", l)
	default:
	}
	close(release)
	if l := <-answered; l != "+OK Bye\r\n" {
		t.Errorf("%q", l)
	}
}
