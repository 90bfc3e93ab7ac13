package imap

import (
	"context"
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// Limits on an APPEND of several messages.
const (
	maxMessages     = 1000
	maxTogether     = 4        // times MaxAppend, all of them
	perMessage      = 128      // bytes that each may add to the command, literals not counted
	stagedMessages  = 64       // whose contents are not known to be durable yet
	stagedBytes     = 1 << 20  // of those
	spoolBuffer     = 32 << 10 // bytes
	maxTrusted      = 64 << 10 // bytes that come unasked and are taken before it is known whether they may
	textTooBig      = "Message is too big"
	textCatenateBig = "Resulting message is too big" // RFC 4469, 5
)

// An intake takes the messages of an APPEND, or the one of a REPLACE, from the
// client to the store, where rows for them are written in the end.
type intake struct {
	c      *conn
	cmd    *command
	name   string       // where they go
	folder store.Folder // the same, once somebody looked
	ready  bool         // somebody has
	// trusted says that what comes unasked, and is small, may come: the client was not
	// refused the time before.
	trusted bool
	// credit is how much of the quota a message that is replaced gives back.
	credit int64

	ms     []store.Append
	total  int64 // bytes of all so far
	asked  int64 // bytes that are known to fit under the quota
	staged []blob.Stager
	queued int64 // bytes of staged
}

// most is how many bytes an APPEND may carry.
func (in *intake) most() int64 { return maxTogether * in.c.srv.maxAppend() }

// close gives up what is not needed any more.
func (in *intake) close() {
	for _, w := range in.staged {
		w.Close()
	}
	in.staged, in.queued = nil, 0
}

// another makes ready for one message more. What came so far becomes durable before
// it fills memory or takes too many files.
func (in *intake) another() error {
	if len(in.ms) >= maxMessages {
		return no(imap.ResponseCodeLimit, "Too many messages at once")
	}
	in.cmd.left = min(in.cmd.left+perMessage, maxCommand)
	in.cmd.streamed = max(in.cmd.streamed, in.most()-in.total)
	if len(in.staged) < stagedMessages && in.queued < stagedBytes {
		return nil
	}
	for _, w := range in.staged {
		if err := w.Wait(); err != nil {
			return spooling(err)
		}
	}
	in.close()
	for i := range in.ms {
		in.ms[i].Wait, in.ms[i].Open = nil, nil
	}
	return nil
}

// message reads append-message (RFC 4466, 3): flags and a date if they are given,
// and the data as a literal, a literal8 (RFC 3516), UTF8 (RFC 6855, 4) or CATENATE
// (RFC 4469).
func (in *intake) message() error {
	cmd := in.cmd
	var m store.Append
	if cmd.peek() == '(' {
		m.Flags = cmd.flags()
		cmd.sp()
	}
	if cmd.peek() == '"' {
		m.Received = storable(cmd.dateTime())
		cmd.sp()
	}
	w := &spool{in: in, tooBig: textTooBig}
	defer w.close()
	var err error
	if cmd.word("CATENATE") {
		cmd.sp()
		w.tooBig = textCatenateBig
		err = in.catenate(w)
	} else {
		err = in.data(w)
	}
	if err != nil {
		return err
	}
	if w.size == 0 {
		return no(imap.ResponseCodeCannot, "Message is empty")
	}
	return in.stage(w, m)
}

// data reads a literal, perhaps as UTF8 ( ), into w.
func (in *intake) data(w *spool) error {
	cmd := in.cmd
	wrapped := cmd.word("UTF8")
	if wrapped {
		cmd.sp()
		cmd.want('(')
	}
	if !cmd.atLiteral() {
		cmd.fail("expected a literal")
	}
	switch {
	case cmd.err != nil:
		return cmd.err
	case wrapped && (!in.c.unicode() || !cmd.lit.binary):
		return bad("UTF8 needs a literal8, and UTF8=ACCEPT to be enabled")
	}
	if err := w.literal(); err != nil {
		return err
	}
	if wrapped {
		cmd.want(')')
	}
	return cmd.err
}

// stage has what w holds made durable, now or until the rows are committed.
func (in *intake) stage(w *spool, m store.Append) (err error) {
	if st, ok := w.w.(blob.Stager); ok { // durable while the rows are written
		m.Blob, err = st.Stage()
		m.Wait, m.Open = st.Wait, func(context.Context) (io.ReadCloser, error) { return st.Open() }
		in.staged, in.queued, w.w = append(in.staged, st), in.queued+w.size, nil
	} else {
		m.Blob, err = w.w.Commit()
	}
	in.ms = append(in.ms, m)
	return spooling(err)
}

// start has what came made durable while rows are made for it, unless others are being
// made durable: it is then one of the next.
func (in *intake) start() {
	if n := len(in.staged); n > 0 {
		if st, ok := in.staged[n-1].(blob.Starter); ok { // and with it those before
			st.Start()
		}
	}
}

// trusts reports whether n bytes that are next are taken without a look at whether they
// may come. To look takes a good part of the time that a small message takes.
func (in *intake) trusts(s *spool, n int64) bool {
	return in.trusted && !in.ready && in.cmd.lit.nonSyn && s.size+n <= in.c.srv.maxAppend() && in.total+n <= min(maxTrusted, in.most())
}

// may refuses n bytes more in a message that has some already.
func (in *intake) may(w *spool, n int64) error {
	if !in.ready {
		f, err := in.c.folder(in.name)
		if err != nil {
			return tryCreate(err)
		}
		in.folder, in.ready = f, true
	}
	switch {
	case n > in.c.srv.maxAppend()-w.size:
		return no(imap.ResponseCodeTooBig, w.tooBig)
	case n > in.most()-in.total:
		return no(imap.ResponseCodeLimit, "Messages are too big together")
	}
	if size := in.total + n; in.asked == 0 || size > in.asked {
		if err := in.c.mayAppend(in.folder, size, len(in.ms)+1, in.credit); err != nil {
			return err
		}
		in.asked = size
	}
	return nil
}

// A spool is one message on its way from the client.
type spool struct {
	in     *intake
	w      blob.Writer // nil before the first byte, and when another has it
	size   int64
	tooBig string
}

func (s *spool) close() {
	if s.w != nil {
		s.w.Close()
	}
}

// open makes w, once it is known that the message may come.
func (s *spool) open() (err error) {
	if s.w == nil {
		s.w, err = s.in.c.srv.Store.Blobs.Create(s.in.c.ctx)
	}
	return spooling(err)
}

// literal asks the client for the literal that is next, and takes it and the line
// after it.
func (s *spool) literal() error {
	in, cmd := s.in, s.in.cmd
	n := cmd.lit.size
	if n == 0 && s.tooBig == textTooBig { // how a client gives up (RFC 3502, 6.3.11)
		return no(imap.ResponseCodeCannot, "Message is empty")
	}
	if !in.trusts(s, n) {
		if err := in.may(s, n); err != nil {
			return err
		}
	}
	if err := s.open(); err != nil {
		return err
	}
	cmd.accept()
	broken, err := receive(s.w, cmd.in, n)
	if err != nil {
		return err
	}
	s.size, in.total = s.size+n, in.total+n
	if cmd.next(); cmd.err != nil {
		return cmd.err
	}
	return spooling(broken)
}

// receive copies n bytes from a client. When they cannot be written it reads on,
// because they are coming anyway, and says so in broken; err is of the client.
func receive(w io.Writer, r io.Reader, n int64) (broken, err error) {
	buf := make([]byte, min(n, spoolBuffer))
	for n > 0 {
		k, err := r.Read(buf[:min(n, int64(len(buf)))])
		n -= int64(k)
		if k > 0 && broken == nil {
			_, broken = w.Write(buf[:k])
		}
		if err != nil && n > 0 {
			return broken, err
		}
	}
	return broken, nil
}
