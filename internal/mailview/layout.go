package mailview

import (
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/internal/message"
)

// Limits of what is shown of one message.
const (
	maxSegments    = 100
	maxAttachments = 1000
	maxInside      = 10 // messages within messages
)

// A layout is how a message is read: which of its parts are shown, in order, and what
// can be opened besides.
type layout struct {
	pieces      []piece
	attachments []leaf
	html        bool // some piece is
	inside      int
}

// A leaf is a part with its path.
type leaf struct {
	part *message.Part
	path string
	// inline says that it is an image that HTML may show; perhaps says so if there
	// turns out to be HTML.
	inline, perhaps bool
}

// A piece becomes a Segment.
type piece struct {
	leaf
	html, head bool
	plain      *message.Part // the plain version of html
}

// layoutOf lays out a message.
func layoutOf(root *message.Part) *layout {
	l := new(layout)
	l.message(root, "")
	for i := range l.attachments {
		a := &l.attachments[i]
		a.inline = a.inline || a.perhaps && l.html
	}
	return l
}

// hasAttachments reports whether there is something to open besides the text and what
// belongs to it.
func hasAttachments(root *message.Part) bool {
	if len(root.Parts) == 0 && readable(root) && root.Disposition != "attachment" {
		return false // most mail
	}
	for _, a := range layoutOf(root).attachments {
		if !a.inline && !signature(a.part) {
			return true
		}
	}
	return false
}

// signature reports whether a part only proves who wrote the others.
func signature(p *message.Part) bool {
	switch p.Subtype {
	case "pgp-signature", "pkcs7-signature", "x-pkcs7-signature":
		return p.Type == "application"
	}
	return false
}

// child is the path of the nth part, from zero.
func child(path string, n int) string {
	if path == "" {
		return strconv.Itoa(n + 1)
	}
	return path + "." + strconv.Itoa(n+1)
}

// message lays out the root of a message whose path is that of the part it is in (RFC
// 9051, 6.4.5.1).
func (l *layout) message(root *message.Part, path string) {
	if root.Type == "multipart" {
		l.part(root, path)
	} else {
		l.part(root, child(path, 0))
	}
}

func (l *layout) part(p *message.Part, path string) {
	switch {
	case p.Envelope != nil:
		l.attach(leaf{part: p, path: path})
		if l.inside < maxInside && len(l.pieces) < maxSegments {
			l.pieces = append(l.pieces, piece{leaf: leaf{part: p, path: path}, head: true})
			l.inside++
			l.message(&p.Parts[0], path)
			l.inside--
		}
	case p.Type == "multipart" && p.Subtype == "alternative":
		l.alternative(p, path)
	case p.Type == "multipart" && p.Subtype == "related":
		l.related(p, path)
	case len(p.Parts) > 0:
		for i := range p.Parts {
			l.part(&p.Parts[i], child(path, i))
		}
	default:
		l.single(leaf{part: p, path: path})
	}
}

// single lays out a part that has no parts.
func (l *layout) single(x leaf) {
	p := x.part
	if readable(p) && p.Disposition != "attachment" && len(l.pieces) < maxSegments {
		named := param(p.DispositionParams, "filename") != "" || param(p.Params, "name") != ""
		if p.End == p.BodyStart && !named {
			return
		}
		html := p.Subtype == "html"
		l.html = l.html || html
		l.pieces = append(l.pieces, piece{leaf: x, html: html})
		if !named {
			return
		}
	}
	x.perhaps = p.Type == "image" && p.ID != "" && p.Disposition == "inline"
	l.attach(x)
}

// readable reports whether a part is text that is shown.
func readable(p *message.Part) bool {
	if !p.KnownEncoding() {
		return false
	}
	switch p.Type + "/" + p.Subtype {
	case "text/plain", "text/html", "text/rfc822-headers", "message/delivery-status", "message/global-delivery-status",
		"message/disposition-notification":
		return true
	}
	return false
}

func (l *layout) attach(x leaf) {
	if len(l.attachments) < maxAttachments {
		l.attachments = append(l.attachments, x)
	}
}

// related shows the root of several parts that are one (RFC 2387).
func (l *layout) related(p *message.Part, path string) {
	root := 0
	if start := param(p.Params, "start"); start != "" {
		for i := range p.Parts {
			if p.Parts[i].ID == start {
				root = i
				break
			}
		}
	}
	l.part(&p.Parts[root], child(path, root))
	for i := range p.Parts {
		x := &p.Parts[i]
		switch {
		case i == root:
		case len(x.Parts) > 0:
			l.part(x, child(path, i))
		default:
			l.attach(leaf{part: x, path: child(path, i), inline: x.Type == "image" && x.ID != ""})
		}
	}
}

