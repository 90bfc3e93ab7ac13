package sqlqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob"
)

// A row is an item as it is stored.
type row struct {
	id, route string
	next, due int64
	until     int64
	leased    int64 // zero for none
	held      bool
	attempts  int
	delayed   bool
	last      string
	ref       blob.Ref
	body      []byte
	queued    int64 // not a column: it is in body
	known     bool  // it is in the queue already, or ended too recently, and was not written
}

func (r *row) lease(number int64, until time.Time) {
	r.leased, r.until, r.attempts = number, micro(until), r.attempts+1
	r.next = max(r.due, r.until)
}

// encodeAll is called before a transaction, where it holds nobody up.
func encodeAll(items []queue.Item) []row {
	rows := make([]row, len(items))
	for i := range items {
		it := &items[i]
		rows[i] = row{
			id: it.ID, route: it.Route, next: micro(it.Due), due: micro(it.Due), held: it.Held, attempts: it.Attempts,
			delayed: it.DelayNotified, last: it.Last, ref: it.Blob.Ref, body: encode(it), queued: micro(it.Queued),
		}
	}
	return rows
}

// version is the first byte of a body. A reader knows all versions up to its own.
//
// Version 1 holds, in this order: queued, expires; the size of the content; the
// prefix; of the envelope: id, from, flags, ret, envid, not-before, submitter; the
// number of recipients and of each: address, given, orcpt, notify, account, index,
// mailbox, flags, via; and the origin, if the flags say so: address, hello,
// identity, time. Times and numbers are signed varints, strings have their length
// in front. The last 4 bytes are the CRC-32C of all before.
const version = 1

const (
	envUTF8 = 1 << iota
	envEightBit
	envRequireTLS
	envOrigin
	envOriginTLS
)

// A writer appends fields to itself.
type writer []byte

func (w *writer) num(n int64)      { *w = binary.AppendVarint(*w, n) }
func (w *writer) time(t time.Time) { w.num(micro(t)) }
func (w *writer) bytes(b []byte)   { w.num(int64(len(b))); *w = append(*w, b...) }
func (w *writer) text(s string)    { w.num(int64(len(s))); *w = append(*w, s...) }
func bit(on bool, b int64) (n int64) {
	if on {
		n = b
	}
	return n
}

func encode(it *queue.Item) []byte {
	e := &it.Envelope
	w := make(writer, 1, 256+len(it.Prefix))
	w[0] = version
	w.time(it.Queued)
	w.time(it.Expires)
	w.num(it.Blob.Size)
	w.bytes(it.Prefix)
	w.text(e.ID)
	w.text(e.From)
	flags := bit(e.UTF8, envUTF8) | bit(e.EightBit, envEightBit) | bit(e.RequireTLS, envRequireTLS)
	if e.Origin != nil {
		flags |= envOrigin | bit(e.Origin.TLS, envOriginTLS)
	}
	w.num(flags)
	w.text(e.Return)
	w.text(e.EnvelopeID)
	w.time(e.NotBefore)
	w.text(string(e.Submitter))
	w.num(int64(len(e.Rcpts)))
	for i := range e.Rcpts {
		r := &e.Rcpts[i]
		w.text(r.Addr)
		w.text(r.Given)
		w.text(r.Orcpt)
		w.num(int64(r.Notify))
		w.text(string(r.Account))
		w.num(int64(r.Index))
		w.text(r.Mailbox)
		w.num(bit(r.Junk, 1))
		w.text(r.Via)
	}
	if o := e.Origin; o != nil {
		addr, _ := o.Addr.MarshalBinary() // never fails
		w.bytes(addr)
		w.text(o.Hello)
		w.text(string(o.Identity))
		w.time(o.Time)
	}
	return w.sum()
}

func (w writer) sum() []byte {
	return binary.LittleEndian.AppendUint32(w, crc32.Checksum(w, castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("sqlqueue: damaged item")

// A reader takes fields off its front. After the first error it gives zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) num() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.b, r.err = nil, errDamaged
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.num()
	if n < 0 || n > int64(len(r.b)) {
		r.b, r.err = nil, errDamaged
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text() string    { return string(r.bytes()) }
func (r *reader) time() time.Time { return fromMicro(r.num()) }

// decode fills in what the body says.
func decode(body []byte, it *queue.Item) error {
	if len(body) < 5 {
		return errDamaged
	}
	if body[0] != version {
		return fmt.Errorf("%w: form %d is not known here", errDamaged, body[0])
	}
	end := len(body) - 4
	if crc32.Checksum(body[:end], castagnoli) != binary.LittleEndian.Uint32(body[end:]) {
		return fmt.Errorf("%w: wrong checksum", errDamaged)
	}
	r := &reader{b: body[1:end]}
	it.Queued, it.Expires = r.time(), r.time()
	it.Blob.Size = r.num()
	if it.Prefix = r.bytes(); len(it.Prefix) == 0 {
		it.Prefix = nil
	}
	e := &it.Envelope
	e.ID, e.From = r.text(), r.text()
	flags := r.num()
	e.UTF8, e.EightBit, e.RequireTLS = flags&envUTF8 != 0, flags&envEightBit != 0, flags&envRequireTLS != 0
	e.Return, e.EnvelopeID = r.text(), r.text()
	e.NotBefore = r.time()
	e.Submitter = mailkeel.AccountID(r.text())
	for n := r.num(); n > 0 && r.err == nil; n-- {
		e.Rcpts = append(e.Rcpts, mailkeel.Recipient{
			Addr: r.text(), Given: r.text(), Orcpt: r.text(), Notify: mailkeel.Notify(r.num()), Account: mailkeel.AccountID(r.text()),
			Index: int(r.num()), Mailbox: r.text(), Junk: r.num() != 0, Via: r.text(),
		})
	}
	if flags&envOrigin != 0 {
		o := &mailkeel.Origin{TLS: flags&envOriginTLS != 0}
		if err := o.Addr.UnmarshalBinary(r.bytes()); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		o.Hello, o.Identity, o.Time = r.text(), mailkeel.AccountID(r.text()), r.time()
		e.Origin = o
	}
	if len(r.b) > 0 {
		r.err = errDamaged
	}
	return r.err
}

const itemColumns = `n, id, route, due, held, attempts, delayed, last, blob, body`

// readItem reads an item whose body may be damaged: err is about the body only,
// and the item then holds what its columns say.
func readItem(r sqldb.Row) (n int64, it queue.Item, err error) {
	it = queue.Item{
		ID: r.Text(1), Route: r.Text(2), Due: fromMicro(r.Int(3)), Held: r.Int(4) != 0, Attempts: int(min(r.Int(5), math.MaxInt32)),
		DelayNotified: r.Int(6) != 0, Last: string(r.Bytes(7)),
	}
	columns := it
	if err = decode(r.Bytes(9), &it); err != nil {
		it = columns
	}
	it.Blob.Ref = blob.Ref(r.Bytes(8))
	return r.Int(0), it, err
}
