package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// patience is how long a machine may be busy with other things.
const patience = 2 * time.Minute

// A stopping backend is that of a process which stops before a commit, with all its
// locks, until it may go on.
type stopping struct {
	*sqlstore.Backend
	there, goOn chan struct{}
}

func (b *stopping) Update(ctx context.Context, fn func(store.Tx) error) error {
	return b.UpdateAfter(ctx, nil, fn)
}

func (b *stopping) UpdateAfter(ctx context.Context, wait func() error, fn func(store.Tx) error) error {
	first := true
	return b.Backend.UpdateAfter(ctx, wait, func(tx store.Tx) error {
		err := fn(tx)
		if first {
			first = false
			b.there <- struct{}{}
			<-b.goOn
		}
		return err
	})
}

// A scene is what two processes find: an account with three messages in INBOX and
// a mailbox A.
type scene struct {
	id       store.AccountID
	inbox, a store.MailboxID
	blob     blob.Info
}

func (sc *scene) delivery(key, name string) store.Delivery {
	return store.Delivery{Key: key, Blob: sc.blob, Targets: []store.Target{{Account: sc.id, Mailbox: name}}}
}

// A deed is one thing that a process does.
type deed struct {
	name string
	do   func(context.Context, *store.Store, *scene) error
}

func filed(out []store.Outcome, err error) error {
	if err == nil {
		err = out[0].Err
	}
	return err
}

var deeds = []deed{
	{"deliver to INBOX", func(ctx context.Context, s *store.Store, sc *scene) error {
		return filed(s.Deliver(ctx, sc.delivery("", "INBOX")))
	}},
	{"deliver to A", func(ctx context.Context, s *store.Store, sc *scene) error {
		return filed(s.Deliver(ctx, sc.delivery("", "A")))
	}},
	{"deliver once", func(ctx context.Context, s *store.Store, sc *scene) error {
		return filed(s.Deliver(ctx, sc.delivery("once"+string(sc.id), "INBOX")))
	}},
	{"make B", func(ctx context.Context, s *store.Store, sc *scene) error {
		_, err := s.As(sc.id).Create(ctx, "B", "")
		return err
	}},
	{"rename A to B", func(ctx context.Context, s *store.Store, sc *scene) error {
		return s.As(sc.id).Rename(ctx, sc.a, "B")
	}},
	{"rename INBOX", func(ctx context.Context, s *store.Store, sc *scene) error {
		return s.As(sc.id).Rename(ctx, sc.inbox, "Old")
	}},
	{"delete A", func(ctx context.Context, s *store.Store, sc *scene) error {
		return s.As(sc.id).Delete(ctx, sc.a)
	}},
	{"move to A", func(ctx context.Context, s *store.Store, sc *scene) error {
		_, err := s.As(sc.id).Move(ctx, sc.inbox, sc.a, 1, 2)
		return err
	}},
	{"copy to A", func(ctx context.Context, s *store.Store, sc *scene) error {
		_, err := s.As(sc.id).Copy(ctx, sc.inbox, sc.a, 2, 3)
		return err
	}},
	{"expunge", func(ctx context.Context, s *store.Store, sc *scene) error {
		_, err := s.As(sc.id).Expunge(ctx, sc.inbox, 1, 3)
		return err
	}},
	{"flag", func(ctx context.Context, s *store.Store, sc *scene) error {
		_, _, err := s.As(sc.id).SetFlags(ctx, sc.inbox, store.FlagChange{Add: []string{store.FlagSeen, "word"}}, 1, 2, 3)
		return err
	}},
	{"delete the account", func(ctx context.Context, s *store.Store, sc *scene) error {
		_, err := s.DeleteAccount(ctx, sc.id, 2)
		return err
	}},
	{"forget", func(ctx context.Context, s *store.Store, sc *scene) error {
		return s.Forget(ctx, sc.id, 1000)
	}},
	{"expire", func(ctx context.Context, s *store.Store, sc *scene) error {
		_, err := s.Expire(ctx, 100)
		return err
	}},
}

// legal are the errors that a deed may have because of another one before.
func legal(err error) bool {
	return err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrOverQuota)
}

// reader is what a client knows of an account from its changes.
type reader struct {
	at    store.ModSeq
	boxes map[store.MailboxID]store.Mailbox
	mail  map[string]store.Message
}

