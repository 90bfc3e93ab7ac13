package embedded

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqlvfs"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// people are those with an account.
var people = []string{"ann@x.test", "bob@x.test", "cy@x.test"}

// A rig is a whole server on a file system of a test: rows, contents and small
// files.
type rig struct {
	sql  *sqlvfs.VFS
	home *Home
	srv  *server.Server
	ids  []mailkeel.AccountID // of people

	stop  context.CancelFunc
	runs  sync.WaitGroup
	doors []io.Closer
}

// open opens what is there, or makes it.
func openRig(fsys vfs.FS, clock *testclock.Clock, rest mailkeel.Transport, log *slog.Logger) (r *rig, err error) {
	r = &rig{stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
			r = nil
		}
	}()
	if r.sql, err = sqlvfs.Register(fsys); err != nil {
		return r, err
	}
	ctx := context.Background()
	r.home, err = Open(ctx, "/mail", Options{
		Clock: clock, Logger: log, fs: fsys,
		db:    sqldb.Options{VFS: r.sql.Name(), Readers: 2, MaxLog: 256 << 10, Reserve: 64 << 10},
		packs: packblob.Options{SegmentSize: 64 << 10, LargeSize: 12 << 10, RewriteRate: -1},
	})
	if err != nil {
		return r, err
	}
	r.home.Keys.NoRSA = true // such a key takes longer to make than all else here
	c := server.Config{Hostname: "mx.x.test", Rest: rest, NoSTARTTLS: true, Mailboxes: []store.InitialMailbox{{Name: "Archive"}}}
	r.home.Fill(&c)
	c.Auth, c.InsecureAuth = r, true
	if r.srv, err = server.New(c); err != nil {
		return r, err
	}
	if err := r.home.Accounts.PutDomain(ctx, accounts.Domain{Name: "x.test"}); err != nil {
		return r, err
	}
	for _, p := range people {
		a, err := r.home.Accounts.Account(ctx, p)
		if errors.Is(err, accounts.ErrNoUser) {
			a, err = r.home.Accounts.CreateAccount(ctx, accounts.Account{Address: p}, "")
		}
		if err != nil {
			return r, err
		}
		r.ids = append(r.ids, a.ID)
	}
	return r, nil
}

// Authenticate lets everybody in: hashing takes long.
func (r *rig) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{Account: r.ids[slices.Index(people, a.Login)]}, nil
}

