package mailview

import (
	"context"
	"io"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

// MaxText is how many bytes of text a Segment has.
const MaxText = 1 << 20

// A Message is one that is read.
type Message struct {
	Row
	Cc, Bcc, ReplyTo, Sender []Address
	MessageID                string   // without < >
	InReplyTo, References    []string // likewise
	Folder                   Folder
	// ListPost is where a mailing list takes answers (RFC 2369); empty without one.
	ListPost string
	// Body is what a reader sees, in order: texts, the best of alternatives, and the
	// headers of messages inside.
	Body []Segment
	// Attachments are what can be opened besides, images within the text among them
	// (Inline); at most 1,000.
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
	// Name is decoded and safe as the name of a file: never empty for an attachment.
	Name      string
	ContentID string // without < >
	// Size is how many bytes OpenPart gives, about; for encoded parts it is reckoned.
	Size   int64
	Inline bool // an image within the text, by its ContentID
}

// Message returns a message. It does not mark it as seen. store.ErrNotFound if it is
// not there.
func (b *Box) Message(ctx context.Context, folder store.MailboxID, uid store.UID) (*Message, error) {
	return nil, errNotYet
}

// OpenPart reads a part: its bytes with the transfer encoding taken off, a text in its
// own charset, a message inside as it is. store.ErrNotFound if there is none.
func (b *Box) OpenPart(ctx context.Context, folder store.MailboxID, uid store.UID, path string) (Part, io.ReadCloser, error) {
	return Part{}, nil, errNotYet
}

// OpenCID is OpenPart of the part with a Content-ID, which HTML names as "cid:".
func (b *Box) OpenCID(ctx context.Context, folder store.MailboxID, uid store.UID, cid string) (Part, io.ReadCloser, error) {
	return Part{}, nil, errNotYet
}

// OpenRaw reads a message as it came.
func (b *Box) OpenRaw(ctx context.Context, folder store.MailboxID, uid store.UID) (size int64, rc io.ReadCloser, err error) {
	return 0, nil, errNotYet
}

// Header returns all lines of a header as they came, in UTF-8 with LF, and without
// characters that are not seen; at most 256 KiB.
func (b *Box) Header(ctx context.Context, folder store.MailboxID, uid store.UID) (string, error) {
	return "", errNotYet
}