// How well an alternative can be shown.
const (
	unshown = iota
	plain
	rich
)

// shows returns how well a part can be shown.
func shows(p *message.Part) (best int) {
	if p.Type == "multipart" {
		for i := range p.Parts {
			best = max(best, shows(&p.Parts[i]))
		}
		return best
	}
	switch {
	case p.Type != "text" || p.Disposition == "attachment" || !p.KnownEncoding():
		return unshown
	case p.Subtype == "html":
		return rich
	case p.Subtype == "plain":
		return plain
	}
	return unshown
}

// plainOf returns the first plain text of a part.
func plainOf(p *message.Part) *message.Part {
	if p.Type == "text" && p.Subtype == "plain" && shows(p) == plain {
		return p
	}
	if p.Type != "multipart" {
		return nil
	}
	for i := range p.Parts {
		if found := plainOf(&p.Parts[i]); found != nil {
			return found
		}
	}
	return nil
}

// alternative shows the best of several versions: HTML before plain text, and of equals
// the last (RFC 2046, 5.1.4). What is no version of a text, like an invitation to a
// meeting, can be opened.
func (l *layout) alternative(p *message.Part, path string) {
	chosen, best := -1, unshown
	for i := range p.Parts {
		if s := shows(&p.Parts[i]); s >= best && s > unshown {
			chosen, best = i, s
		}
	}
	if chosen >= 0 {
		from := len(l.pieces)
		l.part(&p.Parts[chosen], child(path, chosen))
		if best == rich {
			l.version(p, chosen, from)
		}
	}
	for i := range p.Parts {
		if i != chosen {
			l.others(&p.Parts[i], child(path, i))
		}
	}
}

// version gives the first HTML from a piece on the plain text of another alternative.
func (l *layout) version(p *message.Part, chosen, from int) {
	for i := range l.pieces[from:] {
		x := &l.pieces[from+i]
		if !x.html || x.plain != nil {
			continue
		}
		for j := range p.Parts {
			if j != chosen && x.plain == nil {
				x.plain = plainOf(&p.Parts[j])
			}
		}
		return
	}
}

// others attaches what of an alternative that is not shown is no version of the text.
func (l *layout) others(p *message.Part, path string) {
	if p.Envelope == nil && len(p.Parts) > 0 {
		for i := range p.Parts {
			l.others(&p.Parts[i], child(path, i))
		}
		return
	}
	if p.Type == "text" && p.Disposition != "attachment" {
		switch p.Subtype {
		case "plain", "html", "enriched", "richtext", "x-amp-html", "watch-html":
			return
		}
	}
	l.attach(leaf{part: p, path: path, inline: p.Type == "image" && p.ID != ""})
}

// find returns the part with a path, or nil.
func find(root *message.Part, path string) *message.Part {
	p, in := root, root.Type == "multipart" // in says that numbers go to p's children
	if len(path) > 1000 {
		return nil
	}
	first := true
	for num := range strings.SplitSeq(path, ".") {
		n, err := strconv.Atoi(num)
		if err != nil || n < 1 || num != strconv.Itoa(n) {
			return nil
		}
		switch {
		case in:
		case first && n == 1: // of a message that has one part
			first = false
			continue
		case p.Envelope != nil && p.Parts[0].Type == "multipart":
			p = &p.Parts[0]
		case p.Envelope != nil && n == 1:
			p = &p.Parts[0]
			in, first = false, false
			continue
		default:
			return nil
		}
		if n > len(p.Parts) {
			return nil
		}
		p = &p.Parts[n-1]
		in, first = p.Type == "multipart", false
	}
	return p
}

// partOf describes a part.
func partOf(x leaf) Part {
	p := x.part
	out := Part{
		Path: x.path, Type: safeType(p), Name: partName(p, x.path), ContentID: contentID(p.ID),
		Size: p.End - p.BodyStart, Inline: x.inline,
	}
	if p.Type == "text" {
		out.Charset = token(param(p.Params, "charset"))
	}
	if p.Encoding == "base64" {
		out.Size = out.Size * 57 / 78 // lines of 76 letters
	}
	return out
}

func contentID(id string) string {
	id, _ = line(strings.Trim(id, "<> \t"), 300)
	return id
}

// safeType is a type that is a type.
func safeType(p *message.Part) string {
	if t, s := token(p.Type), token(p.Subtype); t != "" && s != "" {
		return t + "/" + s
	}
	return "application/octet-stream"
}

// token returns s in lower case if it is short and a name as those of types (RFC 6838,
// 4.2) and charsets are, and else nothing.
func token(s string) string {
	s = strings.ToLower(s)
	if len(s) > 127 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+:-") != "" {
		return ""
	}
	return s
}