// run opens a door on the loopback and returns its address, for each part.
func (r *rig) run(parts ...interface {
	Serve(net.Listener) error
	Close() error
}) (addrs []string, err error) {
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.runs.Go(func() { r.srv.Queue.Run(ctx) })
	for _, p := range parts {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		r.doors = append(r.doors, p)
		r.runs.Go(func() { _ = p.Serve(ln) })
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}

func (r *rig) close() error {
	var errs []error
	for _, d := range r.doors {
		_ = d.Close()
	}
	r.stop()
	r.runs.Wait()
	if r.home != nil {
		errs = append(errs, r.home.Close())
	}
	if r.sql != nil {
		errs = append(errs, r.sql.Close())
	}
	return errors.Join(errs...)
}

// send delivers as a door does once it has the content.
func (r *rig) send(id, from, body string, rcpts ...mailkeel.Recipient) error {
	ctx := context.Background()
	w, err := r.home.Blobs.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.WriteString(w, body); err != nil {
		return err
	}
	info, err := w.Commit()
	if err != nil {
		return err
	}
	var errs []error
	env := &mailkeel.Envelope{ID: id, From: from, Rcpts: rcpts}
	for _, res := range mailkeel.Deliver(ctx, r.srv.MX.Next, env, spooled{r.home.Blobs, info}) {
		errs = append(errs, res.Err)
	}
	return errors.Join(errs...)
}

// local is a recipient with an account.
func (r *rig) local(who int) mailkeel.Recipient {
	return mailkeel.Recipient{Addr: people[who], Account: r.ids[who], Index: who}
}

// spooled is a Content in a blob.Store.
type spooled struct {
	blobs blob.Store
	info  blob.Info
}

func (s spooled) Size() int64 { return s.info.Size }
func (s spooled) Open(ctx context.Context) (io.ReadCloser, error) {
	return s.blobs.Open(ctx, s.info.Ref, 0, -1)
}
func (s spooled) Stored() (blob.Store, blob.Info, []byte) { return s.blobs, s.info, nil }

// A state is all that people can see of a server.
type state struct {
	accounts map[mailkeel.AccountID]store.Account
	boxes    map[store.MailboxID]box
	items    map[string]string // of the queue: from and to, by ID
}

type box struct {
	store.Mailbox
	msgs map[store.UID]msg
}

// A msg can be compared.
type msg struct {
	id     store.MessageID
	modseq store.ModSeq
	flags  string
	key    string // its subject, if it is one of ours
	about  string // the subject of the one that it is a report on
	sum    [32]byte
}

var (
	keys = regexp.MustCompile(`(?m)^Subject: (m-[0-9-]+)\r$`)
)

// look reads all, bytes too.
func (r *rig) look() (*state, error) {
	ctx := context.Background()
	s := &state{}
	type named struct {
		store.Message
		prefix []byte
	}
	var all []named
	err := r.home.Store.View(ctx, func(tx store.Tx) error {
		s.accounts, s.boxes, all = map[mailkeel.AccountID]store.Account{}, map[store.MailboxID]box{}, nil
		for _, id := range r.ids {
			as, err := tx.Accounts(id)
			if err != nil {
				return err
			}
			s.accounts[id] = as[0]
			prefixes := map[store.MessageID][]byte{}
			var ms []store.Message
			var ids []store.MessageID
			for mb, err := range tx.Mailboxes(id, store.Since{}) {
				if err != nil {
					return err
				}
				s.boxes[mb.ID] = box{mb, map[store.UID]msg{}}
			}
			for _, b := range s.boxes {
				if b.Account != id {
					continue
				}
				n := 0
				for m, err := range tx.Messages(b.ID, store.Query{}) {
					if err != nil {
						return err
					}
					n++
					ms, ids = append(ms, m), append(ids, m.ID)
				}
				if n != b.Messages {
					return fmt.Errorf("%s has %d messages and counts %d", b.Name, n, b.Messages)
				}
			}
			for c, err := range tx.Cold(id, ids...) {
				if err != nil {
					return err
				}
				prefixes[c.ID] = c.Prefix
			}
			for _, m := range ms {
				p, ok := prefixes[m.ID]
				if !ok {
					return fmt.Errorf("message %v has no cold row", m.ID)
				}
				all = append(all, named{m, p})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	texts := map[blob.Ref][]byte{}
	for _, m := range all {
		text, ok := texts[m.Blob]
		if !ok {
			if text, err = r.read(m.Blob); err != nil {
				return nil, fmt.Errorf("message %d in %d: %w", m.UID, m.Mailbox, err)
			}
			texts[m.Blob] = text
		}
		if int64(len(m.prefix)+len(text)) != m.Size {
			return nil, fmt.Errorf("message %d in %d has %d bytes, not %d", m.UID, m.Mailbox, len(m.prefix)+len(text), m.Size)
		}
		out := msg{id: m.ID, modseq: m.ModSeq, flags: strings.Join(m.Flags, " "), sum: sha256.Sum256(slices.Concat(m.prefix, text))}
		for _, at := range keys.FindAllSubmatchIndex(text, 1) {
			if key := string(text[at[2]:at[3]]); at[0] == 0 {
				out.key = key
			} else {
				out.about = key
			}
		}
		s.boxes[m.Mailbox].msgs[m.UID] = out
	}
	s.items = map[string]string{}
	for it, err := range r.home.Queue.List(ctx, queue.Query{}) {
		if err != nil {
			return nil, err
		}
		if _, ok := texts[it.Blob.Ref]; !ok {
			if _, err := r.read(it.Blob.Ref); err != nil {
				return nil, fmt.Errorf("queue item %s: %w", it.ID, err)
			}
		}
		s.items[it.ID] = it.Envelope.From + " > " + it.Envelope.Rcpts[0].Addr
	}
	return s, nil
}

// read reads a content and compares it with its name.
func (r *rig) read(ref blob.Ref) ([]byte, error) {
	rc, err := r.home.Blobs.Open(context.Background(), ref, 0, -1)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err == nil && string(ref) != fmt.Sprintf("sha256-%x", sha256.Sum256(b)) {
		err = fmt.Errorf("%s has other bytes", ref)
	}
	return b, err
}

// between says what is wrong with a state that is found while one becomes the other.
func (s *state) between(a, b *state) error {
	for id, acc := range a.accounts {
		if got := s.accounts[id]; got.ModSeq < acc.ModSeq || got.LastUIDValidity < acc.LastUIDValidity || got.ModSeq > b.accounts[id].ModSeq {
			return fmt.Errorf("account %s: %+v, was %+v, and becomes %+v", id, got, acc, b.accounts[id])
		}
	}
	for id, was := range a.boxes {
		got, ok := s.boxes[id]
		will, stays := b.boxes[id]
		if !ok {
			if stays {
				return fmt.Errorf("mailbox %s is gone", was.Name)
			}
			continue
		}
		switch {
		case got.UIDValidity != was.UIDValidity:
			return fmt.Errorf("%s: UIDVALIDITY %d, was %d", was.Name, got.UIDValidity, was.UIDValidity)
		case got.UIDNext < was.UIDNext, got.ModSeq < was.ModSeq:
			return fmt.Errorf("%s: UIDNEXT %d, MODSEQ %d, was %d, %d", was.Name, got.UIDNext, got.ModSeq, was.UIDNext, was.ModSeq)
		case stays && (got.UIDNext > will.UIDNext || got.ModSeq > will.ModSeq):
			return fmt.Errorf("%s: UIDNEXT %d, MODSEQ %d, and never more than %d, %d", was.Name, got.UIDNext, got.ModSeq, will.UIDNext, will.ModSeq)
		case got.Name != was.Name && got.Name != will.Name:
			return fmt.Errorf("%s is now called %s", was.Name, got.Name)
		}
		for uid, m := range was.msgs {
			_, there := got.msgs[uid]
			if _, stays := will.msgs[uid]; stays && !there {
				return fmt.Errorf("%s lost %d, %s", was.Name, uid, m.key)
			}
		}
	}
	for id, got := range s.boxes {
		was, old := a.boxes[id]
		will, ok := b.boxes[id]
		if !old && !ok {
			return fmt.Errorf("mailbox %s comes from nowhere", got.Name)
		}
		for uid, m := range got.msgs {
			if was.msgs[uid] != m && will.msgs[uid] != m {
				return fmt.Errorf("%s %d is %+v, was %+v, and becomes %+v", got.Name, uid, m, was.msgs[uid], will.msgs[uid])
			}
		}
	}
	for id, it := range a.items {
		if got, ok := s.items[id]; ok && got != it {
			return fmt.Errorf("queue item %s is for %s, was for %s", id, got, it)
		} else if _, stays := b.items[id]; !ok && stays {
			return fmt.Errorf("queue item %s is gone", id)
		}
	}
	return nil
}

// count is how often an account has a message, and how many reports on it.
func (s *state) count(id mailkeel.AccountID, key string) (copies, reports int) {
	for _, b := range s.boxes {
		if b.Account != id {
			continue
		}
		for _, m := range b.msgs {
			if m.key == key {
				copies++
			}
			if m.about == key {
				reports++
			}
		}
	}
	return copies, reports
}
