package sqlstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// hostile is what PostgreSQL refuses in text: a NUL, and what is not UTF-8.
const hostile = "a\x00b\xff\xed\xa0\x80'\\"

// Mail with any bytes anywhere is filed, and comes back as it was.
func TestHostileBytesAreKeptPostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	conn := c.Schema(t)
	b := open(t, openPG(t, conn, pgdb.Options{}))
	ann := store.AccountID("ann" + hostile)
	at := time.UnixMilli(1_700_000_000_000).UTC()
	key := store.DeliveryKey{Key: hostile, Index: 1}
	thread := store.ThreadKey{0, 255, 0}
	box := store.Mailbox{Account: ann, Name: "box" + hostile, Role: hostile, UIDValidity: 1, UIDNext: 2}
	m := store.Message{Account: ann, UID: 1, ModSeq: 1, Created: 1, Added: 1, Flags: []string{"word\xff"}, Received: at, Saved: at, Blob: blob.Ref(hostile), Size: 3}
	cold := store.Cold{Account: ann, Prefix: []byte(hostile), Envelope: []byte(hostile), Structure: []byte(hostile), Preview: []byte(hostile)}
	o := store.Object{Account: ann, Kind: "kind" + hostile, ID: hostile, ModSeq: 1, Data: []byte(hostile), Blob: blob.Ref(hostile)}
	err := b.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Accounts(ann); err != nil {
			return err
		}
		mb := box
		if err := tx.PutMailbox(&mb); err != nil {
			return err
		}
		ms := []store.Message{m}
		ms[0].Mailbox = mb.ID
		if err := tx.PutMessages(ms); err != nil {
			return err
		}
		box.ID, m.ID, m.Thread, m.Mailbox, cold.ID = mb.ID, ms[0].ID, ms[0].Thread, mb.ID, ms[0].ID
		for _, err := range []error{
			tx.PutCold([]store.Cold{cold}), tx.PutObject(o), tx.PutThreads(ann, m.Thread, []store.ThreadKey{thread}, at),
			tx.PutPlaced(key, store.Placed{Account: ann, Mailbox: mb.ID, UID: 1, ID: m.ID}, at), tx.PutAccount(store.Account{ID: ann, ModSeq: 1}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = b.View(t.Context(), func(tx store.Tx) error {
		if got, err := tx.MailboxByName(ann, box.Name); err != nil || got != box {
			t.Errorf("mailbox %+v, %v", got, err)
		}
		if got, err := tx.MessageByID(ann, m.ID); err != nil || got.Account != ann || got.Blob != m.Blob || !slices.Equal(got.Flags, m.Flags) {
			t.Errorf("message %+v, %v", got, err)
		}
		n := 0
		for got, err := range tx.Cold(ann, m.ID) {
			if n++; err != nil || string(got.Preview) != hostile || string(got.Prefix) != hostile || string(got.Envelope) != hostile {
				t.Errorf("cold row %+v, %v", got, err)
			}
		}
		for got, err := range tx.Objects(ann, store.ObjectQuery{Kind: o.Kind, ID: o.ID}) {
			if n++; err != nil || got.Kind != o.Kind || got.ID != o.ID || string(got.Data) != hostile || got.Blob != o.Blob {
				t.Errorf("object %+v, %v", got, err)
			}
		}
		if n != 2 {
			t.Errorf("%d rows", n)
		}
		if got, ok, err := tx.Placed(key); err != nil || !ok || got.Account != ann {
			t.Errorf("placed %+v, %v, %v", got, ok, err)
		}
		free, err := tx.Unreferenced([]blob.Ref{m.Blob}, at)
		if err != nil || len(free) != 0 {
			t.Errorf("without a holder: %q, %v", free, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	kv, err := sqlstore.NewKV(t.Context(), openPG(t, conn, pgdb.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"", hostile} {
		err := kv.Update(t.Context(), hostile, time.Hour, func(old []byte) ([]byte, error) {
			if string(old) != want {
				t.Errorf("%q, not %q", old, want)
			}
			return []byte(hostile), nil
		})
		if err != nil {
			t.Error(err)
		}
	}

	// The same through the front door: the parser sees all of it.
	blobs := &memblob.Store{}
	w, err := blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := "From: " + hostile + " <x@y>\r\nSubject: =?utf-8?q?=00=ff?= " + hostile + "\r\nMessage-ID: <" + hostile + "@x>\r\n\r\n" + strings.Repeat(hostile+"\r\n", 50)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	s := &store.Store{Backend: b, Blobs: blobs}
	parsed, err := s.Parse(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{hostile, "INBOX"} { // of which the first cannot be
		deliver(t, s, store.Delivery{Key: hostile + name, Blob: info, Cold: parsed, Targets: []store.Target{{Account: ann, Mailbox: name, Create: true, Prefix: []byte(hostile)}}})
	}
	mb, err := s.As(ann).Folder(t.Context(), "INBOX")
	if err != nil || mb.Messages != 2 {
		t.Errorf("%+v, %v", mb, err)
	}
}
