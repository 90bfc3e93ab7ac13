package imap

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// Response codes that go-imap has no name for.
const (
	codeExpungeIssued     = imap.ResponseCode("EXPUNGEISSUED")
	codeCompressionActive = imap.ResponseCode("COMPRESSIONACTIVE") // RFC 4978, 3
)

// errGone is the answer to sequence numbers of messages that others have expunged
// and of which the client could not be told yet (RFC 5530). UIDs that no message
// has are no error.
var errGone = no(codeExpungeIssued, "Some messages have gone")

// errClosed means that nothing more can be said to the client.
var errClosed = errors.New("imap: connection closed")

// bad is the answer to what cannot be understood.
func bad(text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Text: text}
}

// no is the answer to what cannot be done.
func no(code imap.ResponseCode, text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

// bye ends the connection, with code and text as its last words.
func bye(code imap.ResponseCode, text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeBye, Code: code, Text: text}
}

// answer turns any error of a command into what the client is told. What is not
// meant for clients is told in general terms, and internal is true so that it is
// logged.
func answer(err error) (e *imap.Error, internal bool) {
	say := func(code imap.ResponseCode, text string) (*imap.Error, bool) {
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}, false
	}
	switch {
	case errors.As(err, &e):
		return e, false
	case errors.Is(err, store.ErrNotFound):
		return say(imap.ResponseCodeNonExistent, "No such mailbox")
	case errors.Is(err, store.ErrExists):
		return say(imap.ResponseCodeAlreadyExists, "Mailbox already exists")
	case errors.Is(err, store.ErrOverQuota):
		return say(imap.ResponseCodeOverQuota, "Over quota")
	case errors.Is(err, store.ErrInvalid):
		return say(imap.ResponseCodeCannot, "Not possible")
	case errors.Is(err, store.ErrLimit):
		return say(imap.ResponseCodeLimit, "Limit reached")
	case errors.Is(err, store.ErrDenied):
		return say(imap.ResponseCodeNoPerm, "Permission denied")
	case errors.Is(err, store.ErrDamaged), errors.Is(err, blob.ErrNotFound), errors.Is(err, message.ErrCorrupt):
		e, _ = say(imap.ResponseCodeServerBug, "A message is damaged on the server and cannot be read; its administrator can look with the command check")
		return e, true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		e, _ = say(imap.ResponseCodeUnavailable, "Server is shutting down")
	} else {
		e, _ = say(imap.ResponseCodeUnavailable, "Temporary failure, try again later")
	}
	return e, true
}

// tryCreate is for commands that name a mailbox to put messages into (RFC 9051,
// 6.3.12): if it does not exist, the client may make it.
func tryCreate(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return no(imap.ResponseCodeTryCreate, "No such mailbox")
	}
	return err
}
