package webmail

import (
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/charset"
	"github.com/mailkeel/mailkeel/internal/mailview"
)

// harmless are the types that a browser may show, and as what: what can hold neither
// scripts nor markup. All others are for keeping only.
var harmless = map[string]string{
	"image/png": "image/png", "image/jpeg": "image/jpeg", "image/jpg": "image/jpeg", "image/gif": "image/gif", "image/webp": "image/webp", "image/avif": "image/avif",
	"text/plain": "text/plain; charset=utf-8",
}

// part gives an attachment, to keep or, if it is harmless, to look at.
func (rq *request) part() error {
	at, err := rq.messageAt()
	if err != nil {
		return err
	}
	p, rc, err := rq.box.OpenPart(rq.ctx(), at.Folder, at.UID, rq.r.PathValue("path"))
	if err != nil {
		return err
	}
	defer rc.Close()
	return rq.sendPart(p, rc, rq.r.URL.Query().Get("look") != "")
}

func (rq *request) sendPart(p mailview.Part, rc io.Reader, look bool) error {
	kind := harmless[p.Type]
	if !look || kind == "" {
		return rq.send(rc, -1, "application/octet-stream", p.Name, false)
	}
	if p.Type == "text/plain" {
		rc = charset.NewReader(p.Charset, rc)
	}
	return rq.send(rc, -1, kind, p.Name, true)
}

// send streams a file. Its type is one that browsers do not open, or harmless.
func (rq *request) send(from io.Reader, size int64, kind, name string, look bool) error {
	h := rq.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", disposition(name, look))
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if rq.r.Method == http.MethodHead {
		return nil
	}
	// The first bytes come before the status, so that what cannot be read is an error
	// page and not an empty file.
	first := make([]byte, 32<<10)
	n, err := io.ReadFull(from, first)
	if n == 0 && err != nil && err != io.EOF {
		return err
	}
	rq.leaveSlot()
	if _, werr := rq.w.Write(first[:n]); werr != nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	if err == nil {
		_, err = io.Copy(writerOnly{rq.w}, from)
	}
	if err != nil && rq.ctx().Err() == nil {
		rq.h.log().Warn("webmail: a file broke off", "account", rq.account, "err", err)
		panic(http.ErrAbortHandler) // so that the browser knows that it is not whole
	}
	return nil
}

type writerOnly struct{ io.Writer }

// disposition is a Content-Disposition (RFC 6266) with a name that is nothing but one.
func disposition(name string, look bool) string {
	kind := "attachment"
	if look {
		kind = "inline"
	}
	if !utf8.ValidString(name) {
		name = strings.ToValidUTF8(name, "_")
	}
	name = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7F || strings.ContainsRune(`/\:*?"<>|%`, r) {
			return '_'
		}
		return r
	}, name)
	if s := mime.FormatMediaType(kind, map[string]string{"filename": name}); s != "" {
		return s
	}
	return kind
}
