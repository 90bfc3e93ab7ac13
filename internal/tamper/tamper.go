// Package tamper lets package mailtest take the place of a door at any point of a
// dialog, so that a test sees what its program does when a server fails. Doors ask a
// Hook where they have one, and cost nothing where they have none.
package tamper

import (
	"context"
	"io"
)

// A Tamper is what a door asks. Its zero value, and nil, change nothing.
type Tamper struct {
	Hook Hook
	// Record, if set, returns what hears all that is said on a connection, above
	// TLS.
	Record func(door, local string) Recorder
}

// A Recorder hears what was read from the client, or written by the server. It does
// not keep p. It is called from several goroutines, not at once for one direction.
type Recorder func(server bool, p []byte)

// Recorder returns that of a connection; nil if nobody listens.
func (t *Tamper) Recorder(door, local string) Recorder {
	if t == nil || t.Record == nil {
		return nil
	}
	return t.Record(door, local)
}

// Ask is Hook at a moment, if there is one.
func (t *Tamper) Ask(ctx context.Context, m Moment) *Act {
	if t == nil || t.Hook == nil {
		return nil
	}
	return t.Hook(ctx, m)
}

// Note tells a Recorder, if there is one.
func (r Recorder) Note(server bool, p []byte) {
	if r != nil && len(p) > 0 {
		r(server, p)
	}
}

// Writer is w, and tells r of what is written.
func (r Recorder) Writer(w io.Writer) io.Writer {
	if r == nil {
		return w
	}
	return &writer{w, r}
}

type writer struct {
	io.Writer
	r Recorder
}

func (w *writer) Write(p []byte) (int, error) {
	w.r.Note(true, p)
	return w.Writer.Write(p)
}

// Points of a dialog that are not commands.
const (
	Connect = "CONNECT" // before the greeting
	Content = "CONTENT" // a message has come, before anything is done with it
	Taken   = "TAKEN"   // it is filed or queued, before the client is told
	Idling  = "IDLING"  // IDLE was answered
)

// A Moment is where a dialog is.
type Moment struct {
	Door  string   // "smtp", "lmtp", "submission", "imap", "pop3"
	Local string   // the address of the listener, host:port
	Point string   // one of those above, or a command in upper case
	Arg   string   // what follows the command on its line, as far as it was read
	Login string   // the account, if somebody has logged in
	From  string   // the reverse-path of the transaction
	To    []string // its recipients so far
	Size  int64    // of the message, at Content and Taken
	// Flush sends the answers to what the client has said before.
	Flush func()
}

// An Act takes the place of what the door would do.
type Act struct {
	// Reply are lines without line ends. In IMAP those that do not begin with
	// "*" or "+" get the tag of the command.
	Reply []string
	// Raw goes out after them as it is.
	Raw   []byte
	Close bool // the connection ends
}

// A Hook is asked at each Moment, from the goroutine of the connection; ctx is done
// when that ends. It may take its time. Nil means that the door goes on as usual.
type Hook func(ctx context.Context, m Moment) *Act
