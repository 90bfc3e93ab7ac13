package mailview

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// A Kind is what a draft is written as.
type Kind uint8

const (
	New Kind = iota
	Reply
	ReplyAll
	Forward
)

var kinds = [...]string{New: "new", Reply: "reply", ReplyAll: "reply-all", Forward: "forward"}

// A Ref names a message.
type Ref struct {
	Folder store.MailboxID
	UID    store.UID
}

// A Draft is a message that is being written. It is a message in the folder with the
// role drafts, which each save replaces; what is attached lies there too, so that
// nothing else has to keep it.
type Draft struct {
	// UID is that of the last save in the Drafts folder; zero if there is none yet.
	UID store.UID
	// ID is the Message-ID that it will have, without < >. It stays the same from save
	// to save: whoever holds a Draft between requests keeps it, so that a Send that is
	// repeated does not send twice. Empty, and what is none, makes a new one.
	ID   string
	Re   Ref // what it answers or forwards; zero for a new message
	Kind Kind
	// To, Cc and Bcc are lists of addresses as they are typed, Text is plain.
	To, Cc, Bcc, Subject, Text string
	// Attachments are those of the last save, or those that a forward takes along.
	Attachments []Part
}

// An Upload is a file to attach. Name and Type may be anything. Open is called once, or
// for a message twice, one after the other. Size is what the uploader says, or zero.
type Upload struct {
	Name, Type string
	Open       func() (io.ReadCloser, error)
	Size       int64
}

// Limits of a draft.
const (
	maxSubject   = 2000 // bytes
	maxDraftText = 8 << 20
	maxEnclosed  = 500
)

// drafts returns the Drafts folder.
func (b *Box) drafts(ctx context.Context) (store.MailboxID, error) {
	f, err := b.RoleFolder(ctx, "drafts")
	return f.ID, err
}

// OpenDraft returns a draft that was saved, here or by another program, to be written
// on. store.ErrNotFound if it is not among the drafts.
func (b *Box) OpenDraft(ctx context.Context, uid store.UID) (Draft, error) {
	folder, err := b.drafts(ctx)
	if err != nil {
		return Draft{}, err
	}
	k, err := b.readable(ctx, folder, uid)
	if err != nil {
		return Draft{}, err
	}
	h, err := b.header(ctx, k)
	if err != nil {
		return Draft{}, err
	}
	d := Draft{UID: uid, ID: ownID(&k.env)}
	d.Kind, d.Re = parseLocal(h.Get(draftField))
	d.To, d.Cc, d.Bcc = typedList(k.env.To), typedList(k.env.Cc), typedList(k.env.Bcc)
	d.Subject, _ = line(message.DecodeHeader(k.env.Subject), maxSubject)
	l := layoutOf(&k.root)
	d.Attachments = l.own()
	for _, p := range l.outer() {
		part, html := p.part, p.html
		if p.plain != nil {
			part, html = p.plain, false
		}
		text, _, err := b.text(ctx, k, part, maxDraftText)
		if err != nil {
			return Draft{}, err
		}
		if html {
			text = htmlText(text, maxDraftText)
		}
		if d.Text != "" {
			d.Text += "\n"
		}
		if d.Text += text; len(d.Text) > maxDraftText {
			break
		}
	}
	d.Text = strings.TrimRight(d.Text, "\n")
	return d, nil
}

// outer are the texts of the message itself, not of those inside.
func (l *layout) outer() (out []piece) {
	inside := ""
	for _, p := range l.pieces {
		switch {
		case inside != "" && strings.HasPrefix(p.path, inside):
		case p.head:
			inside = p.path + "."
		default:
			out = append(out, p)
		}
	}
	return out
}

// enclosed are the attachments of the message itself, not of those inside; nor texts
// that are shown as well.
func (l *layout) enclosed() (out []leaf) {
	inside := ""
	for _, a := range l.attachments {
		if inside != "" && strings.HasPrefix(a.path, inside) || slices.ContainsFunc(l.pieces, func(p piece) bool { return p.path == a.path && !p.head }) {
			continue
		}
		if a.part.Envelope != nil {
			inside = a.path + "."
		}
		if out = append(out, a); len(out) == maxEnclosed {
			break
		}
	}
	return out
}

func (l *layout) own() (out []Part) {
	for _, a := range l.enclosed() {
		out = append(out, partOf(a))
	}
	return out
}

// typedList is a list of addresses as they are typed.
func typedList(list []message.Address) string {
	var all []string
	for _, a := range addresses(list, maxRecipients) {
		if s := a.String(); s != "" {
			all = append(all, s)
		} else if a.Name != "" {
			all = append(all, a.Name)
		}
	}
	return strings.Join(all, ", ")
}

// ownID is the Message-ID of a draft, if it can stay.
func ownID(e *message.Envelope) string {
	if ids := message.MessageIDs(e.MessageID); len(ids) == 1 && goodID(ids[0]) {
		return ids[0]
	}
	return ""
}

