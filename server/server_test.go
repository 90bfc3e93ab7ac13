package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is a small server without doors.
func config() server.Config {
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@x.test"}, Password: "secret"},
		{Account: accounts.Account{ID: "b2", Address: "bob@x.test"}, Password: "hidden"},
	}}
	return server.Config{
		Hostname: "mx.x.test", Store: &memstore.Backend{}, Blobs: &memblob.Store{}, Queue: &memqueue.Backend{},
		Directory: users, Auth: users,
	}
}

// listen says where a door is.
func at(addr string) server.Listen { return server.Listen{Addr: addr} }

func TestConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*server.Config)
		want string // "" for none
	}{
		"good":                        {func(c *server.Config) {}, ""},
		"no hostname":                 {func(c *server.Config) { c.Hostname = "" }, "Hostname"},
		"nothing":                     {func(c *server.Config) { *c = server.Config{} }, "Config.Queue"},
		"IMAP without Auth":           {func(c *server.Config) { c.Auth = nil; c.IMAP = at(":143") }, "imap needs Config.Auth"},
		"IMAPS without TLS":           {func(c *server.Config) { c.IMAPS = at(":993") }, "imaps needs Config.TLS"},
		"submissions without TLS":     {func(c *server.Config) { c.Submissions = at(":465") }, "submissions needs Config.TLS"},
		"SMTP without Auth":           {func(c *server.Config) { c.Auth = nil; c.SMTP = at(":25") }, ""},
		"insecure on loopback":        {func(c *server.Config) { c.InsecureAuth = true; c.IMAP = at("127.0.0.1:143") }, ""},
		"insecure on ::1":             {func(c *server.Config) { c.InsecureAuth = true; c.IMAP = at("[::1]:143, localhost:144") }, ""},
		"insecure on all":             {func(c *server.Config) { c.InsecureAuth = true; c.IMAP = at(":143") }, "loopback"},
		"insecure on 0.0.0.0":         {func(c *server.Config) { c.InsecureAuth = true; c.Submission = at("0.0.0.0:587") }, "submission 0.0.0.0:587"},
		"insecure, one of two":        {func(c *server.Config) { c.InsecureAuth = true; c.IMAP = at("127.0.0.1:143,192.0.2.1:143") }, "192.0.2.1"},
		"insecure on a name":          {func(c *server.Config) { c.InsecureAuth = true; c.IMAP = at("mail.x.test:143") }, "loopback"},
		"insecure, mapped":            {func(c *server.Config) { c.InsecureAuth = true; c.IMAP = at("[::ffff:127.0.0.1]:143") }, ""},
		"insecure, SMTP on all":       {func(c *server.Config) { c.InsecureAuth = true; c.SMTP = at(":25") }, "smtp :25"},
		"LMTP on loopback":            {func(c *server.Config) { c.LMTP = at("127.0.0.1:24") }, ""},
		"LMTP on a path":              {func(c *server.Config) { c.LMTP = at("/run/lmtp") }, ""},
		"LMTP on a name":              {func(c *server.Config) { c.LMTP = at("lmtp.sock") }, ""},
		"LMTP on all":                 {func(c *server.Config) { c.LMTP = at(":24") }, "lmtp trusts whoever connects"},
		"LMTP elsewhere":              {func(c *server.Config) { c.LMTP = at("192.0.2.1:24") }, "192.0.2.1:24"},
		"secure SMTP on all is right": {func(c *server.Config) { c.SMTP = at(":25"); c.IMAP = at(":143") }, ""},
	} {
		c := config()
		tt.edit(&c)
		s, err := server.New(c)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err == nil {
			s.Shutdown(t.Context())
		}
	}
}

