package sqlstore

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// flagBits are the flags that most messages have; their bit in the column flags
// is their place here, so this list only grows at its end. The spelling counts: a
// flag in another case is a word.
var flagBits = [...]string{
	`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`,
	"$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing", "$Important",
}

// packFlags returns the bits, and the other flags with a space between.
func packFlags(flags []string) (bits int64, words string, err error) {
	for _, f := range flags {
		if i := slices.Index(flagBits[:], f); i >= 0 {
			bits |= 1 << i
			continue
		}
		if f == "" || strings.ContainsAny(f, " \x00") {
			return 0, "", fmt.Errorf("sqlstore: %q is no flag", f)
		}
		if words != "" {
			words += " "
		}
		words += f
	}
	return bits, words, nil
}

type flagSet struct {
	bits  int64
	words string
}

// unpackFlags returns the flags in order.
func unpackFlags(s flagSet) (flags []string) {
	for i, f := range flagBits {
		if s.bits&(1<<i) != 0 {
			flags = append(flags, f)
		}
	}
	if s.words != "" {
		flags = append(flags, strings.Split(s.words, " ")...)
	}
	slices.Sort(flags)
	return flags
}

const refPrefix = "sha256-"

// packRef stores a name as the 32 bytes of its hash. A name of another form is
// stored as it is, with a NUL at its end if it could be mistaken.
func packRef(r blob.Ref) []byte {
	if s, ok := strings.CutPrefix(string(r), refPrefix); ok && len(s) == 64 {
		if b, err := hex.DecodeString(s); err == nil && hex.EncodeToString(b) == s {
			return b
		}
	}
	if len(r) == 32 {
		return append([]byte(r), 0)
	}
	return []byte(r)
}

func unpackRef(b []byte) blob.Ref {
	switch {
	case len(b) == 32:
		var text [len(refPrefix) + 64]byte
		copy(text[:], refPrefix)
		hex.Encode(text[len(refPrefix):], b)
		return blob.Ref(text[:])
	case len(b) == 33 && b[32] == 0:
		return blob.Ref(b[:32])
	}
	return blob.Ref(b)
}

func unpackTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

const (
	live    = 0
	dead    = 1
	deadFor = 2 // it lives on in another mailbox
)

func packDead(m *store.Message) int64 {
	switch {
	case !m.Expunged:
		return live
	case !m.Moved:
		return dead
	}
	return deadFor
}

const messageColumns = `box, uid, id, thread, created, added, modseq, flags, words, received, saved, size, blob, dead, keep`

// A messageReader reads messages of one account. Most of them have the same few
// sets of flags, which it makes once.
type messageReader struct {
	account store.AccountID
	box     store.MailboxID // for brief and live
	flags   map[flagSet][]string

	last      flagSet
	lastFlags []string
	ref       []byte // of the row at hand
}

// maxSets bounds the sets of flags that a reader remembers.
const maxSets = 1000

// flagsOf returns a set as a list. Neighbours are often alike.
func (d *messageReader) flagsOf(set flagSet) []string {
	if d.flags != nil && set == d.last {
		return d.lastFlags
	}
	flags, ok := d.flags[set]
	if !ok {
		flags = unpackFlags(set)
		if d.flags == nil || len(d.flags) >= maxSets {
			d.flags = map[flagSet][]string{}
		}
		d.flags[set] = flags
	}
	d.last, d.lastFlags = set, flags
	return flags
}

// read returns a row as it is, without its mark.
func (d *messageReader) read(r sqldb.Row) store.Message {
	set := flagSet{r.Int(7), r.Text(8)}
	flags := d.flagsOf(set)
	d.ref = r.Append(d.ref[:0], 12)
	m := store.Message{
		Account: d.account, Mailbox: store.MailboxID(r.Int(0)), UID: store.UID(r.Int(1)),
		ID: store.MessageID(r.Int(2)), Thread: store.ThreadID(r.Int(3)), Created: store.ModSeq(r.Int(4)),
		Added: store.ModSeq(r.Int(5)), ModSeq: store.ModSeq(r.Int(6)), Flags: flags,
		Received: unpackTime(r.Int(9)), Saved: unpackTime(r.Int(10)), Size: r.Int(11), Blob: unpackRef(d.ref),
		Expunged: r.Int(13) != live, Moved: r.Int(13) == deadFor,
	}
	if ms := r.Int(14); ms != 0 {
		m.KeepUntil = unpackTime(ms)
	}
	return m
}

