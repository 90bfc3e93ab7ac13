package imap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/linewriter"
	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func newParser(line string) *parser {
	return &parser{line: []byte(line), left: maxCommand, in: &input{authed: true}}
}

// odd are messages that go-imap's client must still understand.
var odd = []string{
	"",
	"\n",
	"Subject: x\n\nbody\n",
	"no header at all\n",
	"Subject: \xe4\xff\nFrom: \"\\\"\xc3\xa4\" <\"a b\\\"\"@x>, broken, <>, g:;\n\n\x00\xff\n",
	"Subject: " + strings.Repeat("long ", 400) + "\nTo: " + strings.Repeat("a@b,", 500) + "\n\nx",
	"Content-Type: text/plain; charset=\"a\\\\\\\"b\"; name*=utf-8''%c3%a4%22; x*0=a; x*1=b\nContent-Disposition: attachment; filename=\"\xc3\xa4 \xff\"\n\nx",
	"Content-Type: multipart/mixed; boundary=A\n\npre\n--A\n\none\n--A\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/alternative; boundary=B\n\n--B\n\ntwo\n--B\nContent-Type: text/html\n\nthree\n--B--\n--A\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nYWJj\n--A--\npost\n",
	"Content-Type: multipart/mixed; boundary=\"\xff\"\n\n--\xff\n\none\n",
	"Content-Type: multipart/mixed\n\nno parts\n",
	"Content-Type: multipart/digest; boundary=A\n\n--A\n\nSubject: 1\n\none\n--A\n\nSubject: 2\n\ntwo\n--A--\n",
	"Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: deep\n\nx",
	"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==\n",
	"Content-Type: message/global\n\nSubject: \xc3\xa4\n\nx",
	"Content-Type: text/plain; \x00\r=\x01\n\nx",
	strings.Repeat("Content-Type: message/rfc822\n\n", 150) + "Subject: deepest\n\nx",
	"Content-Type: a\"b/c\\d; e\"f=g\nContent-ID: \"\\\nContent-Description: a\\b\"c\n\nx",
	"Content-Language: de, \"en\\\"\nContent-Location: \xc3\xa4\nContent-MD5: \"\nContent-Type: text/plain\n\nx",
}

// inLiteral is how bytes are sent where NUL cannot be.
func inLiteral(s string) string { return strings.ReplaceAll(s, "\x00", "\x80") }