// run runs a server until the function it returns is called.
func run(t *testing.T, c server.Config) (*server.Server, func()) {
	t.Helper()
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	return s, func() {
		t.Helper()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestDoorsOpenAndClose(t *testing.T) {
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(t.TempDir(), "lmtp")
	closed := 0
	c := config()
	c.TLS = &tls.Config{}
	c.SMTP, c.POP3 = at("127.0.0.1:0, 127.0.0.2:0"), at("127.0.0.1:0")
	c.IMAP = server.Listen{Listener: ready}
	c.LMTP = at(sock)
	c.Close = func() error { closed++; return nil }
	for range 2 { // the second finds the socket that the first left
		s, stop := run(t, c)
		if got := s.Addr(server.IMAP); got.String() != ready.Addr().String() {
			t.Errorf("IMAP at %v", got)
		}
		if s.Addr(server.IMAPS) != nil {
			t.Error("IMAPS is open")
		}
		for _, d := range []string{server.SMTP, server.IMAP, server.LMTP, server.POP3} {
			a := s.Addr(d)
			if a == nil {
				t.Fatalf("%s is shut", d)
			}
			nc, err := net.Dial(a.Network(), a.String())
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4)
			if _, err := io.ReadFull(nc, b); err != nil || string(b) != "220 " && string(b) != "* OK" && string(b) != "+OK " {
				t.Errorf("%s greets with %q, %v", d, b, err)
			}
			nc.Close()
		}
		stop()
		if err := s.Run(t.Context()); !errors.Is(err, server.ErrClosed) {
			t.Errorf("a second Run: %v", err)
		}
		if _, err := net.Dial("tcp", ready.Addr().String()); err == nil {
			t.Error("IMAP still listens")
		}
		if ready, err = net.Listen("tcp", ready.Addr().String()); err != nil {
			t.Fatal(err)
		}
		c.IMAP.Listener = ready
	}
	ready.Close()
	if closed != 2 {
		t.Errorf("closed %d times", closed)
	}
}

func TestABusyAddressClosesTheOthers(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	c := config()
	c.IMAP = server.Listen{Listener: other}
	c.SMTP = at(busy.Addr().String())
	c.Close = func() error { closed = true; return nil }
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot open smtp") {
		t.Errorf("Run: %v", err)
	}
	if _, err := net.Dial("tcp", other.Addr().String()); err == nil || !closed {
		t.Error("something is still open")
	}
	select {
	case <-s.Ready():
		t.Error("ready")
	default:
	}
	// A file that is no socket is left alone, and so is one that is served.
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	sock := filepath.Join(t.TempDir(), "sock")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, path := range []string{file, sock} {
		c := config()
		c.LMTP = at(path)
		s, err := server.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil {
			t.Errorf("listens at %s", path)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	c := config()
	c.SMTP = at("127.0.0.1:0")
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown after the end: %v", err)
	}
}

func TestAContextThatIsDoneLeavesNothingOpen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := config()
		c.SMTP = server.Listen{Listener: ln}
		c.IMAP = at("127.0.0.1:0")
		s, err := server.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		for _, a := range []net.Addr{ln.Addr(), s.Addr(server.IMAP)} {
			if nc, err := net.Dial("tcp", a.String()); err == nil {
				nc.Close()
				t.Fatalf("%v is still open", a)
			}
		}
	}
}

// stuck is a Transport that waits.
type stuck struct{ begun, goOn chan struct{} }

func (s stuck) Deliver(ctx context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	close(s.begun)
	<-s.goOn
	return mailkeel.All(len(env.Rcpts), mailkeel.Result{})
}

func TestShutdownLetsATransactionEnd(t *testing.T) {
	local := stuck{make(chan struct{}), make(chan struct{})}
	c := config()
	c.SMTP = at("127.0.0.1:0")
	c.Local = func(mailkeel.Transport) mailkeel.Transport { return local }
	s, stop := run(t, c)
	nc, err := net.Dial("tcp", s.Addr(server.SMTP).String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "HELO me\r\n")
	io.WriteString(nc, "MAIL FROM:<z@y.test>\r\nRCPT TO:<ann@x.test>\r\nDATA\r\n")
	waitFor(t, nc, "354 ")
	io.WriteString(nc, "Subject: x\r\n\r\n.\r\n")
	<-local.begun
	stopped := make(chan bool)
	go func() { stop(); close(stopped) }()
	waitClosed(t, s.Addr(server.SMTP)) // it listens no more
	close(local.goOn)
	waitFor(t, nc, "250 ")
	<-stopped
}

// waitFor reads lines until one begins so.
func waitFor(t *testing.T, nc net.Conn, begin string) {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := nc.Read(b); err != nil {
			t.Fatalf("%v before %q, after %q", err, begin, line)
		}
		if line = append(line, b[0]); b[0] == '\n' {
			if strings.HasPrefix(string(line), begin) {
				return
			}
			line = nil
		}
	}
}

// waitClosed returns when nobody listens at a.
func waitClosed(t *testing.T, a net.Addr) {
	for t.Context().Err() == nil {
		nc, err := net.Dial(a.Network(), a.String())
		if err != nil {
			return
		}
		nc.Close()
	}
}

