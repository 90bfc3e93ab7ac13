package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

var readTests = []test{
	{"ReadIsScanAndCold", testRead},
	{"ReadStopsWhenColdRowsAreLarge", testReadRoom},
	{"ReadIsForThoseWhoMayAndTellsDamage", testReadRights},
	{"AppendAtIsOpenAt", testAppendAt},
}

// letters files n messages for each account in turn, so that the IDs of each lie apart.
func (b *bench) letters(n, preview int, to ...store.AccountID) (box store.MailboxID) {
	b.Helper()
	for i := range n {
		for _, a := range to {
			text := fmt.Sprintf("Subject: %d for %s\r\n\r\ntext\r\n", i, a)
			info := b.blob(text)
			c, err := b.Parse(b.Context(), info)
			b.must(err)
			c.Preview = bytes.Repeat([]byte("p"), preview)
			d := store.Delivery{Key: fmt.Sprintf("%s.%d", a, i), Blob: info, Cold: c,
				Targets: []store.Target{{Account: a, Prefix: fmt.Appendf(nil, "Delivered-To: %s\r\n", a)}}}
			if p := b.place(d)[0]; a == to[0] {
				box = p.Mailbox
			}
		}
	}
	return box
}

func testRead(b *bench) {
	for _, tt := range []struct {
		name string
		to   []store.AccountID
	}{
		{"Neighbours", []store.AccountID{"ann"}},
		{"Far", []store.AccountID{"bob", "c", "d", "e", "f"}},
	} {
		ann := b.As(tt.to[0])
		box := b.letters(150, 10, tt.to...)
		_, err := ann.Expunge(b.Context(), box, 3, 4, 70)
		b.must(err)
		// Copies have IDs that are not in the order of UIDs.
		_, err = ann.Copy(b.Context(), box, box, 100, 7)
		b.must(err)
		var uids []store.UID
		for u := store.UID(1); u < 160; u++ {
			if u < 20 || u > 90 {
				uids = append(uids, u)
			}
		}
		_, ms := b.scan(ann, box, store.Query{})
		ms = slices.DeleteFunc(ms, func(m store.Message) bool { return !slices.Contains(uids, m.UID) })
		var rows, hots store.Rows
		done, err := ann.Read(b.Context(), box, uids, 1<<20, &rows)
		b.must(err)
		got := rows.Messages
		if done != len(uids) || len(got) != len(ms) {
			b.Fatalf("%s: %d of %d UIDs, %d messages, not %d", tt.name, done, len(uids), len(got), len(ms))
		}
		_, err = ann.Read(b.Context(), box, uids, 0, &hots)
		b.must(err)
		hot := hots.Messages
		for i, m := range ms {
			cold, err := ann.Cold(b.Context(), box, m.ID)
			b.must(err)
			want := fmt.Sprintf("%+v", m)
			if p := got[i]; fmt.Sprintf("%+v", p.Message) != want || fmt.Sprint(p.Cold) != fmt.Sprint(cold[m.ID]) || p.Err != nil || len(p.Cold.Envelope) == 0 {
				b.Fatalf("%s: got %+v, want %s and %+v", tt.name, p, want, cold[m.ID])
			}
			if fmt.Sprintf("%+v", hot[i].Message) != want || hot[i].Cold.ID != 0 {
				b.Fatalf("%s: without cold rows %+v", tt.name, hot[i])
			}
		}
		if done, err := ann.Read(b.Context(), box, uids[:1], 1<<20, &rows); err != nil || done != 1 || len(rows.Messages) != 1 || rows.Messages[0].UID != uids[0] {
			b.Errorf("%s: in used memory: %d, %+v, %v", tt.name, done, rows.Messages, err)
		}
		if done, err := ann.Read(b.Context(), box, []store.UID{3, 4, 999}, 1<<20, &rows); err != nil || done != 3 || len(rows.Messages) != 0 {
			b.Errorf("%s: of what has gone: %d, %+v, %v", tt.name, done, rows.Messages, err)
		}
	}
}

func testReadRoom(b *bench) {
	const size, room = 10_000, 50_000
	box := b.letters(100, size, "ann")
	var uids []store.UID
	for u := range store.UID(100) {
		uids = append(uids, u+1)
	}
	var rows store.Rows
	calls, seen := 0, 0
	for rest := uids; len(rest) > 0; calls++ {
		done, err := b.As("ann").Read(b.Context(), box, rest, room, &rows)
		b.must(err)
		out := rows.Messages
		// How large they are is not known at first.
		if done == 0 || len(out) != done || len(out)*size > max(2*room, 32*(size+1000)) {
			b.Fatalf("%d UIDs, %d messages", done, len(out))
		}
		for i, p := range out {
			if p.Err != nil || p.UID != rest[i] || len(p.Cold.Preview) != size {
				b.Fatalf("UID %d: %+v", rest[i], p.Err)
			}
		}
		seen += len(out)
		rest = rest[done:]
	}
	if seen != 100 || calls < 3 {
		b.Errorf("%d messages in %d calls", seen, calls)
	}
}

