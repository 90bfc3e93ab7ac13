package mailview

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/charset"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

const (
	// MaxText is how many bytes of text a Segment has.
	MaxText = 1 << 20
	// maxTexts is how many all Segments of a message have. Those behind are Cut.
	maxTexts = 4 << 20
	// maxHeader is how much of a header is looked at, and shown.
	maxHeader = 256 << 10
)

// A Message is one that is read.
type Message struct {
	Row
	Cc, Bcc, ReplyTo, Sender []Address
	MessageID                string   // without < >
	InReplyTo, References    []string // likewise
	Folder                   Folder
	// ListPost is where a mailing list takes answers (RFC 2369, 3.4); empty without
	// one.
	ListPost string
	// Body is what a reader sees, in order: texts, the best of alternatives, and the
	// headers of messages inside. At most 100.
	Body []Segment
	// Attachments are what can be opened besides, images that belong to HTML among
	// them (Inline); at most 1,000.
	Attachments []Part
	// Verdict says in the words of our own filters why the message was judged so;
	// empty if they had nothing to say. Authentic is what our own checks of who sent
	// it came to: "spf=pass dkim=pass dmarc=pass". Neither is taken from what the
	// sender wrote.
	Verdict, Authentic string
	// Unreadable is why the content cannot be read, if it cannot. What a list knows
	// of the message is there all the same.
	Unreadable error
}

// A Segment is a piece of what a reader sees.
type Segment struct {
	Part Part
	// Head is set where a message inside begins: its own header. Then there is no
	// Text; what belongs to it has Paths that begin with Part.Path.
	Head *Head
	HTML bool   // Text is HTML as its writer wrote it
	Text string // UTF-8 with LF, at most MaxText bytes; flowed text is put together (RFC 3676)
	Cut  bool   // there is more; OpenPart has it all
	// Plain is the writer's own plain version of HTML, as Text is; empty without one.
	Plain string
}

// A Head is the header of a message inside another, as it says.
type Head struct {
	From, To, Cc []Address
	Subject      string
	Date         time.Time // zero if it has none
}

// A Part is a part of a message.
type Part struct {
	Path string // "1.2", as in IMAP (RFC 9051, 6.4.5.1)
	Type string // "text/plain", lower case, never with parameters
	// Charset is that of a text, as its writer says; empty if they do not.
	Charset string
	// Name is decoded and safe as the name of a file, and never empty.
	Name      string
	ContentID string // without < >
	// Size is how many bytes OpenPart gives; of encoded parts, about.
	Size int64
	// Inline says that it is an image that HTML may name by its ContentID.
	Inline bool
}

// Message returns a message. It does not mark it as seen. store.ErrNotFound if it is
// not there.
func (b *Box) Message(ctx context.Context, folder store.MailboxID, uid store.UID) (*Message, error) {
	_, f, err := b.folder(ctx, folder)
	if err != nil {
		return nil, err
	}
	k, err := b.load(ctx, folder, uid)
	if err != nil {
		return nil, err
	}
	m := &Message{Row: k.row(), Folder: f}
	if k.err != nil {
		m.Unreadable = k.err
		return m, nil
	}
	m.From, m.To = addresses(k.env.From, maxShownAddresses), addresses(k.env.To, maxShownAddresses)
	m.Cc, m.Bcc = addresses(k.env.Cc, maxShownAddresses), addresses(k.env.Bcc, maxShownAddresses)
	m.ReplyTo, m.Sender = addresses(k.env.ReplyTo, maxShownAddresses), addresses(k.env.Sender, maxShownAddresses)
	if ids := message.MessageIDs(k.env.MessageID); len(ids) > 0 {
		m.MessageID = ids[0]
	}
	m.InReplyTo, m.References = message.MessageIDs(k.env.InReplyTo), k.env.References
	m.Verdict, m.Authentic = judged(k.cold.Prefix)
	if err := b.content(ctx, k, m); err != nil {
		if ctx.Err() != nil || !damaged(err) {
			return nil, err
		}
		m.Unreadable = err
	}
	return m, nil
}

// load returns what rows say of one message.
func (b *Box) load(ctx context.Context, folder store.MailboxID, uid store.UID) (*known, error) {
	ms, cold, err := b.access.Load(ctx, folder, true, uid)
	if err != nil {
		return nil, err
	}
	if len(ms) == 0 {
		return nil, store.ErrNotFound
	}
	k := &known{m: &ms[0]}
	k.parse(cold)
	return k, nil
}