// Another client decodes what we write, and finds the parts where we found them.
func TestFetchIsUnderstoodByAnotherClient(t *testing.T) {
	for _, utf8 := range []bool{false, true} {
		s := &Server{InsecureAuth: true, Store: newStore()}
		addr := start(t, s)
		var contents []string
		for _, text := range odd {
			put(t, s.Store, "a1", inbox, text)
			contents = append(contents, strings.ReplaceAll(text, "\n", "\r\n"))
		}
		c, err := imapclient.DialInsecure(addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login("ann@example.org", "secret").Wait(); err != nil {
			t.Fatal(err)
		}
		if utf8 {
			if _, err := c.Enable(imap.CapUTF8Accept).Wait(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Select(inbox, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		whole := &imap.FetchItemBodySection{}
		binary := &imap.FetchItemBinarySection{Part: []int{1}}
		for i, content := range contents {
			m, err := message.Parse(strings.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			o := &imap.FetchOptions{
				UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true,
				BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
				BodySection:   []*imap.FetchItemBodySection{whole},
				BinarySection: []*imap.FetchItemBinarySection{binary},
			}
			sections := make(map[string]*imap.FetchItemBodySection)
			addSections(o, sections, &m.Root, content, nil, true)
			got, err := c.Fetch(imap.SeqSetNum(uint32(i+1)), o).Collect()
			if err != nil || len(got) != 1 {
				t.Fatalf("%.60q: %v, %v", content, got, err)
			}
			f := got[0]
			if f.UID != imap.UID(i+1) || f.RFC822Size != int64(len(content)) || f.Envelope == nil || f.BodyStructure == nil || string(f.FindBodySection(whole)) != inLiteral(content) {
				t.Errorf("%.60q: %+v", content, f)
			}
			checkStructure(t, &m.Root, f.BodyStructure)
			for want, section := range sections {
				want := inLiteral(want[strings.IndexByte(want, ':')+1:])
				if part := f.FindBodySection(section); string(part) != want {
					t.Errorf("%.60q: section %v %s is %q, want %q", content, section.Part, section.Specifier, part, want)
				}
			}
			if n := len(m.Envelope.To); len(f.Envelope.To) != n {
				t.Errorf("%.60q: To has %d addresses, want %d", content, len(f.Envelope.To), n)
			}
		}
	}
}

// addSections asks for every part of p, by the numbers of RFC 9051, with what we
// expect in a key behind a colon.
func addSections(o *imap.FetchOptions, want map[string]*imap.FetchItemBodySection, p *message.Part, content string, numbers []int, root bool) {
	add := func(spec imap.PartSpecifier, numbers []int, text string) {
		if len(want) >= 50 {
			return
		}
		s := &imap.FetchItemBodySection{Part: numbers, Specifier: spec, Peek: true}
		o.BodySection = append(o.BodySection, s)
		want[fmt.Sprint(len(want), ":", text)] = s
	}
	if root {
		add(imap.PartSpecifierHeader, numbers, content[p.HeaderStart:p.BodyStart])
		add(imap.PartSpecifierText, numbers, content[p.BodyStart:p.End])
		if p.Type != "multipart" {
			numbers = append(numbers[:len(numbers):len(numbers)], 1)
		}
	} else {
		add(imap.PartSpecifierMIME, numbers, content[p.HeaderStart:p.BodyStart])
	}
	if len(numbers) > 0 && !(root && p.Type == "multipart") {
		add(imap.PartSpecifierNone, numbers, content[p.BodyStart:p.End])
	}
	if p.Envelope != nil {
		addSections(o, want, &p.Parts[0], content, numbers, true)
		return
	}
	for i := range p.Parts {
		addSections(o, want, &p.Parts[i], content, append(numbers[:len(numbers):len(numbers)], i+1), false)
	}
}

func checkStructure(t *testing.T, p *message.Part, got imap.BodyStructure) {
	t.Helper()
	switch bs := got.(type) {
	case *imap.BodyStructureMultiPart:
		if p.Type != "multipart" || bs.Subtype != p.Subtype || len(bs.Children) != len(p.Parts) {
			t.Errorf("%s/%s with %d parts is multipart/%s with %d", p.Type, p.Subtype, len(p.Parts), bs.Subtype, len(bs.Children))
			return
		}
		for i := range p.Parts {
			checkStructure(t, &p.Parts[i], bs.Children[i])
		}
	case *imap.BodyStructureSinglePart:
		if bs.Type != p.Type && !(p.Type == "message" && bs.Type == "application") || int64(bs.Size) != p.End-p.BodyStart || bs.Encoding != p.Encoding || bs.ID != p.ID {
			t.Errorf("%+v is %+v", p, bs)
		}
		if (bs.MessageRFC822 != nil) != (p.Envelope != nil) || (bs.Text != nil) != (p.Type == "text") {
			t.Errorf("%+v is %+v", p, bs)
		}
		if bs.MessageRFC822 != nil {
			checkStructure(t, &p.Parts[0], bs.MessageRFC822.BodyStructure)
		}
		if bs.Text != nil && bs.Text.NumLines != p.Lines {
			t.Errorf("%d lines, want %d", bs.Text.NumLines, p.Lines)
		}
	}
}

// A message that was delivered has fields before it that its parse knew nothing of.
func TestFetchOfDeliveredMessages(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	addr := start(t, s)
	const (
		prefix = "Return-Path: <b@x>\r\nDelivered-To: ann@example.org\r\n"
		head   = "Subject: x\r\nContent-Type: multipart/mixed; boundary=A\r\n\r\n"
		body   = "--A\r\n\r\none\r\n--A\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\ndHdv\r\n--A--\r\n"
	)
	w, err := s.Store.Blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, head+body)
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	cold, err := s.Store.Parse(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Store.Deliver(t.Context(), store.Delivery{Blob: info, Cold: cold, Targets: []store.Target{{Account: "a1", Prefix: []byte(prefix)}}})
	if err != nil || out[0].Err != nil {
		t.Fatal(out, err)
	}
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	for item, want := range map[string]string{
		"BODY[]": prefix + head + body, "BODY[HEADER]": prefix + head, "BODY[TEXT]": body, "BODY[1]": "one", "BODY[2]": "dHdv", "BINARY[2]": "two",
		"BODY[2.MIME]": "Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n", "BODY[]<40.30>": (prefix + head)[40:70],
		"BODY[HEADER.FIELDS (DELIVERED-TO SUBJECT)]": "Delivered-To: ann@example.org\r\nSubject: x\r\n\r\n",
	} {
		got := strings.Join(p.ok("FETCH 1 %s", strings.Replace(item, "[", ".PEEK[", 1)), "\r\n")
		name := strings.Replace(item, ".30>", ">", 1)
		mark := ""
		if strings.HasPrefix(item, "BINARY") {
			mark = "~"
		}
		if want := fmt.Sprintf("* 1 FETCH (%s %s{%d}\r\n%s)\r\nt OK FETCH completed", name, mark, len(want), want); got != want {
			t.Errorf("%s: %q, want %q", item, got, want)
		}
	}
	if l := p.ok("FETCH 1 RFC822.SIZE"); l[0] != fmt.Sprintf("* 1 FETCH (RFC822.SIZE %d)", len(prefix+head+body)) {
		t.Errorf("%q", l)
	}
	for keys, want := range map[string]string{"HEADER Return-Path b@x": " 1", "TEXT delivered-to": " 1", "BODY two": " 1", "BODY delivered": ""} {
		if l := p.ok("SEARCH %s", keys); l[0] != "* SEARCH"+want {
			t.Errorf("%s: %q", keys, l)
		}
	}
}

// endless is a blob.Store in which every blob has size bytes of text, if that is set, or fails.
type endless struct {
	memblob.Store
	size   int64
	broken atomic.Bool
	opened atomic.Int64
	read   atomic.Int64
}

func (s *endless) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	s.opened.Add(1)
	if s.broken.Load() {
		return nil, io.ErrUnexpectedEOF
	}
	if s.size == 0 {
		rc, err := s.Store.Open(ctx, ref, off, n)
		if err != nil {
			return nil, err
		}
		return &counted{rc, s}, nil
	}
	if n < 0 {
		n = s.size - off
	}
	return &counted{io.NopCloser(io.LimitReader(lines{}, n)), s}, nil
}

type counted struct {
	io.ReadCloser
	s *endless
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.s.read.Add(int64(n))
	return n, err
}

type lines struct{}

func (lines) Read(b []byte) (int, error) {
	for i := range b {
		if b[i] = 'x'; i%80 == 79 {
			b[i] = '\n'
		}
	}
	return len(b), nil
}

// A large message is read from the store no faster than its client takes it.
func TestFetchStreams(t *testing.T) {
	const size = 64 << 20
	blobs := new(endless)
	s := &Server{InsecureAuth: true, Store: &store.Store{Backend: new(memstore.Backend), Blobs: blobs}}
	addr := start(t, s)
	put(t, s.Store, "a1", inbox, "Subject: x\n\nbody\n")
	// The message grows behind the back of the server.
	blobs.size = size
	a := s.Store.As("a1")
	f, err := a.Folder(t.Context(), inbox)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(t.Context(), f.ID, store.Append{Blob: blob.Info{Ref: blob.Ref(strings.Repeat("ab", 32)), Size: size}}); err != nil {
		t.Skip("the store wants blobs that are there:", err)
	}
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	before := blobs.read.Load()
	p.send("t FETCH 2 BODY.PEEK[]")
	if want := fmt.Sprintf("* 2 FETCH (BODY[] {%d}", size); p.line() != want {
		t.Fatal("not", want)
	}
	if _, err := io.CopyN(io.Discard, p.br, 1<<20); err != nil {
		t.Fatal(err)
	}
	if n := blobs.read.Load() - before; n > size/4 {
		t.Errorf("%d MB were read for a client that took one", n>>20)
	}
	p.Close()
}

// Listing a mailbox opens no message, and what is known is not read again.
func TestFetchReadsNoMoreThanItMust(t *testing.T) {
	blobs := new(endless)
	s := &Server{InsecureAuth: true, Store: &store.Store{Backend: new(memstore.Backend), Blobs: blobs}}
	addr := start(t, s)
	for i := range 40 {
		put(t, s.Store, "a1", inbox, fmt.Sprintf("Subject: %d\nContent-Type: multipart/mixed; boundary=A\n\n--A\n\ntext\n--A\n\n%s\n--A--\n", i, strings.Repeat("x", 10_000)))
	}
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	cost := func(command string) (opened, read int64) {
		o, r := blobs.opened.Load(), blobs.read.Load()
		p.ok("%s", command)
		return blobs.opened.Load() - o, blobs.read.Load() - r
	}
	for _, command := range []string{
		"FETCH 1:* (UID FLAGS)", "FETCH 1:* FULL", "FETCH 1:* BODYSTRUCTURE", "SEARCH UNSEEN", "SEARCH SUBJECT 7", "SEARCH FROM x", "SEARCH SINCE 1-Jan-2020",
		"SEARCH SENTSINCE 1-Jan-2020", "SEARCH SEEN BODY text", "SEARCH OR ALL BODY text", "SEARCH LARGER 99999 BODY text",
	} {
		if opened, read := cost(command); opened != 0 || read != 0 {
			t.Errorf("%s opened %d blobs and read %d bytes", command, opened, read)
		}
	}
	for command, most := range map[string]int64{
		"FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]": 40 * 200,
		"FETCH 1:* BODY.PEEK[1]":                       40 * 4,
		"FETCH 1:* BODY.PEEK[2]<0.10>":                 40 * 10,
		"SEARCH HEADER X-Other y":                      40 * 200,
		"SEARCH SUBJECT 7 BODY xyz":                    4 * 11_000,
		"SEARCH BODY text":                             40 * 9000,
	} {
		if opened, read := cost(command); opened > 40 || read > most {
			t.Errorf("%s opened %d blobs and read %d bytes, not %d", command, opened, read, most)
		}
	}
}

// A blob that cannot be read is a NO after all others, and a search passes over it.
func TestFetchOfDamagedMessages(t *testing.T) {
	blobs := new(endless)
	s := &Server{InsecureAuth: true, Store: &store.Store{Backend: new(memstore.Backend), Blobs: blobs}}
	addr := start(t, s)
	put(t, s.Store, "a1", inbox, "Subject: 1\n\nx\n")
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	blobs.broken.Store(true)
	if l := p.do("FETCH 1 (FLAGS BODY.PEEK[])"); len(l) != 1 || !strings.HasPrefix(l[0], "t NO [UNAVAILABLE]") {
		t.Errorf("%q", l)
	}
	if l := p.do("FETCH 1 (FLAGS ENVELOPE)"); len(l) != 2 || !strings.HasPrefix(l[1], "t OK") {
		t.Errorf("%q", l)
	}
	if l := p.ok("SEARCH BODY x"); l[0] != "* SEARCH" {
		t.Errorf("%q", l)
	}
	blobs.broken.Store(false)
	if l := p.ok("SEARCH BODY x"); l[0] != "* SEARCH 1" {
		t.Errorf("%q", l)
	}
}

func FuzzFetchItems(f *testing.F) {
	for _, s := range []string{
		"ALL", "(UID FLAGS BODY[] BODY.PEEK[1.2.HEADER.FIELDS (a \"b\\\\\")]<1.2>)", "BODY[HEADER.FIELDS.NOT (x)]", "BINARY[1]<0.1>", "BINARY.SIZE[]", "(BODY BODY[1.MIME])", "RFC822.TEXT", "BODY[1.TEXT",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := newParser(s)
		items := p.fetchItems()
		if p.end() != nil {
			return
		}
		// What was understood is echoed so that it is understood again.
		for i, section := range items.BodySection {
			if items.names[i] != "BODY" {
				continue
			}
			var buf bytes.Buffer
			w := &writer{Writer: linewriter.Writer{W: &buf}}
			w.sectionName(section, "BODY")
			w.Flush()
			name := buf.String()
			if section.Partial != nil { // the size is not part of the name
				name = strings.TrimSuffix(name, ">") + fmt.Sprintf(".%d>", section.Partial.Size)
			}
			again := newParser(name)
			f := again.fetchItems()
			if err := again.end(); err != nil || len(f.BodySection) != 1 || fmt.Sprint(f.BodySection[0].Part, f.BodySection[0].HeaderFields, f.BodySection[0].HeaderFieldsNot, f.BodySection[0].Specifier) !=
				fmt.Sprint(section.Part, section.HeaderFields, section.HeaderFieldsNot, section.Specifier) {
				t.Errorf("%q became %q: %v", s, name, err)
			}
		}
	})
}

// Whatever a message holds, what is said of it is a well-formed response.
func FuzzStructure(f *testing.F) {
	for _, s := range odd {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, utf8 bool) {
		m, err := message.Parse(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		w := &writer{Writer: linewriter.Writer{W: &buf}, utf8: utf8}
		w.byte('(')
		w.envelope(&m.Envelope)
		w.sp()
		w.structure(&m.Root, true)
		w.sp()
		w.structure(&m.Root, false)
		w.byte(')')
		w.Flush()
		if err := checkData(buf.Bytes()); err != nil {
			t.Errorf("%q: %v in %q", b, err, buf.Bytes())
		}
	})
}

// checkData checks that b is one list of strings, numbers, NIL and lists.
func checkData(b []byte) error {
	depth := 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '(':
			depth++
			i++
		case c == ')':
			if depth--; depth < 0 || depth == 0 && i != len(b)-1 {
				return fmt.Errorf("unbalanced at %d", i)
			}
			i++
		case c == ' ':
			i++
		case c == '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
				if i < len(b) && (b[i] == '\r' || b[i] == '\n' || b[i] == 0) {
					return fmt.Errorf("control character in a quoted string at %d", i)
				}
			}
			if i++; i > len(b) {
				return fmt.Errorf("a quoted string does not end")
			}
		case c == '{':
			var n int
			if _, err := fmt.Sscanf(string(b[i:min(len(b), i+20)]), "{%d}\r\n", &n); err != nil {
				return err
			}
			i += bytes.IndexByte(b[i:], '\n') + 1 + n
			if i > len(b) || bytes.IndexByte(b[i-n:i], 0) >= 0 {
				return fmt.Errorf("a literal of %d bytes before %d", n, i)
			}
		case c >= '0' && c <= '9':
			i++
		case bytes.HasPrefix(b[i:], []byte("NIL")):
			i += 3
		default:
			return fmt.Errorf("%q at %d", c, i)
		}
	}
	if depth != 0 {
		return fmt.Errorf("depth %d at the end", depth)
	}
	return nil
}

