package pop3

import (
	"errors"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// errNoMessage is for numbers without a message, or whose message another session
// has removed.
var errNoMessage = no("", "No such message")

// errShort means that the bytes of a message are not as many as its row says.
var errShort = errors.New("pop3: message is not as long as it should be")

// translate turns any other error of a command into what the client is told, in
// general terms, with a code that says whether to try again (RFC 3206).
func (c *conn) translate(err error) *refusal {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &refusal{text: "No such message"}
	case errors.Is(err, store.ErrDamaged), errors.Is(err, blob.ErrNotFound), errors.Is(err, blob.ErrDamaged), errors.Is(err, errShort):
		c.log.Error("pop3: damaged message", "err", err)
		return &refusal{code: "SYS/PERM", text: "The message is damaged on the server and cannot be read"}
	}
	c.log.Error("pop3: command failed", "err", err)
	return &refusal{code: "SYS/TEMP", text: "Temporary failure, try again later"}
}
