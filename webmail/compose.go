package webmail

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

const (
	maxHeader = 64 << 10 // bytes of a field of addresses
	maxText   = 900 << 10
	maxID     = 250
)

// composeView is what compose.html shows.
type composeView struct {
	mailview.Draft
	KindName string // "new", "reply", "replyall", "forward"
	Problem  string // what is wrong
	Field    string // where: "to", "cc", "bcc", or empty
	Refused  []mailview.Refusal
	Sent     int  // how many others it was sent to
	Lost     bool // files were chosen, and must be once more
	Max      int64
}

var kindNames = map[string]mailview.Kind{"new": mailview.New, "reply": mailview.Reply, "replyall": mailview.ReplyAll, "forward": mailview.Forward}

func kindName(k mailview.Kind) string {
	for name, kind := range kindNames {
		if kind == k {
			return name
		}
	}
	return "new"
}

func (h *Handler) maxMessage() int64 { return cmp.Or(h.MaxMessage, 25<<20) }

// maxFiles is what people are told that all files of a message may have, a little less
// than fits: 57 bytes are a line of 78 in base64, and there is a text, too.
func (h *Handler) maxFiles() int64 {
	n := h.maxMessage() / 78 * 57
	if n > 2_000_000 {
		n = (n/1_000_000 - 1) * 1_000_000
	}
	return n
}

// composePage begins a message: ?kind=reply&folder=1&uid=2, or ?to= for a new one.
func (rq *request) composePage() error {
	q := rq.r.URL.Query()
	kind, ok := kindNames[cmp.Or(q.Get("kind"), "new")]
	if !ok {
		return status(http.StatusNotFound)
	}
	var of mailview.Ref
	if kind != mailview.New {
		folder, err := folderID(q.Get("folder"))
		if err != nil {
			return err
		}
		uid, err := uidOf(q.Get("uid"))
		if err != nil {
			return err
		}
		of = mailview.Ref{Folder: folder, UID: uid}
	}
	d, err := rq.box.Start(rq.ctx(), kind, of)
	if err != nil {
		return err
	}
	if kind == mailview.New {
		d.To, d.Subject = oneLine(q.Get("to")), oneLine(q.Get("subject"))
	}
	return rq.composing(http.StatusOK, composeView{Draft: d})
}

// draftPage writes on a draft.
func (rq *request) draftPage() error {
	uid, err := uidOf(rq.r.PathValue("uid"))
	if err != nil {
		return err
	}
	d, err := rq.box.OpenDraft(rq.ctx(), uid)
	if err != nil {
		return err
	}
	return rq.composing(http.StatusOK, composeView{Draft: d})
}

func (rq *request) composing(code int, v composeView) error {
	v.KindName, v.Max = kindName(v.Kind), rq.h.maxFiles()
	return rq.show(code, "compose", v)
}

// typed is the draft that a form holds, and what is to be left out of it and added.
func (rq *request) typed() (d mailview.Draft, drop []string, add []mailview.Upload, err error) {
	d.Kind = kindNames[rq.form.Get("kind")]
	d.To, d.Cc, d.Bcc, d.Subject = rq.value("to"), rq.value("cc"), rq.value("bcc"), rq.value("subject")
	d.Text = lines(rq.form.Get("text"))
	d.ID = rq.value("id")
	d.UID = optionalUID(rq.form.Get("uid"))
	if folder, err := folderID(rq.form.Get("re-folder")); err == nil {
		d.Re = mailview.Ref{Folder: folder, UID: optionalUID(rq.form.Get("re-uid"))}
	}
	if d.Re.UID == 0 {
		d.Re = mailview.Ref{}
	}
	if len(d.To) > maxHeader || len(d.Cc) > maxHeader || len(d.Bcc) > maxHeader || len(d.Subject) > maxHeader || len(d.Text) > maxText || len(rq.form["drop"]) > maxFiles {
		return d, nil, nil, status(http.StatusRequestEntityTooLarge)
	}
	if !goodID(d.ID) {
		return d, nil, nil, status(http.StatusBadRequest)
	}
	drop = rq.form["drop"]
	if rq.files != nil {
		add = rq.files.files
	}
	return d, drop, add, nil
}

