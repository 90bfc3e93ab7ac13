package webmail

import (
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// frame is HTML of a message, cleaned, as a document of its own: without scripts, an
// origin, or the network.
func (rq *request) frame() error {
	at, err := rq.messageAt()
	if err != nil {
		return err
	}
	m, err := rq.box.Message(rq.ctx(), at.Folder, at.UID)
	if err != nil {
		return err
	}
	remote, err := rq.mayRemote(at)
	if err != nil {
		return err
	}
	remote = remote || rq.settings.Remote
	keys, err := rq.imageKeys(at)
	if err != nil {
		return err
	}
	path := rq.r.PathValue("path")
	for _, s := range m.Body {
		if !s.HTML || s.Part.Path != path {
			continue
		}
		here := rq.h.Prefix + messagePath(at) + "/cid/"
		body := clean(s, remote, func(cid string) string {
			if !hasCID(m, cid) {
				return ""
			}
			return here + url.PathEscape(cid) + "?key=" + url.QueryEscape(keys(cid))
		}).HTML
		if remote {
			rq.w.Header().Set("Content-Security-Policy", remoteFramePolicy)
			rq.w.Header().Set("Cross-Origin-Embedder-Policy", "credentialless") // images are asked for without cookies
		}
		rq.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		doc := `<!doctype html><html lang="` + template.HTMLEscapeString(rq.words.lang) + `"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light"><title>` +
			template.HTMLEscapeString(m.Subject) + `</title><style>` + frameStyle + `</style></head><body>` + body + `</body></html>`
		rq.w.Header().Set("Content-Length", strconv.Itoa(len(doc)))
		rq.leaveSlot()
		_, err := rq.w.Write([]byte(doc))
		return ignore(err)
	}
	return store.ErrNotFound
}

// frameStyle is what HTML of mail takes for granted. Mail is written for light pages.
const frameStyle = `html{background:#fff;color:#000}body{margin:8px;font:15px/1.5 system-ui,sans-serif;overflow-wrap:break-word}img{max-width:100%;height:auto}pre{white-space:pre-wrap}blockquote{margin:0 0 0 8px;padding-left:8px;border-left:2px solid #ccc}body:has(>.m-body){margin:0}.m-body{box-sizing:border-box;min-height:100vh;padding:8px}` +
	// What was made for wide windows is made to fit narrow ones.
	`@media(max-width:36rem){table,tbody,tr,td,th,div,p{max-width:100%!important;min-width:0!important}table,td,th{width:auto!important}td,th{overflow-wrap:anywhere}img{max-width:calc(100vw - 16px)!important;height:auto!important}}`

func hasCID(m *mailview.Message, cid string) bool {
	for _, p := range m.Attachments {
		if cid != "" && p.ContentID == cid && strings.HasPrefix(harmless[p.Type], "image/") {
			return true
		}
	}
	return false
}

// ignore is for errors of writing to who has gone.
func ignore(error) error { return nil }

// inline is an image within HTML. The frame has no origin and sends no cookie, so its
// URL says who may have it: see capability.go.
func (rq *request) inline() error {
	at, err := rq.messageAt()
	if err != nil {
		return err
	}
	cid := rq.r.PathValue("cid")
	account, ok, err := rq.h.imageOf(rq.ctx(), rq.r.URL.Query().Get("key"), at, cid)
	if err != nil {
		return err
	}
	if !ok {
		return status(http.StatusNotFound)
	}
	p, rc, err := rq.h.mail.Of(account, "").OpenCID(rq.ctx(), at.Folder, at.UID, cid)
	if err != nil {
		return err
	}
	defer rc.Close()
	kind := harmless[p.Type]
	if !strings.HasPrefix(kind, "image/") {
		return status(http.StatusNotFound)
	}
	rq.w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin") // the frame has no origin
	return rq.send(rc, -1, kind, p.Name, true)
}
