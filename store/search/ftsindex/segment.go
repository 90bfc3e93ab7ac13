package ftsindex

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// A segment is the header fields of some messages of a mailbox. Its UIDs are in order,
// each as the distance to the one before, doubled, plus one if the body is Long. Of each
// field there is a column: how many values, for each the distance to the message before
// it in the segment, doubled, plus one if the value is not kept, and then the values,
// each with a line feed.
//
// Segments are merged like the digits of a binary counter, so that a mailbox has few,
// and a message is written few times.
const (
	maxDocs  = 1024    // of a segment
	maxSize  = 1 << 20 // of a segment, about
	maxValue = 1 << 10 // bytes of a value that is kept
)

// doc is a message in a segment.
type doc struct {
	uid    store.UID
	long   bool
	fields []value
}

type value struct {
	name, text string
	cut        bool // the text is not kept
}

func newDoc(d *search.Doc) doc {
	out := doc{uid: d.UID, long: d.Long}
	for _, f := range d.Fields {
		if len(f.Text) > maxValue {
			out.fields = append(out.fields, value{name: f.Name, cut: true})
		} else {
			out.fields = append(out.fields, value{name: f.Name, text: f.Text})
		}
	}
	return out
}

var errWrong = errors.Join(sqldb.ErrDamaged, errors.New("ftsindex: a segment is not as it was written"))

// packed numbers a message: its distance from another and a mark.
func packed(distance int64, mark bool) uint64 {
	n := uint64(distance) << 1
	if mark {
		n |= 1
	}
	return n
}

// encode makes the parts of a segment; docs are in order of UID.
func encode(docs []doc) (uids []byte, columns map[string][]byte, size int) {
	type column struct {
		n          int
		last       int
		head, text []byte
	}
	open := map[string]*column{}
	last := int64(0)
	for i, d := range docs {
		uids = binary.AppendUvarint(uids, packed(int64(d.uid)-last, d.long))
		last = int64(d.uid)
		for _, v := range d.fields {
			c := open[v.name]
			if c == nil {
				c = new(column)
				open[v.name] = c
			}
			c.n++
			c.head = binary.AppendUvarint(c.head, packed(int64(i-c.last), v.cut))
			c.last = i
			c.text = append(append(c.text, v.text...), '\n')
		}
	}
	columns = make(map[string][]byte, len(open))
	for name, c := range open {
		b := binary.AppendUvarint(nil, uint64(c.n))
		columns[name] = append(append(b, c.head...), c.text...)
		size += len(columns[name])
	}
	return uids, columns, size
}

// decodeUIDs appends the messages of a segment to docs.
func decodeUIDs(docs []doc, b []byte) ([]doc, error) {
	for last := int64(0); len(b) > 0; {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, errWrong
		}
		b = b[k:]
		last += int64(n >> 1)
		docs = append(docs, doc{uid: store.UID(last), long: n&1 != 0})
	}
	return docs, nil
}

// column walks over one column: it calls fn for each value, in order of messages, until
// fn returns false.
func column(b []byte, docs int, fn func(at int, text []byte, cut bool) bool) error {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)) {
		return errWrong
	}
	head := b[k:]
	text := head
	for range n {
		_, k := binary.Uvarint(text)
		if k <= 0 {
			return errWrong
		}
		text = text[k:]
	}
	at := 0
	for range n {
		d, k := binary.Uvarint(head)
		head = head[k:]
		at += int(d >> 1)
		end := bytes.IndexByte(text, '\n')
		if end < 0 || at >= docs {
			return errWrong
		}
		if !fn(at, text[:end], d&1 != 0) {
			return nil
		}
		text = text[end+1:]
	}
	return nil
}