// read follows up to the present.
func (r *reader) read(t *testing.T, s *store.Store, id store.AccountID) error {
	t.Helper()
	if r.boxes == nil {
		r.boxes, r.mail = map[store.MailboxID]store.Mailbox{}, map[string]store.Message{}
	}
	var now store.ModSeq
	err := s.Backend.View(t.Context(), func(tx store.Tx) error {
		accs, err := tx.Accounts(id)
		if err == nil {
			now = accs[0].ModSeq
		}
		return err
	})
	if err != nil || now <= r.at {
		return err
	}
	for c, err := range s.Follow(t.Context(), id, r.at) {
		if err != nil {
			return err
		}
		if c.ModSeq <= r.at {
			t.Errorf("change %d after %d", c.ModSeq, r.at)
		}
		r.at = c.ModSeq
		for _, mb := range c.Mailboxes {
			if r.boxes[mb.ID] = mb; mb.Deleted {
				delete(r.boxes, mb.ID)
			}
		}
		for _, m := range c.Messages {
			place := fmt.Sprint(m.Mailbox, "/", m.UID)
			if r.mail[place] = m; m.Expunged {
				delete(r.mail, place)
			}
		}
		if c.ModSeq >= now {
			break
		}
	}
	return nil
}

// Two processes do two things to one account: the one stops just before its commit,
// and the other goes on until it has to wait, or is done. Whatever the two are, rows
// and counters agree afterwards, no UID is given twice, who follows the account has
// seen all that there is, and nobody saw the change before the commit.
func TestTwoProcessesInterleavePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	conn := c.Schema(t)
	one := &stopping{open(t, openPG(t, conn, pgdb.Options{})), make(chan struct{}), make(chan struct{})}
	db := openPG(t, conn, pgdb.Options{})
	two := open(t, db)
	blobs := &memblob.Store{}
	content := write(t, blobs)
	keep := func(b store.Backend) *store.Store {
		// Room for four messages of this size.
		limit := func(context.Context, store.AccountID) (mailkeel.Quota, error) {
			return mailkeel.Quota{Bytes: 4 * content.Size}, nil
		}
		return &store.Store{Backend: b, Blobs: blobs, Keep: time.Hour, Limit: limit}
	}
	plain := keep(two)
	n := 0
	for i, first := range deeds {
		for j, second := range deeds {
			// One order of each two; the other one in the long run.
			if os.Getenv("MAILKEEL_LONG") == "" && i != j && (i < j) != ((i+j)%2 == 0) {
				continue
			}
			t.Run(first.name+", "+second.name, func(t *testing.T) {
				n++
				sc := &scene{id: store.AccountID(fmt.Sprint("a", n)), blob: content}
				prepare(t, plain, sc)
				client := &reader{}
				if err := client.read(t, plain, sc.id); err != nil {
					t.Fatal(err)
				}
				before := client.at

				ends := [2]chan error{make(chan error, 1), make(chan error, 1)}
				go func() { ends[0] <- first.do(context.Background(), keep(one), sc) }()
				<-one.there
				go func() { ends[1] <- second.do(context.Background(), plain, sc) }()
				var errs [2]error
				if second.waits(t, db, ends[1], &errs[1]) {
					if err := client.read(t, plain, sc.id); err != nil || client.at != before {
						t.Errorf("%v; a client sees change %d before its commit", err, client.at)
					}
					one.goOn <- struct{}{}
					errs[0] = <-ends[0]
					if err := client.read(t, plain, sc.id); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrHorizon) {
						t.Error(err)
					}
					errs[1] = <-ends[1]
				} else {
					one.goOn <- struct{}{}
					errs[0] = <-ends[0]
				}
				for _, err := range errs {
					if !legal(err) {
						t.Error(err)
					}
				}
				judge(t, plain, sc, client)
			})
		}
	}
}

// waits reports whether a transaction waits for another, and not that it has ended.
func (d *deed) waits(t *testing.T, db sqldb.DB, end chan error, err *error) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		select {
		case *err = <-end:
			return false
		default:
		}
		n := int64(0)
		verr := db.View(t.Context(), func(c sqldb.Conn) error {
			// Not those who wait for their turn to NOTIFY.
			return c.Query(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple', 'advisory')`, func(r sqldb.Row) error {
				n = r.Int(0)
				return nil
			})
		})
		if verr != nil {
			t.Fatal(verr)
		}
		if n > 0 {
			return true
		}
	}
	t.Fatal(d.name, "neither ends nor waits")
	return false
}