func TestShutdownCutsOffWhoTakesTooLong(t *testing.T) {
	c := config()
	c.SMTP = at("127.0.0.1:0")
	c.Grace = time.Hour
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	<-s.Ready()
	nc, err := net.Dial("tcp", s.Addr(server.SMTP).String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "HELO me\r\nMAIL FROM:<z@y.test>\r\nRCPT TO:<ann@x.test>\r\nDATA\r\n")
	waitFor(t, nc, "354 ")
	io.WriteString(nc, "Subject: never ends\r\n") // in the middle of its content
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMailForElsewhereIsHeldUntilThereIsAWay(t *testing.T) {
	c := config()
	s, stop := run(t, c)
	env := &mailkeel.Envelope{ID: "m1", From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: "zoe@y.test"}}}
	for _, r := range mailkeel.Deliver(t.Context(), s.Queue, env, text("Subject: x\r\n\r\n")) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if err := s.Queue.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	held := items(t, s, queue.Query{HeldOnly: true})
	if len(held) != 1 || !strings.Contains(held[0].Last, "no smart host") {
		t.Fatalf("held %+v", held)
	}
	// One that a person held stays.
	other := held[0]
	other.ID, other.Envelope.ID, other.Last = "m2/0", "m2", ""
	if err := s.Queue.Backend.Put(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	stop()
	got := make(chan string, 9)
	c.Rest = mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error {
		got <- env.ID
		return nil
	})
	s, stop = run(t, c)
	if id := <-got; id != "m1" {
		t.Errorf("sent %s", id)
	}
	s.Queue.Settled(t.Context())
	stop()
	if left := items(t, s, queue.Query{}); len(left) != 1 || left[0].ID != "m2/0" || !left[0].Held {
		t.Errorf("left %+v", left)
	}
}

func items(t *testing.T, s *server.Server, q queue.Query) []queue.Item {
	var all []queue.Item
	for it, err := range s.Queue.Backend.List(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, it)
	}
	return all
}

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

// people is an accounts.Manager with one account, and deleted ones.
type people struct {
	accounts.Manager
	deleted chan mailkeel.AccountID // those that are left
	purged  chan mailkeel.AccountID
}

func (p people) Deleted(context.Context) ([]mailkeel.AccountID, error) {
	select {
	case id := <-p.deleted:
		return []mailkeel.AccountID{id}, nil
	default:
		return nil, nil
	}
}

func (p people) Purged(_ context.Context, id mailkeel.AccountID) error {
	p.purged <- id
	return nil
}

func (p people) Accounts(context.Context, string) iter.Seq2[accounts.Account, error] {
	return func(yield func(accounts.Account, error) bool) {
		yield(accounts.Account{ID: "a1", Address: "ann@x.test"}, nil)
	}
}

func TestUpkeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // 40 days in no time
		c := config()
		p := people{c.Manager, make(chan mailkeel.AccountID, 1), make(chan mailkeel.AccountID, 1)}
		c.Manager = p
		s, err := server.New(c)
		if err != nil {
			t.Fatal(err)
		}
		kept := file(t, s, "a1", "kept")
		file(t, s, "a1", "expunged")
		gone := file(t, s, "b2", "gone")
		if _, err := s.Store.As("a1").Expunge(t.Context(), inbox(t, s, "a1").ID, 2); err != nil {
			t.Fatal(err)
		}
		// What is queued holds its content too.
		env := &mailkeel.Envelope{ID: "m1", From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: "zoe@y.test"}}}
		if r := mailkeel.Deliver(t.Context(), s.Queue, env, text("Subject: queued\r\n\r\n")); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
		queued := items(t, s, queue.Query{})[0].Blob.Ref
		done := make(chan error, 1)
		go func() { done <- s.Run(context.Background()) }()
		<-s.Ready()
		there := func(ref blob.Ref) bool {
			_, err := c.Blobs.Stat(t.Context(), ref)
			return err == nil
		}
		horizon := func() (h store.ModSeq) {
			s.Store.Backend.View(t.Context(), func(tx store.Tx) error {
				accs, err := tx.Accounts("a1")
				if err == nil {
					h = accs[0].Horizon
				}
				return err
			})
			return h
		}
		p.deleted <- "b2"
		time.Sleep(2 * time.Minute)
		if id := <-p.purged; id != "b2" || !there(gone) {
			t.Errorf("purged %s; its blob there: %v, which is too young to go", id, there(gone))
		}
		time.Sleep(8 * time.Hour)
		if !there(kept) || there(gone) {
			t.Errorf("the kept blob there: %v; that of the deleted account: %v", there(kept), there(gone))
		}
		time.Sleep(28 * 24 * time.Hour)
		if horizon() != 0 {
			t.Error("tombstones are forgotten too early")
		}
		time.Sleep(4 * 24 * time.Hour)
		if horizon() == 0 {
			t.Error("tombstones are never forgotten")
		}
		if !there(kept) || !there(queued) {
			t.Errorf("contents lost: of a live message %v, of a queued one %v", !there(kept), !there(queued))
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func inbox(t *testing.T, s *server.Server, id mailkeel.AccountID) store.Folder {
	f, err := s.Store.As(id).Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// file puts a message into an INBOX.
func file(t *testing.T, s *server.Server, id mailkeel.AccountID, name string) blob.Ref {
	t.Helper()
	w, err := s.Store.Blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "Subject: %s\r\n\r\n", name)
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Store.Deliver(t.Context(), store.Delivery{Blob: info, Targets: []store.Target{{Account: id}}})
	if err != nil || out[0].Err != nil {
		t.Fatal(out, err)
	}
	return info.Ref
}
