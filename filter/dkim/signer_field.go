package dkim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/header"
)

// oversigned are signed once more than they are there, so that none can be added: what
// a reader shows, and what says how to read it (RFC 6376, 5.4 and 8.15).
var oversigned = []string{"from", "to", "subject", "date", "mime-version", "content-type"}

// alsoSigned are signed if they are there. They leave out what hops add and change.
var alsoSigned = []string{
	"cc", "message-id", "content-transfer-encoding", "reply-to", "in-reply-to", "references",
	"list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive",
}

// maxNames bounds the names in a signature.
const maxNames = 500

// signedNames is the h tag: each name as often as it is signed.
func signedNames(h *header.Header) []string {
	count := map[string]int{}
	for f := range h.Fields() {
		count[strings.ToLower(f.Name())]++
	}
	var names []string
	add := func(name string, n int) {
		for range min(n, maxNames+1) {
			names = append(names, name)
		}
	}
	for _, name := range oversigned {
		add(name, count[name]+1)
	}
	for _, name := range alsoSigned {
		add(name, count[name])
	}
	return names
}

// relaxedFields is what is hashed of a header: the fields with these names, of several
// the last first, in relaxed form (RFC 6376, 3.4.2 and 5.4.2). A name without a field
// left is nothing.
func relaxedFields(h *header.Header, names []string) []byte {
	of := map[string][]header.Field{}
	for _, name := range names {
		of[name] = nil
	}
	for f := range h.Fields() {
		name := strings.ToLower(f.Name())
		if all, ok := of[name]; ok {
			of[name] = append(all, f)
		}
	}
	var b []byte
	for _, name := range names {
		if all := of[name]; len(all) > 0 {
			b = appendRelaxed(b, all[len(all)-1].Raw())
			b = append(b, '\r', '\n')
			of[name] = all[:len(all)-1]
		}
	}
	return b
}

// appendRelaxed appends a field in relaxed form, without a line end.
func appendRelaxed(b, raw []byte) []byte {
	name, value, _ := bytes.Cut(raw, []byte(":"))
	b = append(b, bytes.ToLower(bytes.TrimRight(name, " \t"))...)
	b = append(b, ':')
	begin, gap := len(b), false
	for _, c := range value {
		switch c {
		case '\r', '\n': // a fold; lineReader leaves no other
		case ' ', '\t':
			gap = true
		default:
			if gap && len(b) > begin {
				b = append(b, ' ')
			}
			gap = false
			b = append(b, c)
		}
	}
	return b
}

// signature returns a DKIM-Signature field. Signatures of one message do not cover each
// other.
func signature(k Key, now time.Time, names []string, fields, bodyHash []byte) ([]byte, error) {
	var f folder
	f.text("DKIM-Signature:")
	for _, tag := range []string{"v=1;", "a=" + k.Algorithm() + ";", "c=relaxed/relaxed;", "d=" + k.Domain + ";", "s=" + k.Selector + ";"} {
		f.word(tag)
	}
	f.word(fmt.Sprintf("t=%d;", now.Unix()))
	f.word("bh=" + base64.StdEncoding.EncodeToString(bodyHash) + ";")
	for i, name := range names {
		switch {
		case i == 0:
			f.word("h=" + name)
		default:
			f.piece(":" + name)
		}
	}
	f.text(";")
	f.word("b=")
	// The field itself is hashed last, with an empty b tag (RFC 6376, 3.7).
	hash := sha256.New()
	hash.Write(fields)
	hash.Write(appendRelaxed(nil, f.b))
	sig, err := k.sign(hash.Sum(nil))
	if err != nil {
		return nil, err
	}
	for text := base64.StdEncoding.EncodeToString(sig); text != ""; {
		n := min(len(text), max(1, lineLength-f.column))
		f.piece(text[:n])
		text = text[n:]
	}
	return append(f.b, '\r', '\n'), nil
}

const lineLength = 76

// A folder writes a field in short lines.
type folder struct {
	b      []byte
	column int
}

func (f *folder) text(s string) {
	f.b = append(f.b, s...)
	f.column += len(s)
}

func (f *folder) fold() {
	f.b = append(f.b, '\r', '\n', '\t')
	f.column = 1
}

// word writes s after a space.
func (f *folder) word(s string) {
	if f.column+1+len(s) > lineLength {
		f.fold()
	} else {
		f.text(" ")
	}
	f.text(s)
}

// piece writes s right after what was before, where tags may be folded (RFC 6376,
// 3.5: h and b).
func (f *folder) piece(s string) {
	if f.column+len(s) > lineLength {
		f.fold()
	}
	f.text(s)
}
