// Package message finds, in one pass at delivery, what IMAP, JMAP and search ask
// about a message later: the envelope fields, the tree of parts with their
// offsets, and a preview.
//
// Parsing never fails because of what the bytes are: mail that breaks the rules
// is stored and shown too. Time and memory are linear; depth and number of parts
// are bounded.
package message

// Limits of what is parsed. What lies beyond is one opaque leaf: it is stored and
// can be fetched, but has no parts of its own.
const (
	MaxDepth = 100
	MaxParts = 10_000
)

// A Message is what one pass finds.
type Message struct {
	Envelope Envelope
	// Usual are the usual fields of the header in the form that EncodeEnvelope takes;
	// nil if there are none, or more than are kept. See AppendUsual.
	Usual []byte
	Root  Part
	// Preview is the beginning of the text as UTF-8, on one line, at most 256
	// characters (RFC 8970).
	Preview string
}

// An Envelope holds the fields of a header that ENVELOPE and threading need. Texts
// are as they stand in the header, unfolded, with encoded words left encoded.
type Envelope struct {
	Date, Subject         string
	From, Sender, ReplyTo []Address // empty if there is no such field
	To, Cc, Bcc           []Address
	InReplyTo, MessageID  string   // raw field values
	References            []string // message IDs without < >, the first and the last 99 at most
	// Empty are those texts whose field is there and says nothing.
	Empty Texts
}

// Texts are some of the fields of an Envelope that are texts.
type Texts uint8

const (
	DateText Texts = 1 << iota
	SubjectText
	InReplyToText
	MessageIDText
)

// An Address is one of a list, in the form of RFC 9051, 7.5.2: a Host of ""
// begins a group if Mailbox is its name, and ends it if that is "" too.
type Address struct {
	Name          string // as in the header, unquoted, encoded words left encoded
	Mailbox, Host string
}

// A Param is a parameter of a Content-Type or Content-Disposition field, its name
// in lower case. RFC 2231 continuations and charsets are joined and decoded.
type Param struct{ Name, Value string }

// A Part is a node of the MIME tree. Offsets count from the start of the parsed
// content.
type Part struct {
	Type, Subtype               string // lower case; text/plain if the field is missing or broken
	Params                      []Param
	ID, Description, Encoding   string // Encoding is lower case; "7bit" if missing
	MD5, Location               string
	Language                    []string
	Disposition                 string // lower case; empty if missing
	DispositionParams           []Param
	HeaderStart, BodyStart, End int64 // header is [HeaderStart,BodyStart), body [BodyStart,End)
	Lines                       int64 // lines of the body
	// Envelope is set for message/rfc822 and message/global, whose only child
	// is the root of the message inside.
	Envelope *Envelope
	Parts    []Part // children of a multipart, never empty for one
}
