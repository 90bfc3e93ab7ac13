package message

import (
	"bytes"
	"strings"
)

// A field is one that Parse keeps.
type field uint8

const (
	none field = iota
	contentType
	contentID
	contentDescription
	contentEncoding
	contentMD5
	contentLocation
	contentLanguage
	contentDisposition
	typeAgain        // further fields of one that ought to be there once, for ParseNames
	dispositionAgain // likewise
	date             // here begin those of an envelope
	subject
	messageID
	inReplyTo
	references
	from // here begin those that are lists of addresses
	sender
	replyTo
	to
	cc
	bcc
	nFields
)

// fieldOf returns which field has this name, and its bit among the usual ones.
func fieldOf(name []byte) (id field, usual uint8) {
	var room [longestUsual]byte
	low, ok := lower(name, &room)
	if !ok {
		return none, 0
	}
	return keptField(low), usualOf(string(low))
}

func keptField(low []byte) field {
	switch string(low) {
	case "content-type":
		return contentType
	case "content-id":
		return contentID
	case "content-description":
		return contentDescription
	case "content-transfer-encoding":
		return contentEncoding
	case "content-md5":
		return contentMD5
	case "content-location":
		return contentLocation
	case "content-language":
		return contentLanguage
	case "content-disposition":
		return contentDisposition
	case "date":
		return date
	case "subject":
		return subject
	case "message-id":
		return messageID
	case "in-reply-to":
		return inReplyTo
	case "references":
		return references
	case "from":
		return from
	case "sender":
		return sender
	case "reply-to":
		return replyTo
	case "to":
		return to
	case "cc":
		return cc
	case "bcc":
		return bcc
	}
	return none
}

// fields are the values of one header, unfolded. Of fields that occur twice the
// first counts; but those with addresses count all, so that nobody is hidden behind
// another (From too: who checks one must not show the other). Their values are
// parted by line ends.
type fields struct {
	seen  [nFields]bool
	value [nFields][]byte
	all   bool // typeAgain and dispositionAgain are wanted
}

func (f *fields) reset() {
	clear(f.seen[:])
	for i := range f.value {
		f.value[i] = f.value[i][:0]
	}
}

// begin returns the field whose value is wanted, id or one of those that it has again.
func (f *fields) begin(id field, message bool) field {
	if f.all && f.seen[id] && (id == contentType || id == contentDisposition) {
		id = map[field]field{contentType: typeAgain, contentDisposition: dispositionAgain}[id]
		f.value[id] = append(f.value[id], '\n')
		return id
	}
	if id == none || f.seen[id] && id < from || id >= date && !message {
		return none
	}
	if f.seen[id] && len(f.value[id]) < maxList {
		f.value[id] = append(f.value[id], '\n')
	}
	f.seen[id] = true
	return id
}

// add appends a piece of a line to a value. Bytes that no string of IMAP may hold,
// and that would begin a new line elsewhere, become spaces.
func (f *fields) add(id field, piece []byte) {
	limit := maxField
	if id >= from {
		limit = maxList
	}
	if id == none || len(f.value[id]) >= limit {
		return
	}
	if n := len(piece); n > 0 && piece[n-1] == '\n' {
		piece = bytes.TrimRight(piece, "\r\n")
	}
	was := len(f.value[id])
	v := append(f.value[id], piece[:min(len(piece), limit-was)]...)
	for i, c := range v[was:] {
		if c == 0 || c == '\r' || c == '\n' {
			v[was+i] = ' '
		}
	}
	f.value[id] = v
}

// get returns a value without the spaces around it.
func (f *fields) get(id field) string { return string(bytes.Trim(f.value[id], " \t")) }