// matches calls fn for each value of a column that has a text, or that is not kept. Most
// values are passed over without looking at them one by one.
func matches(b []byte, docs int, what []byte, fn func(at int, cut bool)) error {
	if len(what) == 0 {
		return column(b, docs, func(at int, _ []byte, _ bool) bool { fn(at, false); return true })
	}
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)) {
		return errWrong
	}
	head := b[k:]
	text := head
	cuts := false
	for range n {
		d, k := binary.Uvarint(text)
		if k <= 0 {
			return errWrong
		}
		cuts = cuts || d&1 != 0
		text = text[k:]
	}
	if cuts {
		return column(b, docs, func(at int, text []byte, cut bool) bool {
			if cut || bytes.Contains(text, what) {
				fn(at, cut)
			}
			return true
		})
	}
	at, done := 0, 0 // the message of the done-th value
	for line := 0; ; line++ {
		i := bytes.Index(text, what)
		if i < 0 {
			return nil
		}
		line += bytes.Count(text[:i], newline)
		for ; done <= line; done++ {
			d, k := binary.Uvarint(head)
			if k <= 0 || done >= int(n) {
				return errWrong
			}
			head = head[k:]
			at += int(d >> 1)
		}
		if at >= docs {
			return errWrong
		}
		fn(at, false)
		end := bytes.IndexByte(text[i:], '\n')
		if end < 0 {
			return errWrong
		}
		text = text[i+end+1:]
	}
}

var newline = []byte{'\n'}

// stored is a segment in the file.
type stored struct {
	id               int64
	docs, size, gone int
	uids             []byte
}

// segments returns those of a mailbox, in the order in which they were made.
func segments(c sqldb.Conn, box store.MailboxID) (out []stored, err error) {
	err = c.Query(`SELECT id, docs, size, gone, uids FROM segment WHERE box = ? ORDER BY id`, func(r sqldb.Row) error {
		out = append(out, stored{r.Int(0), int(r.Int(1)), int(r.Int(2)), int(r.Int(3)), r.Bytes(4)})
		return nil
	}, int64(box))
	return out, err
}

// read returns the messages of a segment that have not gone.
func (s *stored) read(c sqldb.Conn) ([]doc, error) {
	docs, err := decodeUIDs(nil, s.uids)
	if err != nil {
		return nil, err
	}
	err = c.Query(`SELECT name, data FROM field WHERE segment = ?`, func(r sqldb.Row) error {
		name := r.Text(0)
		return column(r.Bytes(1), len(docs), func(at int, text []byte, cut bool) bool {
			docs[at].fields = append(docs[at].fields, value{name, string(text), cut})
			return true
		})
	}, s.id)
	if err != nil || s.gone == 0 {
		return docs, err
	}
	gone := map[store.UID]bool{}
	err = c.Query(`SELECT uid FROM gone WHERE segment = ?`, func(r sqldb.Row) error {
		gone[store.UID(r.Int(0))] = true
		return nil
	}, s.id)
	return slices.DeleteFunc(docs, func(d doc) bool { return gone[d.uid] }), err
}

// drop removes a segment.
func (s *stored) drop(c sqldb.Conn) error {
	return errors.Join(
		c.Exec(`DELETE FROM segment WHERE id = ?`, s.id),
		c.Exec(`DELETE FROM field WHERE segment = ?`, s.id),
		c.Exec(`DELETE FROM gone WHERE segment = ?`, s.id))
}

// write makes a segment of docs, if there are any.
func write(c sqldb.Conn, box store.MailboxID, docs []doc) (s stored, err error) {
	if len(docs) == 0 {
		return s, nil
	}
	slices.SortFunc(docs, func(a, b doc) int { return int(int64(a.uid) - int64(b.uid)) })
	uids, columns, size := encode(docs)
	s = stored{docs: len(docs), size: size, uids: uids}
	err = c.Query(`INSERT INTO segment (box, docs, size, gone, uids) VALUES (?, ?, ?, 0, ?) RETURNING id`, func(r sqldb.Row) error {
		s.id = r.Int(0)
		return nil
	}, int64(box), s.docs, s.size, uids)
	if err != nil {
		return s, err
	}
	for name, data := range columns {
		if err := c.Exec(`INSERT INTO field (segment, name, data) VALUES (?, ?, ?)`, s.id, name, data); err != nil {
			return s, err
		}
	}
	return s, nil
}
