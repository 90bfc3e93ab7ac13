package pop3

import "github.com/mailkeel/mailkeel/internal/linewriter"

// A writer gathers responses. They leave when the buffer is full, and when the
// connection is about to wait for the client: one that sends ten commands at once
// gets the ten answers at once. Errors stick; the command loop looks at them.
type writer struct{ linewriter.Writer }

// lost returns the error of the connection, if there was one.
func (w *writer) lost() error {
	if w.Err != nil {
		return lost{w.Err}
	}
	return nil
}

// release writes all and gives the buffer back.
func (w *writer) release() error { return w.Release() }

// raw writes s as it is.
func (w *writer) raw(s string) { w.Raw(s) }

func (w *writer) num(n int64) { w.Num(uint64(n)) }

// bytes writes any number of bytes.
func (w *writer) bytes(p []byte) { w.Bytes(p) }

// crlf ends a line that others of the same response follow.
func (w *writer) crlf() { w.raw("\r\n") }

// end ends a response.
func (w *writer) end() { w.End() }

// line writes a whole response.
func (w *writer) line(parts ...string) {
	for _, p := range parts {
		w.raw(p)
	}
	w.end()
}

// dot ends a response of several lines.
func (w *writer) dot() { w.line(".") }

func (w *writer) err(r *refusal) {
	if r.code != "" {
		w.line("-ERR [", r.code, "] ", r.text)
	} else {
		w.line("-ERR ", r.text)
	}
}

// inside reports whether a response was begun and not ended.
func (w *writer) inside() bool { return w.Inside() }

// abandon takes an unfinished response back. It reports false if part of it has
// left already: the connection is then of no more use.
func (w *writer) abandon() bool { return w.Abandon() }