// damaged reports whether an error is one of the bytes of a message, which other
// messages do not share.
func damaged(err error) bool {
	for _, is := range []error{store.ErrDamaged, blob.ErrNotFound, blob.ErrDamaged, blob.ErrUnreadable, io.ErrUnexpectedEOF} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// content reads what is shown of a message.
func (b *Box) content(ctx context.Context, k *known, m *Message) error {
	l := layoutOf(&k.root)
	for _, a := range l.attachments {
		m.Attachments = append(m.Attachments, partOf(a))
	}
	h, err := b.header(ctx, k)
	if err != nil {
		return err
	}
	m.ListPost = listPost(h.Get("List-Post"))
	left := maxTexts
	for _, p := range l.pieces {
		s := Segment{Part: partOf(p.leaf), HTML: p.html}
		if p.head {
			s.Head = headOf(p.part.Envelope)
			m.Body = append(m.Body, s)
			continue
		}
		if s.Text, s.Cut, err = b.text(ctx, k, p.part, min(left, MaxText)); err != nil {
			return err
		}
		left -= len(s.Text)
		if p.plain != nil {
			if s.Plain, _, err = b.text(ctx, k, p.plain, min(left, MaxText)); err != nil {
				return err
			}
			left -= len(s.Plain)
		}
		m.Body = append(m.Body, s)
	}
	return nil
}

func headOf(e *message.Envelope) *Head {
	h := &Head{
		From: addresses(e.From, maxShownAddresses), To: addresses(e.To, maxShownAddresses), Cc: addresses(e.Cc, maxShownAddresses),
	}
	h.Subject, _ = line(message.DecodeHeader(e.Subject), maxShownSubject)
	h.Date, _ = parseDate(e.Date)
	return h
}

// open reads n bytes of a message from an offset in its content.
func (b *Box) open(ctx context.Context, k *known, off, n int64) (io.ReadCloser, error) {
	return b.access.OpenAt(ctx, *k.m, k.cold, int64(len(k.cold.Prefix))+off, n)
}

// header reads the header of a message, or the beginning of a long one, without what was
// put before it here.
func (b *Box) header(ctx context.Context, k *known) (*header.Header, error) {
	rc, err := b.open(ctx, k, 0, min(k.root.BodyStart, maxHeader))
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	h, _, err := header.Read(rc, maxHeader+1)
	return h, err
}

// text reads a text part, max bytes of it at most.
func (b *Box) text(ctx context.Context, k *known, p *message.Part, max int) (s string, cut bool, err error) {
	if max <= 0 {
		return "", p.End > p.BodyStart, nil
	}
	rc, err := b.open(ctx, k, p.BodyStart, p.End-p.BodyStart)
	if err != nil {
		return "", false, err
	}
	defer rc.Close()
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(p.Text(rc), int64(max)+1))
	if err != nil {
		return "", false, err
	}
	raw := buf.Bytes()
	if cut = n > int64(max); cut {
		raw = raw[:max]
		for i := 0; i < utf8.UTFMax && len(raw) > 0 && !utf8.Valid(raw[lastRune(raw):]); i++ {
			raw = raw[:len(raw)-1]
		}
	}
	s = shownText(string(raw))
	if p.Type == "text" && p.Subtype == "plain" && strings.EqualFold(param(p.Params, "format"), "flowed") {
		s = unflow(s, strings.EqualFold(param(p.Params, "delsp"), "yes"))
	}
	if len(s) > max { // a quote that was put together may have grown
		s, cut = strings.ToValidUTF8(s[:max], ""), true
	}
	return s, cut, nil
}

// lastRune is where the last character of b begins.
func lastRune(b []byte) int {
	i := len(b) - 1
	for i > 0 && !utf8.RuneStart(b[i]) {
		i--
	}
	return i
}