// goodID reports whether s is a Message-ID, without < >, that can be written (RFC 5322,
// 3.6.4) and is not too long.
func goodID(s string) bool {
	left, right, ok := strings.Cut(s, "@")
	if !ok || left == "" || right == "" || len(s) > 250 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(`<>()",;\`, s[i]) >= 0 {
			return false
		}
	}
	return true
}

// newID makes one.
func (b *Box) newID() string {
	host := b.mail.Hostname
	if _, domain := addr.Split(b.address); host == "" {
		host, _ = addr.Domain(domain)
	}
	if id := rand.Text() + "@" + host; goodID(id) {
		return id
	}
	return rand.Text() + "@localhost"
}

// local is the value of draftField.
func (d *Draft) local() string {
	if d.Kind == New || int(d.Kind) >= len(kinds) || d.Re == (Ref{}) {
		return ""
	}
	return fmt.Sprintf("%s %d %d", kinds[d.Kind], d.Re.Folder, d.Re.UID)
}

func parseLocal(s string) (Kind, Ref) {
	f := strings.Fields(s)
	if len(f) != 3 {
		return New, Ref{}
	}
	k := slices.Index(kinds[:], f[0])
	folder, err := strconv.ParseInt(f[1], 10, 64)
	uid, err2 := strconv.ParseUint(f[2], 10, 32)
	if k <= 0 || err != nil || err2 != nil {
		return New, Ref{}
	}
	return Kind(k), Ref{store.MailboxID(folder), store.UID(uid)}
}

// SaveDraft writes a draft to the Drafts folder, with what is attached to its former
// version but for the paths in drop, and what is added. The former version goes in the
// same step: if SaveDraft fails it is still there. What it returns is the draft with its
// new UID and attachments. Addresses are not judged. ErrTooLarge, store.ErrOverQuota,
// store.ErrLimit; store.ErrNoMessage if the former version has gone, because it was sent
// or saved meanwhile; store.ErrNotFound if what it forwards has.
func (b *Box) SaveDraft(ctx context.Context, d Draft, drop []string, add ...Upload) (Draft, error) {
	s, err := b.save(ctx, d, drop, add)
	if err != nil {
		return Draft{}, err
	}
	return s.draft, nil
}

// Attached returns what a save of d would take along: what is attached to its former
// version, or to what it forwards. It is for who shows a draft that could not be saved.
func (b *Box) Attached(ctx context.Context, d Draft) ([]Part, error) {
	ref := d.Re
	switch {
	case d.UID != 0:
		folder, err := b.drafts(ctx)
		if err != nil {
			return nil, err
		}
		ref = Ref{folder, d.UID}
	case d.Kind != Forward || d.Re == (Ref{}):
		return nil, nil
	}
	k, err := b.readable(ctx, ref.Folder, ref.UID)
	if err != nil {
		return nil, err
	}
	return layoutOf(&k.root).own(), nil
}

// A saved draft is one that was just written.
type saved struct {
	draft  Draft
	folder store.MailboxID
	known  *known
	letter *letter
}

func (b *Box) save(ctx context.Context, d Draft, drop []string, add []Upload) (*saved, error) {
	folder, err := b.drafts(ctx)
	if err != nil {
		return nil, err
	}
	l, err := b.letter(ctx, folder, &d)
	if err != nil {
		return nil, err
	}
	from, err := b.source(ctx, folder, &d, l)
	if err != nil {
		return nil, err
	}
	if from != nil {
		for _, a := range layoutOf(&from.root).enclosed() {
			if !slices.Contains(drop, a.path) {
				l.enclosed = append(l.enclosed, b.copied(ctx, from, a))
			}
		}
	}
	for _, u := range add {
		l.enclosed = append(l.enclosed, uploaded(u, len(l.enclosed)))
	}
	if len(l.enclosed) > maxEnclosed {
		return nil, fmt.Errorf("%w: %d attachments", store.ErrLimit, len(l.enclosed))
	}
	info, err := b.store(ctx, l)
	if err != nil {
		return nil, err
	}
	in := store.Append{Blob: info, Flags: []string{store.FlagDraft, store.FlagSeen}}
	var placed store.Placed
	if d.UID != 0 {
		placed, err = b.access.Replace(ctx, folder, d.UID, folder, in)
	} else {
		var all []store.Placed
		if all, err = b.access.Append(ctx, folder, in); err == nil {
			placed = all[0]
		}
	}
	if err != nil {
		return nil, err
	}
	k, err := b.readable(ctx, folder, placed.UID)
	if err != nil {
		return nil, err
	}
	d.UID, d.Attachments = placed.UID, layoutOf(&k.root).own()
	return &saved{draft: d, folder: folder, known: k, letter: l}, nil
}

// letter makes a letter of what was typed, and d what it is then.
func (b *Box) letter(ctx context.Context, folder store.MailboxID, d *Draft) (*letter, error) {
	s, err := b.Settings(ctx)
	if err != nil {
		return nil, err
	}
	for _, list := range []string{d.To, d.Cc, d.Bcc} {
		if len(list) > maxTyped {
			return nil, fmt.Errorf("%w: a list of %d bytes", store.ErrLimit, len(list))
		}
	}
	if len(d.Text) > maxDraftText {
		return nil, fmt.Errorf("%w: a text of %d bytes", ErrTooLarge, len(d.Text))
	}
	d.Text = settled(typed(d.Text)) // what is read of it later, so that it is the same
	d.Subject, _ = line(d.Subject, maxSubject)
	if !goodID(d.ID) {
		d.ID = b.newID()
	}
	return &letter{
		date: b.mail.now(), from: recipient{name: s.Name, addr: b.address},
		to: entries(d.To), cc: entries(d.Cc), bcc: entries(d.Bcc),
		subject: d.Subject, text: d.Text, messageID: d.ID, local: d.local(), maxSize: b.mail.maxMessage(),
	}, nil
}

// source returns the message whose attachments go along: the former version, or what is
// forwarded. From it, or from what is answered, l has its references.
func (b *Box) source(ctx context.Context, folder store.MailboxID, d *Draft, l *letter) (*known, error) {
	if d.UID != 0 {
		k, err := b.readable(ctx, folder, d.UID)
		if errors.Is(err, store.ErrNotFound) {
			return nil, store.ErrNoMessage
		} else if err != nil {
			return nil, err
		}
		l.inReplyTo, l.references = goodIDs(message.MessageIDs(k.env.InReplyTo)), goodIDs(k.env.References)
		return k, nil
	}
	if d.Kind == New || d.Re == (Ref{}) {
		return nil, nil
	}
	k, err := b.readable(ctx, d.Re.Folder, d.Re.UID)
	switch {
	case err == nil:
	case d.Kind != Forward && (errors.Is(err, store.ErrNotFound) || damaged(err)):
		return nil, nil // an answer goes without it
	default:
		return nil, err
	}
	refer(l, &k.env, d.Kind)
	if d.Kind != Forward {
		return nil, nil
	}
	return k, nil
}

// refer gives a letter its In-Reply-To and References (RFC 5322, 3.6.4).
func refer(l *letter, e *message.Envelope, kind Kind) {
	refs := e.References
	if before := message.MessageIDs(e.InReplyTo); len(refs) == 0 && len(before) == 1 {
		refs = before
	}
	own := message.MessageIDs(e.MessageID)
	if len(own) > 1 {
		own = own[:1]
	}
	own = goodIDs(own)
	l.references = goodIDs(append(slices.Clone(refs), own...))
	if kind != Forward {
		l.inReplyTo = own
	}
}

// goodIDs returns those of ids that can be written, each once: the first and the last
// ones, if they are many.
func goodIDs(ids []string) (out []string) {
	const most = 50
	for _, id := range ids {
		if goodID(id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if len(out) > most {
		out = append(out[:1:1], out[len(out)-most+1:]...)
	}
	return out
}

// copied is an attachment of another message, read from there.
func (b *Box) copied(ctx context.Context, k *known, a leaf) enclosure {
	p := partOf(a)
	return enclosure{name: p.Name, typ: enclosedType(p.Type), open: func() (io.ReadCloser, error) {
		_, rc, err := b.openLeaf(ctx, k, a)
		return rc, err
	}}
}

// uploaded is one that a person gave.
func uploaded(u Upload, n int) enclosure {
	e := enclosure{name: safeName(strings.ToValidUTF8(u.Name, "")), typ: enclosedType(u.Type), open: u.Open}
	if e.name == "" {
		e.name = fmt.Sprintf("file-%d%s", n+1, extension(e.typ))
	}
	return e
}

// enclosedType returns a type that an enclosure can have: without parameters, and
// nothing that has a structure of its own, but for messages.
func enclosedType(typ string) string {
	typ, _, _ = strings.Cut(typ, ";")
	main, sub, _ := strings.Cut(strings.TrimSpace(typ), "/")
	main, sub = token(main), token(sub)
	if main == "message" && sub == "global" {
		sub = "rfc822"
	}
	switch {
	case main == "" || sub == "" || main == "multipart" || main == "message" && sub != "rfc822":
		return "application/octet-stream"
	}
	return main + "/" + sub
}

// store writes a letter as a blob.
func (b *Box) store(ctx context.Context, l *letter) (blob.Info, error) {
	w, err := b.mail.Store.Blobs.Create(ctx)
	if err != nil {
		return blob.Info{}, err
	}
	defer w.Close()
	if err := l.write(w); err != nil {
		return blob.Info{}, err
	}
	return w.Commit()
}

// Discard removes a draft for good.
func (b *Box) Discard(ctx context.Context, uid store.UID) error {
	folder, err := b.drafts(ctx)
	if err != nil {
		return err
	}
	gone, err := b.access.Expunge(ctx, folder, uid)
	if err == nil && len(gone) == 0 {
		err = store.ErrNotFound
	}
	return err
}
