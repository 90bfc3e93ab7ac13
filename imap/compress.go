package imap

import (
	"bytes"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/klauspost/compress/flate"

	"github.com/mailkeel/mailkeel/internal/linewriter"
)

// compress is COMPRESS (RFC 4978). After its OK both sides speak DEFLATE. It comes
// after login only, so never before STARTTLS.
func (c *conn) compress(cmd *command) error {
	cmd.sp()
	name := cmd.keyword()
	if err := cmd.end(); err != nil {
		return err
	}
	switch {
	case name != "DEFLATE":
		return bad("Unknown compression mechanism")
	case c.compressed:
		return no(codeCompressionActive, "DEFLATE is active already")
	case !c.srv.Compress:
		return no(imap.ResponseCodeCannot, "Compression is not offered")
	}
	cmd.text = "DEFLATE active"
	if err := c.poll(cmd); err != nil {
		return err
	}
	c.ok(cmd)
	cmd.quiet, cmd.answered = true, true
	if err := c.w.release(); err != nil {
		return lost{err}
	}
	c.compressed = true
	c.w.W = deflater{c.net}
	c.in.inflate()
	return nil
}

// inflate has what the client sends from here on decompressed, after it was waited
// for: a Read that is woken leaves the stream as it is. Each block is given on
// when it ends, so that a partial flush will do. What comes of it meets the limits
// that hold for any input, so that a little cannot become much: the window and the
// tables are all that is held.
func (in *input) inflate() {
	early := make([]byte, in.br.buffered())
	_, _ = in.br.Read(early)
	src := io.MultiReader(bytes.NewReader(early), source{in})
	in.br.reset()
	in.br.src = flate.NewReaderOpts(src, flate.WithPartialBlock())
}

// A deflater compresses what is written and sends it, all of it. Each piece is
// compressed by itself: nothing is kept between them, so that a connection that is
// silent costs nothing, and what one response says does not show in the length of
// another (CRIME).
type deflater struct{ w io.Writer }

// deflateBuffers are shared by all connections.
var deflateBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (d deflater) Write(p []byte) (n int, err error) {
	buf := deflateBuffers.Get().(*bytes.Buffer)
	defer deflateBuffers.Put(buf)
	for len(p) > 0 {
		k := min(len(p), linewriter.Chunk)
		buf.Reset()
		if err := flate.StatelessDeflate(buf, p[:k], false, nil); err != nil {
			return n, err
		}
		if _, err := d.w.Write(buf.Bytes()); err != nil {
			return n, err
		}
		n, p = n+k, p[k:]
	}
	return n, nil
}
