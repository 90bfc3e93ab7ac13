package header

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
)

// ErrTooLarge means that a header is larger than the reader wants.
var ErrTooLarge = errors.New("header: too large")

// DefaultMax bounds the header that Read keeps in memory.
const DefaultMax = 1 << 20

// A Field is one field as it came, with its folds and line ends.
type Field struct {
	raw   []byte
	colon int
}

// Raw returns the bytes of the field. They are not to be changed.
func (f Field) Raw() []byte { return f.raw }

// Name returns the name as it is written.
func (f Field) Name() string { return string(f.name()) }

func (f Field) name() []byte { return bytes.TrimRight(f.raw[:f.colon], " \t") }

// Is reports whether the field has this name. Names have no case.
func (f Field) Is(name string) bool { return same(f.name(), name) }

func same(a []byte, b string) bool {
	return len(a) == len(b) && strings.EqualFold(string(a), b)
}

// Value returns the value, unfolded and without the spaces around it. Encoded words
// stay; CR and NUL, which nobody may pass on, become spaces.
func (f Field) Value() string {
	v := make([]byte, 0, len(f.raw)-f.colon)
	for line := range bytes.Lines(f.raw[f.colon+1:]) {
		v = append(v, bytes.TrimRight(line, "\r\n")...)
	}
	for i, c := range v {
		if c == 0 || c == '\r' {
			v[i] = ' '
		}
	}
	return string(bytes.Trim(v, " \t"))
}

// A Header is the fields of a message, in order. Its zero value has none.
type Header struct {
	fields []Field
	// end is the blank line, empty if the message has none: its body begins
	// with a line that is no field, or there is no body.
	end  []byte
	body bool // something follows
}

// Read reads a header of at most max bytes, zero meaning DefaultMax, and returns it
// with a reader of what follows: the body. A larger header is ErrTooLarge; other
// errors are those of r. A "From " line of a mailbox file at the start is dropped.
func Read(r io.Reader, max int) (*Header, io.Reader, error) {
	if max == 0 {
		max = DefaultMax
	}
	br := bufio.NewReader(r)
	h := new(Header)
	for size, first := 0, true; ; first = false {
		line, err := br.ReadSlice('\n')
		colon := Colon(line)
		switch {
		case len(line) == 0:
			return h, br, ignoreEOF(err)
		case Blank(line):
			h.end = bytes.Clone(line)
			_, err := br.Peek(1)
			h.body = err == nil
			return h, br, nil
		case Folded(line) && len(h.fields) > 0, colon >= 0:
		case first && Mbox(line):
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
			continue
		default:
			h.body = true
			return h, io.MultiReader(bytes.NewReader(bytes.Clone(line)), br), nil
		}
		if !(Folded(line) && len(h.fields) > 0) {
			h.fields = append(h.fields, Field{colon: colon})
		}
		f := &h.fields[len(h.fields)-1]
		for {
			if size += len(line); size > max {
				return nil, nil, ErrTooLarge
			}
			f.raw = append(f.raw, line...)
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
			line, err = br.ReadSlice('\n')
		}
		if err != nil {
			return h, br, ignoreEOF(err)
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Fields yields the fields in order.
func (h *Header) Fields() iter.Seq[Field] { return slices.Values(h.fields) }

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// All yields the fields with this name in order.
func (h *Header) All(name string) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for _, f := range h.fields {
			if f.Is(name) && !yield(f) {
				return
			}
		}
	}
}

// Get returns the value of the first field with this name, or "".
func (h *Header) Get(name string) string {
	for f := range h.All(name) {
		return f.Value()
	}
	return ""
}

// Has reports whether there is a field with this name.
func (h *Header) Has(name string) bool { return h.Count(name) > 0 }

// Count returns how many fields have this name.
func (h *Header) Count(name string) (n int) {
	for range h.All(name) {
		n++
	}
	return n
}

// Remove removes all fields with this name and returns how many there were.
func (h *Header) Remove(name string) int {
	return h.RemoveFunc(func(f Field) bool { return f.Is(name) })
}

// RemoveFunc removes the fields for which del returns true.
func (h *Header) RemoveFunc(del func(Field) bool) int {
	n := len(h.fields)
	h.fields = slices.DeleteFunc(h.fields, del)
	return n - len(h.fields)
}

// Prepend puts a field on top, where trace fields go. An error of Format.
func (h *Header) Prepend(name, value string) error {
	f, err := newField(name, value)
	if err != nil {
		return err
	}
	h.terminate()
	h.fields = slices.Insert(h.fields, 0, f)
	return nil
}

// Add puts a field below the others. An error of Format.
func (h *Header) Add(name, value string) error {
	f, err := newField(name, value)
	if err != nil {
		return err
	}
	h.terminate()
	h.fields = append(h.fields, f)
	return nil
}

// Set replaces all fields with this name by one, where the first of them was or else
// at the bottom. An error of Format.
func (h *Header) Set(name, value string) error {
	f, err := newField(name, value)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(h.fields, func(f Field) bool { return f.Is(name) })
	if i < 0 {
		return h.Add(name, value)
	}
	h.fields[i] = f
	for j := len(h.fields) - 1; j > i; j-- {
		if h.fields[j].Is(name) {
			h.fields = slices.Delete(h.fields, j, j+1)
		}
	}
	h.terminate()
	return nil
}

// terminate ends the last field, and the header if a body follows, so that a field
// put beside them is one.
func (h *Header) terminate() {
	if n := len(h.fields); n > 0 && !bytes.HasSuffix(h.fields[n-1].raw, []byte("\n")) {
		h.fields[n-1].raw = append(h.fields[n-1].raw, '\r', '\n')
	}
	if h.body && len(h.end) == 0 {
		h.end = []byte("\r\n")
	}
}

func newField(name, value string) (Field, error) {
	raw, err := Format(name, value)
	return Field{raw, len(name)}, err
}

// Size returns the number of bytes that WriteTo writes.
func (h *Header) Size() int64 {
	n := len(h.end)
	for _, f := range h.fields {
		n += len(f.raw)
	}
	return int64(n)
}

// Bytes returns the header with the blank line that ends it.
func (h *Header) Bytes() []byte {
	b := make([]byte, 0, h.Size())
	for _, f := range h.fields {
		b = append(b, f.raw...)
	}
	return append(b, h.end...)
}

// WriteTo writes the header with the blank line that ends it. What was not changed
// is written as it was read.
func (h *Header) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(h.Bytes())
	return int64(n), err
}