// liveColumns are those of messages of one mailbox that are there.
const liveColumns = `uid, id, thread, created, added, modseq, flags, words, received, saved, size, blob`

func (d *messageReader) live(r sqldb.Row) store.Message {
	flags := d.flagsOf(flagSet{r.Int(6), r.Text(7)})
	d.ref = r.Append(d.ref[:0], 11)
	return store.Message{
		Account: d.account, Mailbox: d.box, UID: store.UID(r.Int(0)),
		ID: store.MessageID(r.Int(1)), Thread: store.ThreadID(r.Int(2)), Created: store.ModSeq(r.Int(3)),
		Added: store.ModSeq(r.Int(4)), ModSeq: store.ModSeq(r.Int(5)), Flags: flags,
		Received: unpackTime(r.Int(8)), Saved: unpackTime(r.Int(9)), Size: r.Int(10), Blob: unpackRef(d.ref),
	}
}

const briefColumns = `uid, modseq, flags, words, dead`

// brief reads what Query.Brief asks for.
func (d *messageReader) brief(r sqldb.Row) store.Message {
	return store.Message{
		Account: d.account, Mailbox: d.box, UID: store.UID(r.Int(0)), ModSeq: store.ModSeq(r.Int(1)),
		Flags: d.flagsOf(flagSet{r.Int(2), r.Text(3)}), Expunged: r.Int(4) != live,
	}
}

// of returns the columns of a query and what reads them.
func (d *messageReader) of(q *store.Query) (columns string, read func(sqldb.Row) store.Message) {
	switch {
	case q.Brief:
		return briefColumns, d.brief
	case !q.Tombstones:
		return liveColumns, d.live
	}
	return messageColumns, d.read
}

const accountColumns = `num, modseq, horizon, uidvalidity, mailboxes, messages, bytes, deleted`

func readAccount(r sqldb.Row, id store.AccountID) *heldAccount {
	return &heldAccount{num: r.Int(0), row: store.Account{
		ID: id, ModSeq: store.ModSeq(r.Int(1)), Horizon: store.ModSeq(r.Int(2)), LastUIDValidity: uint32(r.Int(3)),
		Mailboxes: int(r.Int(4)), Messages: int(r.Int(5)), Bytes: r.Int(6), Deleted: r.Int(7) != 0,
	}}
}

const boxColumns = `b.id, a.id, b.name, b.role, b.uidvalidity, b.uidnext, b.created, b.modseq, b.subscribed, b.deleted, b.messages, b.unseen, b.marked, b.bytes, a.num`

// boxAccount is the column of the number of a mailbox's account.
const boxAccount = 14

func readBox(r sqldb.Row) store.Mailbox {
	return store.Mailbox{
		ID: store.MailboxID(r.Int(0)), Account: store.AccountID(r.Text(1)), Name: r.Text(2), Role: r.Text(3),
		UIDValidity: uint32(r.Int(4)), UIDNext: store.UID(r.Int(5)), Created: store.ModSeq(r.Int(6)), ModSeq: store.ModSeq(r.Int(7)),
		Subscribed: r.Int(8) != 0, Deleted: r.Int(9) != 0,
		Messages: int(r.Int(10)), Unseen: int(r.Int(11)), Marked: int(r.Int(12)), Bytes: r.Int(13),
	}
}

// seconds rounds up, so that nothing expires early.
func seconds(t time.Time) int64 { return t.Add(time.Second - 1).Unix() }
