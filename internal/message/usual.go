package message

import (
	"encoding/binary"
	"math"
)

// Usual is a set of the fields that mail programs ask for to show a list: those of the
// outermost header are kept as they came, so that a list is made without opening
// messages. Its bits stand in what is stored: a change of the list below is a new
// codecVersion.
//
// Long fields that few ask for are not among them: traces, signatures and what
// filters say. Most of the others are rare, and a field that is not there costs
// nothing.
type Usual uint64

const usualDate = 1 // of the bits; zero is none

// usualOf is the bit of a field, whose name is in lower case; zero if it is not of the
// set.
func usualOf(low string) (bit uint8) {
	switch low {
	case "date":
		return usualDate
	case "from":
		return 2
	case "to":
		return 3
	case "cc":
		return 4
	case "bcc":
		return 5
	case "subject":
		return 6
	case "message-id":
		return 7
	case "in-reply-to":
		return 8
	case "references":
		return 9
	case "reply-to":
		return 10
	case "sender":
		return 11
	case "content-type":
		return 12
	case "content-transfer-encoding":
		return 13
	case "content-description":
		return 14
	case "content-class":
		return 15
	case "mime-version":
		return 16
	case "list-id":
		return 17
	case "list-post":
		return 18
	case "list-unsubscribe":
		return 19
	case "list-unsubscribe-post":
		return 20
	case "list-subscribe":
		return 21
	case "mailing-list":
		return 22
	case "x-mailing-list":
		return 23
	case "x-list":
		return 24
	case "x-loop":
		return 25
	case "x-beenthere":
		return 26
	case "originator":
		return 27
	case "priority":
		return 28
	case "x-priority":
		return 29
	case "importance":
		return 30
	case "sensitivity":
		return 31
	case "precedence":
		return 32
	case "auto-submitted":
		return 33
	case "newsgroups":
		return 34
	case "lines":
		return 35
	case "keywords":
		return 36
	case "x-label":
		return 37
	case "return-path":
		return 38
	case "delivered-to":
		return 39
	case "x-original-to":
		return 40
	case "mail-followup-to":
		return 41
	case "mail-reply-to":
		return 42
	case "disposition-notification-to":
		return 43
	case "user-agent":
		return 44
	case "x-mailer":
		return 45
	case "x-draft-info": // Roundcube
		return 46
	case "x-tuid": // mbsync
		return 47
	case "x-k9mail-identity":
		return 48
	case "x-evolution-source":
		return 49
	case "x-calendar-attachment": // Evolution
		return 50
	case "x-uniform-type-identifier": // Apple Mail, and the next
		return 51
	case "x-universally-unique-identifier":
		return 52
	case "chat-version": // Delta Chat, and the next
		return 53
	case "chat-is-post-message":
		return 54
	case "chat-disposition-notification-to":
		return 55
	case "autocrypt-setup-message":
		return 56
	case "x-microsoft-original-message-id":
		return 57
	}
	return 0
}

// maxUsual is how many bytes of usual fields are kept, so that a row stays small. If
// there are more, none are.
const maxUsual = 4 << 10

// longestUsual is the length of the longest name of the set.
const longestUsual = len("chat-disposition-notification-to")

// lower returns a name in lower case, in room; false if it is longer than those that
// are known.
func lower[T string | []byte](name T, room *[longestUsual]byte) ([]byte, bool) {
	if len(name) > len(room) {
		return nil, false
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		room[i] = c
	}
	return room[:len(name)], true
}

// UsualFields returns the set of the fields with these names, in any case, or false if
// not all of them are usual.
func UsualFields(names []string) (set Usual, ok bool) {
	var room [longestUsual]byte
	for _, n := range names {
		low, ok := lower(n, &room)
		if !ok {
			return 0, false
		}
		bit := usualOf(string(low))
		if bit == 0 {
			return 0, false
		}
		set |= 1 << bit
	}
	return set, true
}

// usual collects the usual fields of the outermost header. Of each it keeps its bit,
// its length and itself.
type usual struct {
	b    []byte
	none bool // they cannot be kept
	from int  // where in b the field at hand begins
	bit  uint8
}

func (u *usual) reset() { *u = usual{b: u.b[:0]} }

// begin begins a field.
func (u *usual) begin(bit uint8) { u.end(); u.bit, u.from = bit, len(u.b) }

// add appends a piece of the field at hand.
func (u *usual) add(piece []byte) {
	if u.bit == 0 || u.none {
		return
	}
	if len(u.b)+len(piece) > maxUsual {
		u.none = true
		return
	}
	u.b = append(u.b, piece...)
}

// end ends the field at hand: what stands for it goes before it. One whose line does
// not end, as the last of a message without a body may be, is given its end.
func (u *usual) end() {
	if u.bit == 0 || u.none {
		return
	}
	if n := len(u.b); n == u.from || u.b[n-1] != '\n' {
		u.b = append(u.b, '\r', '\n')
	}
	var room [binary.MaxVarintLen64 + 1]byte
	room[0] = u.bit
	head := binary.AppendUvarint(room[:1], uint64(len(u.b)-u.from))
	n := len(u.b)
	u.b = append(u.b, head...)
	copy(u.b[u.from+len(head):], u.b[u.from:n])
	copy(u.b[u.from:], head)
	u.bit = 0
}

// AppendUsual appends to to the fields of set, as they came and in their order, of the
// header that EncodeEnvelope wrote row of. It reports false if they are not kept, or row
// is not what EncodeEnvelope writes.
func AppendUsual(to, row []byte, set Usual) (_ []byte, ok bool) {
	if len(row) == 0 || row[0] != codecVersion {
		return to, false
	}
	kept, _, ok := cutUsual(row[1:])
	if !ok || len(kept) == 0 {
		return to, false
	}
	had := len(to)
	for len(kept) > 0 {
		bit := kept[0]
		n, size := binary.Uvarint(kept[1:])
		if size <= 0 || n > uint64(len(kept)-1-size) {
			return to[:had], false
		}
		field := kept[1+size:][:n]
		if bit < 64 && set&(1<<bit) != 0 {
			to = append(to, field...)
		}
		kept = kept[1+size+int(n):]
	}
	return to, true
}

// cutUsual returns the usual fields, with which a row begins, and the rest.
func cutUsual(b []byte) (kept, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > math.MaxInt32 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size:][:n], b[size+int(n):], true
}
