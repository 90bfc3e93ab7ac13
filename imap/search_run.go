package imap

import (
	"errors"
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
)

// maxSearchedHeader is how much of one header a search looks at.
const maxSearchedHeader = 256 << 10

// find runs a search: first over what is known of all messages, then over what the
// rows say of those for which that was not enough, and only then over texts. A
// message that has gone does not match, nor one that cannot be read.
func (c *conn) find(cmd *command, k *criteria) (*result, error) {
	q := c.compile(k)
	snap := c.sel.snap
	found := newResult(snap)
	var open []span // not decided yet
	var f facts
	s := &textSearch{q: q, f: &f}
	for seq, r := range snap.all(snap.everything()) {
		f.reset(q)
		f.pos, f.flags = int(seq)-1, r.flags
		switch q.ask(q.matcher, &f) {
		case holds:
			found.add(f.pos)
		case unknown:
			if n := len(open); n > 0 && open[n-1].hi == f.pos {
				open[n-1].hi++
			} else {
				open = append(open, span{f.pos, f.pos + 1})
			}
		}
	}
	progress := c.progress(cmd, snap.size)
	err := c.load(open, q.level, func(es []*entry) error {
		if err := progress.at(int(es[0].seq) - 1); err != nil {
			return err
		}
		for _, e := range es {
			if e.msg == nil {
				continue
			}
			f.reset(q)
			f.pos, f.flags, f.entry, f.read = int(e.seq)-1, e.row.flags, e, q.level
			v, err := c.examine(s)
			if cerr := c.ctx.Err(); cerr != nil {
				return cerr
			}
			if err != nil {
				c.log.Error("imap: searching a message", "mailbox", c.sel.id, "uid", e.row.uid, "err", err)
			} else if v == holds {
				found.add(f.pos)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// examine asks about one message, reading of it what it takes.
func (c *conn) examine(s *textSearch) (verdict, error) {
	q, f := s.q, s.f
	v := q.ask(q.matcher, f)
	if v != unknown {
		return v, nil
	}
	if q.wantsHeader(f) {
		x, _, err := f.entry.locate(nil, imap.PartSpecifierHeader)
		if err != nil {
			return fails, err
		}
		h, err := c.readHeader(f.entry, x)
		if err != nil {
			return fails, err
		}
		q.inHeader(h, f)
		s.header(h, true)
		if v = q.ask(q.matcher, f); v != unknown {
			return v, nil
		}
	}
	root, err := f.entry.structure()
	if err != nil {
		return fails, err
	}
	r := &partReader{c: c, e: f.entry}
	defer r.close()
	if err := s.part(r, root); err != nil && !errors.Is(err, errDecided) {
		return fails, err
	}
	f.all = true
	return q.ask(q.matcher, f), nil
}

// readHeader reads a header, or the beginning of a long one.
func (c *conn) readHeader(e *entry, x extent) (*header.Header, error) {
	x.n = min(x.n, maxSearchedHeader)
	rc, err := c.open(e, x)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	h, _, err := header.Read(rc, maxSearchedHeader+1)
	return h, err
}

// errDecided ends the reading of a message: the answer is known.
var errDecided = errors.New("imap: decided")

// A partReader reads parts of a message in order, through one reader where they lie
// near each other.
type partReader struct {
	c   *conn
	e   *entry
	rc  io.ReadCloser
	off int64 // of what rc gives next
}

// maxSkipped is how much is read and thrown away rather than opened anew.
const maxSkipped = 64 << 10

// at returns a reader of x, which is valid until the next call.
func (r *partReader) at(x extent) (io.Reader, error) {
	if skip := x.off - r.off; r.rc == nil || skip < 0 || skip > maxSkipped {
		r.close()
		rc, err := r.c.open(r.e, extent{x.off, -1})
		if err != nil {
			return nil, err
		}
		r.rc, r.off = rc, x.off
	} else if _, err := io.CopyN(io.Discard, r, skip); err != nil {
		return nil, err
	}
	return io.LimitReader(r, x.n), nil
}

func (r *partReader) Read(b []byte) (int, error) {
	n, err := r.rc.Read(b)
	r.off += int64(n)
	return n, err
}

func (r *partReader) close() {
	if r.rc != nil {
		r.rc.Close()
		r.rc = nil
	}
}

// part searches a part and those below it: text, names of attachments, and the
// headers of messages inside.
func (s *textSearch) part(r *partReader, p *message.Part) error {
	if err := r.c.ctx.Err(); err != nil {
		return err
	}
	prefix := int64(len(r.e.cold.Prefix))
	for _, list := range [][]message.Param{p.Params, p.DispositionParams} {
		for _, a := range list {
			if a.Name == "name" || a.Name == "filename" {
				s.text(a.Value, false)
			}
		}
	}
	if p.Envelope != nil {
		in := &p.Parts[0]
		h, err := r.c.readHeader(r.e, extent{in.HeaderStart + prefix, in.BodyStart - in.HeaderStart})
		if err != nil {
			return err
		}
		s.header(h, false)
	}
	for i := range p.Parts {
		if s.decided() {
			return errDecided
		}
		if err := s.part(r, &p.Parts[i]); err != nil {
			return err
		}
	}
	// Messages without a structure are text too, like reports of delivery.
	if len(p.Parts) > 0 || p.Type != "text" && p.Type != "message" {
		return nil
	}
	body, err := r.at(extent{p.BodyStart + prefix, p.End - p.BodyStart})
	if err != nil {
		return err
	}
	text := p.Text(body)
	if p.Subtype == "html" {
		text = message.PlainText(text)
	}
	return s.stream(text)
}
