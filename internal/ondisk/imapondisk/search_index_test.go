package imapondisk

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand"
	"mime"
	"mime/quotedprintable"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/store/search"
	"github.com/mailkeel/mailkeel/store/search/ftsindex"
)

// mailed is a message with what a reader sees of it.
type mailed struct {
	text            string
	subject, xother string
	header          []string // lines
	body            []string // texts

	folded map[string]string // of those above
}

type scribe struct{ *rand.Rand }

func (a scribe) pick(list ...string) string { return list[a.Intn(len(list))] }

var vocabularies = map[string][]string{
	"latin":  {"Hello", "world", "report", "Z\u00fcrich", "Stra\u00dfe", "caf\u00e9", "na\u00efve", "mail-keel", "42", "x", "e.g.", "\u00c6on", "100%", "a_b"},
	"wide":   {"\u4e16\u754c", "\u65e5\u672c\u8a9e", "\u30ab\u30ca", "\u304c", "hello", "Tokyo"},
	"kyr":    {"\u041f\u0440\u0438\u0432\u0435\u0442", "\u043c\u0438\u0440", "\u0451\u043b\u043a\u0430", "\u0439", "Moscow"},
	"ascii":  {"Lorem", "ipsum", "dolor", "SIT", "amet,", "needle", "hay", "--", "(x)", "q=a&b"},
	"traps":  {"\uff26\uff55\uff4c\uff4c", "soft\u00adhyphen", "u\u0308ber", "zero\u200bwidth", "\ufb01n", "\u0130x", "\u03a3\u03c2", "I\u0307"},
	"spaced": {"a  b", "tab\there", "nb\u00a0sp", "end."},
}

// words writes n words, with line ends here and there if lines.
func (a scribe) words(kind string, n int, lines bool) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			if lines && a.Intn(6) == 0 {
				b.WriteString("\r\n")
			} else {
				b.WriteByte(' ')
			}
		}
		b.WriteString(vocabularies[kind][a.Intn(len(vocabularies[kind]))])
	}
	return b.String()
}

// leaf writes a part with its text.
func (a scribe) leaf(m *mailed) string {
	kind := a.pick("latin", "wide", "kyr", "ascii", "ascii", "traps", "spaced")
	n := 1 + a.Intn(60)
	switch a.Intn(60) {
	case 0:
		n = 2000
	case 1:
		n = 12_000 // more than is read at once
	}
	text := a.words(kind, n, true)
	charset, enc := "utf-8", encoding.Encoding(unicode.UTF8)
	switch kind {
	case "latin":
		switch a.Intn(3) {
		case 0:
			charset, enc = "iso-8859-1", charmap.Windows1252
		case 1:
			charset, enc = "Windows-1252", charmap.Windows1252
		}
	case "kyr":
		if a.Intn(2) == 0 {
			charset, enc = "koi8-r", charmap.KOI8R
		}
	case "wide":
		switch a.Intn(4) {
		case 0:
			charset, enc = "iso-2022-jp", japanese.ISO2022JP
		case 1:
			charset, enc = "shift_jis", japanese.ShiftJIS
		}
	case "ascii":
		charset = a.pick("us-ascii", "utf-8", "iso-8859-15", "x-unknown", "")
	}
	m.body = append(m.body, text)
	typ, raw := "text/plain", text
	if a.Intn(3) == 0 {
		typ = "text/html"
		raw = strings.NewReplacer("&", "&amp;", "hello", "h<b>ell</b>o", "(x)", "(<i>x</i>)").Replace(text)
		raw = "<html><head><title>unseen title</title><style>unseen{}</style></head><body>" + raw + "<!-- unseen --></body></html>"
		m.body[len(m.body)-1] = " " + text + " "
	}
	raw, err := enc.NewEncoder().String(raw)
	if err != nil {
		panic(err)
	}
	head := "Content-Type: " + typ
	if charset != "" {
		head += "; charset=" + charset
	}
	switch a.Intn(3) {
	case 0:
		var b strings.Builder
		e := base64.StdEncoding.EncodeToString([]byte(raw))
		for len(e) > 0 {
			k := min(len(e), 76)
			b.WriteString(e[:k] + "\r\n")
			e = e[k:]
		}
		return head + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b.String()
	case 1:
		var b strings.Builder
		w := quotedprintable.NewWriter(&b)
		fmt.Fprint(w, raw)
		w.Close()
		return head + "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + b.String()
	}
	return head + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + raw
}