// goodID reports whether a form may name this Message-ID. Empty makes a new one.
func goodID(s string) bool {
	if len(s) > maxID {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7F || strings.IndexByte("<>()[]\\,;:\"", c) >= 0 {
			return false
		}
	}
	return s == "" || strings.Count(s, "@") == 1
}

// compose saves, sends or discards what was typed. Whatever fails, it is shown again.
func (rq *request) compose() error {
	d, drop, add, err := rq.typed()
	if err != nil {
		return err
	}
	ctx := rq.ctx()
	do := rq.form.Get("do")
	if rq.files != nil && rq.files.tooLarge && do != "discard" {
		return rq.again(d, true, mailview.ErrTooLarge)
	}
	switch do {
	case "save", "attach":
		saved, err := rq.box.SaveDraft(ctx, d, drop, add...)
		if err != nil {
			return rq.again(d, len(add) > 0, err)
		}
		return rq.redirect("/compose/"+strconv.FormatUint(uint64(saved.UID), 10), "done", "saved")
	case "send":
		if err := rq.box.Send(ctx, d, drop, add...); err != nil {
			return rq.again(d, len(add) > 0, err)
		}
		return rq.leave("sent")
	case "discard":
		if d.UID != 0 {
			if err := rq.box.Discard(ctx, d.UID); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrNoMessage) {
				return err
			}
		}
		return rq.leave("discarded")
	}
	return status(http.StatusBadRequest)
}

// leave goes to INBOX.
func (rq *request) leave(what string) error {
	inbox, err := rq.box.RoleFolder(rq.ctx(), "inbox")
	if err != nil {
		return err
	}
	return rq.redirect(folderPath(inbox.ID), "done", what)
}

// again shows what was typed once more, and what is wrong.
func (rq *request) again(d mailview.Draft, lost bool, err error) error {
	v := composeView{Draft: d, Lost: lost}
	var address *mailview.AddressError
	var send *mailview.SendError
	code := http.StatusUnprocessableEntity
	switch {
	case errors.As(err, &address):
		v.Field = address.Field
		v.Problem = rq.words.t("compose.badaddress", oneLine(address.Text))
	case errors.Is(err, mailview.ErrNoRecipient):
		v.Field = "to"
		v.Problem = rq.words.t("compose.norecipient")
	case errors.As(err, &send):
		v.Draft, v.Refused, v.Sent, v.Lost = send.Draft, send.Refused, send.Sent, false
		v.Problem = rq.words.t("compose.refused")
		if send.Sent > 0 {
			v.Problem = rq.words.tn("compose.partly", send.Sent)
		}
	case errors.Is(err, store.ErrNoMessage), errors.Is(err, store.ErrNotFound):
		// It was sent or saved in another window. The text is here.
		v.UID, v.ID, v.Attachments = 0, "", nil
		v.Problem, code = rq.words.t("compose.gone"), http.StatusConflict
	case errors.Is(err, mailview.ErrTooLarge):
		v.Problem, code = rq.words.t("compose.toolarge", rq.words.size(rq.h.maxFiles())), http.StatusRequestEntityTooLarge
	case errors.Is(err, store.ErrOverQuota):
		v.Problem, code = rq.words.t("compose.overquota"), http.StatusInsufficientStorage
	case statusOf(err) < 500:
		return err
	default:
		rq.h.log().Error("webmail: cannot save or send", "account", rq.account, "err", err)
		v.Problem, code = rq.words.t("compose.failed"), http.StatusServiceUnavailable
	}
	if v.Attachments == nil {
		if parts, err := rq.box.Attached(rq.ctx(), v.Draft); err == nil {
			v.Attachments = parts
		}
	}
	return rq.composing(code, v)
}