func write(t *testing.T, blobs blob.Store) blob.Info {
	t.Helper()
	w, err := blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte("Subject: x\r\n\r\nbody\r\n")); err != nil {
		t.Fatal(err)
	}
	i, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func prepare(t *testing.T, s *store.Store, sc *scene) {
	t.Helper()
	for range 3 {
		out, err := s.Deliver(t.Context(), sc.delivery("", "INBOX"))
		if err := filed(out, err); err != nil {
			t.Fatal(err)
		}
		sc.inbox = out[0].Mailbox
	}
	mb, err := s.As(sc.id).Create(t.Context(), "A", "")
	if err != nil {
		t.Fatal(err)
	}
	sc.a = mb.ID
}

// judge compares what there is with itself, and with what a client knows.
func judge(t *testing.T, s *store.Store, sc *scene, client *reader) {
	t.Helper()
	_, err := s.Check(t.Context(), store.CheckOptions{
		Skip:  func(id store.AccountID) bool { return id != sc.id },
		Found: func(f store.Finding) error { t.Errorf("%+v", f); return nil },
	})
	if err != nil {
		t.Error(err)
	}
	err = client.read(t, s, sc.id)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrHorizon) {
		return // deleted, or told to start over
	}
	if err != nil {
		t.Error(err)
		return
	}
	fresh := &reader{}
	if err := fresh.read(t, s, sc.id); err != nil {
		t.Error(err)
		return
	}
	if len(fresh.boxes) != len(client.boxes) || len(fresh.mail) != len(client.mail) {
		t.Errorf("%d mailboxes with %d messages, and a client knows %d with %d", len(fresh.boxes), len(fresh.mail), len(client.boxes), len(client.mail))
	}
	names, bytes := map[string]bool{}, int64(0)
	for id, mb := range fresh.boxes {
		if names[mb.Name] {
			t.Errorf("two mailboxes %s", mb.Name)
		}
		names[mb.Name] = true
		if client.boxes[id] != mb {
			t.Errorf("mailbox %+v, and a client knows %+v", mb, client.boxes[id])
		}
	}
	for place, m := range fresh.mail {
		if bytes += m.Size; fresh.boxes[m.Mailbox].UIDNext <= m.UID {
			t.Errorf("UID %d in %+v", m.UID, fresh.boxes[m.Mailbox])
		}
		if got := client.mail[place]; got.ModSeq != m.ModSeq || got.ID != m.ID || !slices.Equal(got.Flags, m.Flags) {
			t.Errorf("message %+v, and a client knows %+v", m, got)
		}
	}
	if bytes > 4*sc.blob.Size {
		t.Errorf("%d bytes, and %d are allowed", bytes, 4*sc.blob.Size)
	}
}

// A crash of the server gives the numbers again that a transaction had taken which it
// interrupted. No two messages may get one ID from that.
func TestServerCrashGivesNoIDTwicePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{Settings: map[string]string{"wal_writer_delay": "10s"}})
	conn := c.Schema(t)
	one, two := open(t, openPG(t, conn, pgdb.Options{})), open(t, openPG(t, conn, pgdb.Options{}))
	ids := map[store.MessageID]bool{}
	put := func(b *sqlstore.Backend, id store.AccountID, before func()) error {
		ms := make([]store.Message, 3)
		err := b.Update(t.Context(), func(tx store.Tx) error {
			if _, err := tx.Accounts(id); err != nil {
				return err
			}
			mb := store.Mailbox{Account: id, Name: "x"}
			if err := tx.PutMailbox(&mb); err != nil {
				return err
			}
			for i := range ms {
				ms[i] = store.Message{Account: id, Mailbox: mb.ID, UID: store.UID(i + 1)}
			}
			err := tx.PutMessages(ms)
			before()
			return err
		})
		if err != nil {
			return err
		}
		for _, m := range ms {
			if ids[m.ID] {
				t.Errorf("two messages have ID %d", m.ID)
			}
			ids[m.ID] = true
		}
		return nil
	}
	crash := func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}
	if put(one, "ann", crash) == nil {
		t.Fatal("an Update without a server")
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	for i, b := range []*sqlstore.Backend{one, two, one, two} {
		if err := put(b, store.AccountID(fmt.Sprint("a", i)), func() {}); err != nil {
			t.Error(err)
		}
	}
}