// encoded writes a text for a header.
func (a scribe) encoded(text string) string {
	if textfold.ASCII([]byte(text)) && a.Intn(2) == 0 {
		return strings.ReplaceAll(text, " ", a.pick(" ", " ", "\r\n "))
	}
	if a.Intn(2) == 0 {
		return mime.BEncoding.Encode("utf-8", text)
	}
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", text), "?= =?", "?=\r\n =?")
}

func (a scribe) head(m *mailed) (string, [][2]string) {
	kind := func() string { return a.pick("latin", "wide", "kyr", "ascii", "traps") }
	subject, other := a.words(kind(), 1+a.Intn(6), false), a.words(kind(), 1+a.Intn(4), false)
	fields := [][2]string{{"Subject", subject}, {"X-Other", other}, {"Message-ID", fmt.Sprintf("<%d@example.org>", a.Intn(1000))}}
	if a.Intn(8) == 0 {
		fields = append(fields, [2]string{"x-other", strings.Repeat("again ", 300) + "last"})
	}
	var b strings.Builder
	for _, f := range fields {
		value := f[1]
		if f[0] != "Message-ID" {
			value = a.encoded(value)
		}
		b.WriteString(f[0] + ": " + value + "\r\n")
	}
	return b.String(), fields
}

func (a scribe) message(depth int) (m mailed) {
	head, fields := a.head(&m)
	for _, f := range fields {
		m.header = append(m.header, f[0]+": "+f[1])
		if strings.EqualFold(f[0], "X-Other") {
			m.xother += "\n" + f[1]
		}
	}
	m.subject = fields[0][1]
	if a.Intn(2) == 0 || depth > 2 {
		leaf := a.leaf(&m)
		mime, _, _ := strings.Cut(leaf, "\r\n\r\n")
		m.header = append(m.header, strings.Split(mime, "\r\n")...)
		m.text = head + leaf
		return m
	}
	b := fmt.Sprintf("=_%d", a.Int63())
	m.header = append(m.header, "Content-Type: multipart/mixed; boundary=\""+b+"\"")
	var s strings.Builder
	s.WriteString(head + "Content-Type: multipart/mixed; boundary=\"" + b + "\"\r\n\r\n")
	for range 1 + a.Intn(3) {
		s.WriteString("--" + b + "\r\n")
		switch a.Intn(4) {
		case 0:
			name := a.words(a.pick("latin", "wide"), 2, false) + ".pdf"
			m.body = append(m.body, name)
			s.WriteString("Content-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''" + escape(name) + "\r\n\r\nunseen binary\r\n")
		case 1:
			in := a.message(depth + 1)
			m.body = append(append(m.body, in.header...), in.body...)
			s.WriteString("Content-Type: message/rfc822\r\n\r\n" + in.text + "\r\n")
		default:
			s.WriteString(a.leaf(&m) + "\r\n")
		}
	}
	s.WriteString("--" + b + "--\r\n")
	m.text = s.String()
	return m
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// needle takes a piece out of a text that somebody wrote, or makes one up.
func (a scribe) needle(from []string) string {
	text := []rune(a.pick(from...))
	if len(text) == 0 || a.Intn(10) == 0 {
		return a.pick("absent", "unseen", "zz", "title")
	}
	i := a.Intn(len(text))
	what := string(text[i:min(len(text), i+1+a.Intn(12))])
	switch a.Intn(4) {
	case 0:
		what = strings.ToUpper(what)
	case 1:
		what = textfold.String(what)
	}
	return strings.NewReplacer("\r", "", "\n", " ", "\t", " ").Replace(what)
}

func (m *mailed) contains(texts []string, what string) bool {
	if m.folded == nil {
		m.folded = map[string]string{}
	}
	what = textfold.String(what)
	return slices.ContainsFunc(texts, func(s string) bool {
		f, ok := m.folded[s]
		if !ok {
			f = textfold.String(s)
			m.folded[s] = f
		}
		return strings.Contains(f, what)
	})
}

// Searches find the same with an index, with half of one, without, and in what was
// written.
func TestSearchFindsWhatWasWritten(t *testing.T) {
	rounds, messages, questions := 3, 90, 100
	if testing.Short() {
		rounds = 1
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			a := scribe{rand.New(rand.NewSource(int64(seed)))}
			s := &imap.Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: new(memstore.Backend), Blobs: new(memblob.Store)}}
			addr := start(t, s)
			index := ftsindex.New(filepath.Join(t.TempDir(), "search.db"), ftsindex.Options{})
			defer index.Close()
			x := &search.Indexer{Store: s.Store, Index: index, Rest: -1}
			counted := &countingFinder{Finder: x}
			indexed := start(t, &imap.Server{InsecureAuth: true, Auth: anyone{}, Store: s.Store, Search: counted})
			var all []mailed
			add := func(n int) {
				for range n {
					m := a.message(0)
					all = append(all, m)
					put(t, s.Store, "a1", "INBOX", strings.ReplaceAll(m.text, "\r\n", "\n"))
				}
			}
			add(messages / 3)
			if err := x.CatchUp(t.Context(), "a1"); err != nil {
				t.Fatal(err)
			}
			add(messages / 3)
			acc := s.Store.As("a1")
			f, err := acc.Folder(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := acc.Expunge(t.Context(), f.ID, 3, 40); err != nil {
				t.Fatal(err)
			}
			all = slices.Delete(slices.Delete(all, 39, 40), 2, 3)
			for half := range 2 {
				if half == 1 {
					if err := x.CatchUp(t.Context(), "a1"); err != nil {
						t.Fatal(err)
					}
					add(messages / 3) // that the index does not know
				}
				plain, quick := dial(t, addr), dial(t, indexed)
				for _, p := range []*peer{plain, quick} {
					p.ok("LOGIN ann@example.org secret")
					p.ok("SELECT INBOX")
				}
				for range questions {
					m := &all[a.Intn(len(all))]
					var key string
					var match func(*mailed) bool
					var what string
					switch a.Intn(5) {
					case 0:
						key, what = "BODY", a.needle(m.body)
						match = func(m *mailed) bool { return m.contains(m.body, what) }
					case 1:
						what = a.needle(append(slices.Clone(m.body), m.header...))
						key = "TEXT"
						match = func(m *mailed) bool { return m.contains(m.body, what) || m.contains(m.header, what) }
					case 2:
						key, what = "SUBJECT", a.needle([]string{m.subject})
						match = func(m *mailed) bool { return m.contains([]string{m.subject}, what) }
					case 3:
						key, what = "HEADER X-Other", a.needle(strings.Split(m.xother, "\n"))
						match = func(m *mailed) bool { return m.contains(strings.Split(m.xother, "\n"), what) }
					case 4:
						key, what = "NOT BODY", a.needle(m.body)
						match = func(m *mailed) bool { return !m.contains(m.body, what) }
					}
					if strings.TrimSpace(textfold.String(what)) == "" || len(what) > 200 {
						continue
					}
					command := fmt.Sprintf("SEARCH CHARSET UTF-8 %s {%d+}\r\n%s", key, len(what), what)
					got := plain.ok("%s", command)
					if other := quick.ok("%s", command); !slices.Equal(got, other) {
						t.Errorf("%s %q: %q, with an index %q", key, what, got, other)
					}
					want := "* SEARCH"
					for i := range all {
						if match(&all[i]) {
							want += fmt.Sprint(" ", i+1)
						}
					}
					if got[0] != want {
						t.Errorf("%s %q: %q, written was %q", key, what, got[0], want)
					}
				}
				plain.Close()
				quick.Close()
			}
			if counted.answers == 0 {
				t.Error("the index was of no use")
			}
		})
	}
}

// countingFinder counts answers.
type countingFinder struct {
	search.Finder
	answers int
}

func (f *countingFinder) Find(ctx context.Context, id store.AccountID, q search.Query) (search.Answer, error) {
	a, err := f.Finder.Find(ctx, id, q)
	if err == nil && len(a.Known) > 0 {
		f.answers++
	}
	return a, err
}
