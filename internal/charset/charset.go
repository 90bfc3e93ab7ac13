// Package charset turns text in the charsets of mail into UTF-8.
//
// Mail is often wrong about its charset, and old text must still be shown, so
// nothing here fails: bytes that mean nothing become U+FFFD, and bytes in a charset
// that nobody knows are read as UTF-8 where they are that, and else as Windows-1252.
package charset

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// maxName bounds a charset's name; the longest registered one has 45 letters.
const maxName = 64

// Known reports whether text in the named charset is decoded by the rules of that
// charset, and not guessed. Names have no case.
func Known(name string) bool {
	name = clean(name)
	return ascii(name) || find(name) != nil
}

// Plain reports whether bytes of ASCII are themselves in the named charset. Where it is
// not sure it says no.
func Plain(name string) bool {
	name = clean(name)
	return ascii(name) || strings.HasPrefix(name, "iso-8859-") || strings.HasPrefix(name, "windows-125")
}

// Decode returns b, which is in the named charset, as UTF-8.
func Decode(name string, b []byte) string {
	if ascii(clean(name)) && utf8.Valid(b) {
		return string(b)
	}
	s, _, _ := transform.Bytes(decoder(name), b) // decoders give no errors
	return string(s)
}

// NewReader returns r, whose bytes are in the named charset, as UTF-8. The only
// errors are those of r.
func NewReader(name string, r io.Reader) io.Reader {
	if ascii(clean(name)) {
		return &plainReader{r: r}
	}
	return transform.NewReader(r, decoder(name))
}

// A plainReader passes ASCII through as long as there is nothing else.
type plainReader struct {
	r   io.Reader
	mix bool // r decodes
}

func (p *plainReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.mix {
		return n, err
	}
	for i, c := range b[:n] {
		if c >= utf8.RuneSelf {
			rest := io.Reader(p.r)
			if err != nil {
				rest = failed{err}
			}
			p.r, p.mix = transform.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(b[i:n])), rest), guess{}), true
			if i == 0 {
				return p.r.Read(b)
			}
			return i, nil
		}
	}
	return n, err
}

// failed is a Reader that has ended so.
type failed struct{ error }

func (f failed) Read([]byte) (int, error) { return 0, f.error }

// clean takes off what senders put around a name.
func clean(name string) string {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	name, _, _ = strings.Cut(name, "*") // a language (RFC 2231, 5)
	if len(name) > maxName {
		return ""
	}
	return name
}

// ascii reports whether name says UTF-8, its subset, or nothing.
func ascii(name string) bool {
	switch name {
	case "", "utf-8", "utf8", "utf8mb4", "utf_8", "x-utf_8j", "unicode-1-1-utf-8",
		"us-ascii", "ascii", "us", "ansi_x3.4-1968", "iso646-us", "646":
		return true
	}
	return false
}

func decoder(name string) transform.Transformer {
	name = clean(name)
	if ascii(name) {
		return guess{}
	}
	if name == "utf-7" || name == "utf7" || name == "unicode-1-1-utf-7" || name == "csutf7" {
		return &utf7{}
	}
	if e := find(name); e != nil {
		return e.NewDecoder()
	}
	return guess{}
}

// find returns the encoding with a cleaned name, or nil.
func find(name string) encoding.Encoding {
	switch name {
	case "utf-7", "utf7", "unicode-1-1-utf-7", "csutf7":
		return encoding.Nop // known; decoder has its own
	case "cp932", "ms932", "windows-932", "ms_kanji", "x-ms-cp932":
		return japanese.ShiftJIS
	case "cp936", "ms936", "windows-936", "gb_2312-80", "x-gbk":
		return simplifiedchinese.GBK
	case "cp949", "ms949", "uhc", "windows-949", "ks_c_5601", "ks-c-5601-1987", "ks_c_5601-1989":
		return korean.EUCKR
	case "ms-ansi", "cp1252", "ansi", "latin1", "latin-1", "iso8859-1", "iso8859_1", "iso-8859-1-windows-3.1-latin-1", "ansi_x3.110-1983":
		return charmap.Windows1252
	case "utf-16", "utf16", "ucs-2", "iso-10646-ucs-2", "csunicode":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "utf-16be":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	case "utf-16le":
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case "iso-8859-8-i", "iso-8859-8-e", "iso_8859-8-i":
		return charmap.ISO8859_8
	}
	// The browsers' table first: it reads Latin-1 as Windows-1252 and GB2312
	// as GBK, which is what senders mean.
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil && e != encoding.Replacement {
		return e
	}
	if n, ok := strings.CutPrefix(name, "cp"); ok { // cp1251
		if e, err := htmlindex.Get("windows-" + n); err == nil {
			return e
		}
	}
	if n, ok := strings.CutPrefix(name, "iso8859"); ok { // iso8859-15, iso8859_15
		if e, err := htmlindex.Get("iso-8859-" + strings.TrimLeft(n, "-_")); err == nil {
			return e
		}
	}
	return nil
}