// shownText makes a text that was decoded fit to be shown: with LF, and without
// characters that no text has.
func shownText(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f || s[i] == '\n' || s[i] == '\t'
	}
	if clean {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		switch {
		case r == '\r':
			if i+1 < len(s) && s[i+1] == '\n' {
				continue
			}
			r = '\n'
		case r == '\f':
			r = '\n'
		case r != '\n' && r != '\t' && unicode.IsControl(r), r == 0xfeff && i == 0:
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// OpenPart reads a part: its bytes with the transfer encoding taken off, a text in its
// own charset, a message inside as it is. store.ErrNotFound if there is none.
func (b *Box) OpenPart(ctx context.Context, folder store.MailboxID, uid store.UID, path string) (Part, io.ReadCloser, error) {
	k, err := b.readable(ctx, folder, uid)
	if err != nil {
		return Part{}, nil, err
	}
	p := find(&k.root, path)
	if p == nil || p.Type == "multipart" {
		return Part{}, nil, store.ErrNotFound
	}
	return b.openLeaf(ctx, k, leaf{part: p, path: path})
}

// readable is load of a message whose rows are not damaged.
func (b *Box) readable(ctx context.Context, folder store.MailboxID, uid store.UID) (*known, error) {
	k, err := b.load(ctx, folder, uid)
	if err != nil {
		return nil, err
	}
	return k, k.err
}

func (b *Box) openLeaf(ctx context.Context, k *known, x leaf) (Part, io.ReadCloser, error) {
	p := x.part
	rc, err := b.open(ctx, k, p.BodyStart, p.End-p.BodyStart)
	if err != nil {
		return Part{}, nil, err
	}
	return partOf(x), decoding{p.Reader(rc), rc}, nil
}

// decoding reads one thing and closes another.
type decoding struct {
	io.Reader
	io.Closer
}

// OpenCID is OpenPart of the part with a Content-ID, which HTML names as "cid:".
func (b *Box) OpenCID(ctx context.Context, folder store.MailboxID, uid store.UID, cid string) (Part, io.ReadCloser, error) {
	k, err := b.readable(ctx, folder, uid)
	if err != nil {
		return Part{}, nil, err
	}
	var found *leaf
	for _, a := range layoutOf(&k.root).attachments {
		// An image is what is meant, if several have the name.
		if cid != "" && contentID(a.part.ID) == cid && a.part.Envelope == nil && (found == nil || a.part.Type == "image" && found.part.Type != "image") {
			found = &a
		}
	}
	if found == nil {
		return Part{}, nil, store.ErrNotFound
	}
	return b.openLeaf(ctx, k, *found)
}

// OpenRaw reads a message as it came.
func (b *Box) OpenRaw(ctx context.Context, folder store.MailboxID, uid store.UID) (size int64, rc io.ReadCloser, err error) {
	m, rc, err := b.access.Open(ctx, folder, uid)
	return m.Size, rc, err
}

// Header returns all lines of a header as they came, in UTF-8 with LF, and without
// characters that are not seen; at most 256 KiB.
func (b *Box) Header(ctx context.Context, folder store.MailboxID, uid store.UID) (string, error) {
	k, err := b.readable(ctx, folder, uid)
	if err != nil {
		return "", err
	}
	n := int64(len(k.cold.Prefix)) + k.root.BodyStart
	rc, err := b.access.OpenAt(ctx, *k.m, k.cold, 0, min(n, maxHeader))
	if err != nil {
		return "", err
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err != nil {
		return "", err
	}
	text := strings.Map(func(r rune) rune {
		if deceiving(r) && r != utf8.RuneError || r == 0x200e || r == 0x200f || r == 0x61c {
			return -1
		}
		return r
	}, shownText(charset.Decode("", raw)))
	return strings.TrimRight(text, "\n") + "\n", nil
}

// listPost returns the address of a List-Post field (RFC 2369, 3.4).
func listPost(value string) string {
	for value != "" {
		_, rest, ok := strings.Cut(value, "<")
		if !ok {
			return ""
		}
		var in string
		in, value, _ = strings.Cut(rest, ">")
		if len(in) > 7 && strings.EqualFold(in[:7], "mailto:") {
			in, _, _ = strings.Cut(in[7:], "?")
			if list, err := parseTyped(in); err == nil && len(list) == 1 {
				return list[0].addr
			}
		}
	}
	return ""
}

// judged reads what our own filters said from the fields that were put before a message
// here. What the message itself says of that is not looked at.
func judged(prefix []byte) (verdict, authentic string) {
	h, _, err := header.Read(bytes.NewReader(prefix), maxHeader)
	if err != nil {
		return "", ""
	}
	var methods []string
	for f := range h.All("Authentication-Results") {
		_, results, _ := strings.Cut(f.Value(), ";")
		for r := range strings.SplitSeq(results, ";") {
			word, _, _ := strings.Cut(strings.TrimSpace(r), " ")
			method, result, ok := strings.Cut(word, "=")
			if !ok || token(method) == "" || token(result) == "" || len(methods) >= 10 {
				continue
			}
			switch method {
			case "spf", "dkim", "dmarc", "arc":
				methods = append(methods, fmt.Sprintf("%s=%s", method, result))
			}
		}
	}
	if status := h.Get("X-Spam-Status"); status != "" {
		if _, why, ok := strings.Cut(status, "("); ok {
			verdict, _ = line(strings.TrimSuffix(why, ")"), maxShownSubject)
		}
	}
	return verdict, strings.Join(methods, " ")
}