func FuzzSearch(f *testing.F) {
	for _, s := range []string{
		"ALL", "RETURN (MIN SAVE) CHARSET UTF-8 NOT (OR SEEN BODY \"x\" 1:* UID 3,4)", "SINCE 1-Jan-2024 LARGER 3 SMALLER 9 HEADER a b", "OR OR SEEN $ KEYWORD x", "RETURN (COUNT PARTIAL -1:-5) OLDER 60 YOUNGER 3600", "1:*,5 UNKEYWORD $x SENTON 1-Feb-2020",
	} {
		f.Add(s)
	}
	sel := &selection{snap: (&snapshot{}).apply([]change{
		{row: row{1, joinFlags([]string{`\Seen`}), 1}}, {row: row{3, joinFlags([]string{"x"}), 2}}, {row: row{4, joinFlags(nil), 3}},
	})}
	f.Fuzz(func(t *testing.T, s string) {
		p := searchParser{parser: newParser(s)}
		p.returns()
		p.searchCharset()
		k := p.searchKeys()
		if p.end() != nil {
			return
		}
		q := new(query)
		q.matcher = q.compile(sel, k)
		opposite := new(query)
		opposite.matcher = opposite.compile(sel, &criteria{Not: []criteria{*k}})
		var a, b facts
		for seq, r := range sel.snap.all(sel.snap.everything()) {
			a.reset(q)
			b.reset(opposite)
			a.pos, a.flags = int(seq)-1, r.flags
			b.pos, b.flags = a.pos, a.flags
			if v, w := q.ask(q.matcher, &a), opposite.ask(opposite.matcher, &b); v != -w {
				t.Errorf("%q: %d, and NOT of it %d", s, v, w)
			} else if v == unknown && q.level == noRows {
				t.Errorf("%q is not known, and needs nothing", s)
			}
		}
	})
}

// BenchmarkFetch lists a mailbox of 10,000 messages in memory, over loopback.
func BenchmarkFetch(b *testing.B) {
	const n = 10_000
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
	for i := range n {
		put(b, s.Store, "a1", inbox, fmt.Sprintf("From: Ann Smith <ann@example.org>\nTo: Bob <bob@example.org>\nSubject: Message number %d\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <%[1]d@example.org>\n\nThe body of message %[1]d.\n", i))
	}
	p := dial(b, start(b, s))
	p.ok("LOGIN ann secret")
	p.ok("SELECT INBOX")
	for _, command := range []string{
		"FETCH 1:* (UID FLAGS)", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", "FETCH 1:* (UID ENVELOPE)", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]", "FETCH 1:* BODY.PEEK[]",
		"SEARCH UNSEEN", "SEARCH SUBJECT 77", "SEARCH BODY absent", "SELECT INBOX",
	} {
		b.Run(command, func(b *testing.B) {
			for b.Loop() {
				p.ok("%s", command)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