func testReadRights(b *bench) {
	b.raw = true // of the damage
	box := b.letters(3, 10, "ann")
	var rows store.Rows
	_, err := b.As("bob").Read(b.Context(), box, []store.UID{1}, 1, &rows)
	b.is(err, store.ErrNotFound, "another's mailbox")
	b.must(b.As("ann").Grant(b.Context(), box, "bob", "l"))
	_, err = b.As("bob").Read(b.Context(), box, []store.UID{1}, 1, &rows)
	b.is(err, store.ErrDenied, "a mailbox that one may not read")
	b.must(b.As("ann").Grant(b.Context(), box, "bob", "lrs"))
	b.see("bob", box, 2)
	_, err = b.As("bob").Read(b.Context(), box, []store.UID{1, 2, 3}, 1<<20, &rows)
	b.must(err)
	out := rows.Messages
	for _, p := range out {
		if seen := slices.Contains(p.Flags, store.FlagSeen); seen != (p.UID == 2) || p.Err != nil {
			b.Errorf("UID %d: seen %v, %v", p.UID, seen, p.Err)
		}
	}
	// The rows of one do not belong together.
	cold := out[1].Cold
	cold.Preview = []byte("another")
	b.must(b.Backend.Update(b.Context(), func(tx store.Tx) error {
		if _, err := tx.Accounts("ann"); err != nil {
			return err
		}
		return tx.PutCold([]store.Cold{cold})
	}))
	b.ColdCache = -1     // as for who has not read them
	var again store.Rows // what was put is not to change
	done, err := b.As("ann").Read(b.Context(), box, []store.UID{1, 2, 3}, 1<<20, &again)
	b.must(err)
	out = again.Messages
	if done != 3 || len(out) != 3 || out[0].Err != nil || out[2].Err != nil || !errors.Is(out[1].Err, store.ErrDamaged) {
		b.Errorf("%d: %+v", done, out)
	}
	_, err = b.As("ann").AppendAt(b.Context(), nil, &out[1].Message, &out[1].Cold, 0, 5)
	b.is(err, store.ErrDamaged, "a damaged message")
}

func testAppendAt(b *bench) {
	box := b.letters(1, 10, "ann")
	ann := b.As("ann")
	var rows store.Rows
	_, err := ann.Read(b.Context(), box, []store.UID{1}, 1<<20, &rows)
	b.must(err)
	p := rows.Messages[0]
	for off := int64(0); off <= p.Size+1; off++ {
		for n := int64(0); n <= p.Size-off+2; n++ {
			rc, err := ann.OpenAt(b.Context(), p.Message, p.Cold, off, n)
			b.must(err)
			want, err := io.ReadAll(rc)
			b.must(errors.Join(err, rc.Close()))
			// All at once, for those who write it from where it lies.
			rc, err = ann.OpenAt(b.Context(), p.Message, p.Cold, off, n)
			b.must(err)
			var all bytes.Buffer
			_, err = io.Copy(&all, rc)
			b.must(errors.Join(err, rc.Close()))
			got, err := ann.AppendAt(b.Context(), []byte("x"), &p.Message, &p.Cold, off, n)
			b.must(err)
			if string(got) != "x"+string(want) || all.String() != string(want) {
				b.Fatalf("%d bytes from %d: %q, %q and %q", n, off, got, all.String(), want)
			}
		}
	}
	_, err = ann.AppendAt(b.Context(), nil, &p.Message, &p.Cold, -1, 1)
	b.is(err, store.ErrInvalid, "a negative offset")
	_, err = ann.AppendAt(b.Context(), nil, &p.Message, &store.Cold{}, 0, 1)
	b.is(err, store.ErrDamaged, "another's cold row")
	m := p.Message
	m.Blob, m.Size = "sha256-"+blob.Ref(strings.Repeat("0", 64)), p.Size
	_, err = ann.AppendAt(b.Context(), nil, &m, &store.Cold{ID: m.ID}, 0, 1)
	b.is(err, blob.ErrNotFound, "content that is not there")
}