// describe fills part from the header at hand, and returns its boundary. A part
// without a type has the one given.
func (p *parser) describe(part *Part, typ, subtype string) (boundary string) {
	part.Type, part.Subtype, part.Encoding = typ, subtype, "7bit"
	if p.seen[contentType] {
		t, s, rest, ok := parseType(p.get(contentType), &p.steps)
		if !ok {
			t, s, rest = "text", "plain", ""
		}
		part.Type, part.Subtype = p.name(t, "application"), p.name(s, "octet-stream")
		params := parseParams(rest, &p.steps)
		boundary = strings.TrimRight(param(params, "boundary"), " \t")
		part.Params = p.keep(params)
	}
	if e, _ := parseToken(p.get(contentEncoding), &p.steps); e != "" {
		part.Encoding = p.name(e, "x-unknown")
	}
	if p.seen[contentDisposition] {
		d, rest := parseToken(p.get(contentDisposition), &p.steps)
		part.DispositionParams = p.keep(parseParams(rest, &p.steps))
		if d == "" && len(part.DispositionParams) > 0 {
			d = "attachment" // as what nobody knows (RFC 2183, 2.8)
		}
		part.Disposition = p.name(d, "attachment")
	}
	if p.found != nil {
		p.tell(part)
	}
	part.ID = p.text(p.get(contentID))
	part.Description = p.text(p.get(contentDescription))
	part.MD5 = p.text(p.get(contentMD5))
	part.Location = p.text(p.get(contentLocation))
	for tag := range strings.SplitSeq(p.get(contentLanguage), ",") {
		if tag = strings.Trim(tag, " \t"); tag != "" && len(part.Language) < maxParams {
			part.Language = append(part.Language, p.text(tag))
		}
	}
	return boundary
}

// name keeps a name, a usual one without a copy. What else stands for one that may
// not be kept any more.
func (p *parser) name(s, otherwise string) string {
	switch s {
	case "text", "plain", "html", "calendar", "multipart", "mixed", "alternative", "related", "signed", "report", "digest",
		"message", "rfc822", "global", "application", "octet-stream", "pdf", "image", "png", "jpeg", "gif",
		"7bit", "8bit", "binary", "base64", "quoted-printable", "attachment", "inline":
		return s
	case "":
		return ""
	}
	if s = p.text(s); s == "" {
		return otherwise
	}
	return s
}

func (p *parser) keep(params []Param) []Param {
	for i, a := range params {
		if p.kept -= len(a.Name) + len(a.Value); p.kept < 0 {
			p.kept = 0
			return cut(params, i)
		}
	}
	return params
}

// cut returns the first n of a list; none are nil.
func cut[T any](list []T, n int) []T {
	if n == 0 {
		return nil
	}
	return list[:n:n]
}

// envelope makes an Envelope of the header at hand.
func (p *parser) envelope() *Envelope {
	var empty Texts
	for i, id := range [...]field{date, subject, inReplyTo, messageID} {
		if p.seen[id] && p.get(id) == "" {
			empty |= 1 << i
		}
	}
	return &Envelope{
		Empty:      empty,
		Date:       p.text(p.get(date)),
		Subject:    p.text(p.get(subject)),
		MessageID:  p.text(p.get(messageID)),
		InReplyTo:  p.text(p.get(inReplyTo)),
		References: p.references(),
		From:       p.addresses(from),
		Sender:     p.addresses(sender),
		ReplyTo:    p.addresses(replyTo),
		To:         p.addresses(to),
		Cc:         p.addresses(cc),
		Bcc:        p.addresses(bcc),
	}
}

func (p *parser) addresses(id field) []Address {
	if len(p.value[id]) == 0 {
		return nil
	}
	var list []Address
	for line := range strings.SplitSeq(p.get(id), "\n") {
		list = append(list, parseAddresses(line, &p.steps)...)
		if len(list) > maxAddrs {
			list = list[:maxAddrs]
			break
		}
	}
	for i, a := range list {
		if p.kept -= len(a.Name) + len(a.Mailbox) + len(a.Host); p.kept < 0 {
			p.kept = 0
			return cut(list, i)
		}
	}
	return list
}

// references returns the first and the last message IDs: the root of the thread
// and the nearest ancestors.
func (p *parser) references() []string {
	s := p.get(references)
	p.steps += int64(len(s))
	ids := MessageIDs(s)
	if len(ids) > maxReferences {
		ids = append(ids[:1:1], ids[len(ids)-maxReferences+1:]...)
	}
	for i, id := range ids {
		ids[i] = p.text(id)
	}
	return ids
}

const maxReferences = 100

// MessageIDs returns the message IDs in the value of a Message-ID, In-Reply-To or
// References field, without < > and spaces. What is not between < > is passed over.
func MessageIDs(s string) (ids []string) {
	for {
		_, rest, ok := strings.Cut(s, "<")
		if !ok {
			return ids
		}
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return ids
		}
		id := rest[:end]
		if i := strings.LastIndexByte(id, '<'); i >= 0 { // the one before was cut off
			id = id[i+1:]
		}
		if id = strings.Join(strings.Fields(id), ""); id != "" {
			ids = append(ids, id)
		}
		s = rest[end+1:]
	}
}
