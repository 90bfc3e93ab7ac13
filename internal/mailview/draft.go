package mailview

import (
	"context"
	"io"

	"github.com/mailkeel/mailkeel/store"
)

// A Kind is what a draft is written as.
type Kind uint8

const (
	New Kind = iota
	Reply
	ReplyAll
	Forward
)

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
	// repeated does not send twice. Empty makes a new one.
	ID   string
	Re   Ref // what it answers or forwards; zero for a new message
	Kind Kind
	// To, Cc and Bcc are lists of addresses as they are typed, Text is plain.
	To, Cc, Bcc, Subject, Text string
	// Attachments are those of the last save, or those that a forward takes along.
	Attachments []Part
}

// An Upload is a file to attach. Name and Type may be anything; Open is called once, by
// one goroutine. Size is what the uploader says, or zero.
type Upload struct {
	Name, Type string
	Open       func() (io.ReadCloser, error)
	Size       int64
}

// Start returns a draft, not saved yet: of a new message (of is then zero), or one that
// answers or forwards the message of, with its text quoted in the language of the
// Settings, its subject, and its recipients without oneself. The attachments of a
// message that is forwarded go along.
func (b *Box) Start(ctx context.Context, kind Kind, of Ref) (Draft, error) {
	return Draft{}, errNotYet
}

// OpenDraft returns a draft that was saved, here or by another program, to be written
// on. store.ErrNotFound if it is not among the drafts.
func (b *Box) OpenDraft(ctx context.Context, uid store.UID) (Draft, error) {
	return Draft{}, errNotYet
}

// SaveDraft writes a draft to the Drafts folder, with what is attached to its former
// version but for the paths in drop, and what is added. The former version goes in the
// same step: if SaveDraft fails it is still there. What it returns is the draft with its
// new UID and attachments. Addresses are not judged. ErrTooLarge, store.ErrOverQuota;
// store.ErrNoMessage if the former version has gone (it was sent or saved meanwhile).
func (b *Box) SaveDraft(ctx context.Context, d Draft, drop []string, add ...Upload) (Draft, error) {
	return Draft{}, errNotYet
}

// Send saves a draft and submits it. If all recipients are taken the draft goes, and
// what it answers or forwards is marked. Before anything leaves: *AddressError,
// ErrNoRecipient, and the errors of SaveDraft. *SendError if some or all are refused:
// then the draft is kept, for those alone. A Send that is repeated with the same Draft
// does not send twice; if it has gone already it is store.ErrNoMessage.
func (b *Box) Send(ctx context.Context, d Draft, drop []string, add ...Upload) error {
	return errNotYet
}

// Discard removes a draft for good.
func (b *Box) Discard(ctx context.Context, uid store.UID) error { return errNotYet }

// An AddressError says that a text is no address.
type AddressError struct {
	Field string // "to", "cc" or "bcc"
	Text  string
}

func (e *AddressError) Error() string { return "mailview: no address: " + e.Text }

// A SendError says who did not get a message.
type SendError struct {
	// Refused are those of whom the server would not take it, or not now.
	Refused []Refusal
	// Sent is how many others it was sent to.
	Sent int
	// Draft is what is left: the message to those who are in Refused.
	Draft Draft
}

// A Refusal says why a message was not taken for an address.
type Refusal struct {
	Addr   string
	Reason string // for people, on one line, in the words of the server that refused
	// Temporary means that it may be taken later.
	Temporary bool
	Err       error
}

func (e *SendError) Error() string {
	if len(e.Refused) == 0 {
		return "mailview: not sent"
	}
	return "mailview: not sent to " + e.Refused[0].Addr + ": " + e.Refused[0].Reason
}
