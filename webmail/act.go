package webmail

import (
	"net/http"
	"strconv"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// maxChosen is how many messages one form may name.
const maxChosen = 1000

// act does one thing to messages of a folder: those that were ticked in a list, or the
// one that is read.
func (rq *request) act() error {
	folder, err := rq.folderID()
	if err != nil {
		return err
	}
	if len(rq.form["uid"]) > maxChosen {
		return status(http.StatusRequestEntityTooLarge)
	}
	var uids []store.UID
	for _, s := range rq.form["uid"] {
		uid, err := uidOf(s)
		if err != nil {
			return status(http.StatusBadRequest)
		}
		uids = append(uids, uid)
	}
	if _, err := rq.box.Folder(rq.ctx(), folder); err != nil {
		return err
	}
	do := rq.form.Get("do")
	n, stays := 0, true
	ctx, b := rq.ctx(), rq.box
	switch {
	case !actions[do]:
		return status(http.StatusBadRequest)
	case len(uids) == 0:
		do = "none"
	case do == "read", do == "unread":
		n, err = b.Mark(ctx, folder, mailview.Seen, do == "read", uids...)
	case do == "flag", do == "unflag":
		n, err = b.Mark(ctx, folder, mailview.Flagged, do == "flag", uids...)
	case do == "junk", do == "notjunk":
		stays = false
		n, err = b.MarkJunk(ctx, folder, do == "junk", uids...)
	case do == "delete":
		stays = false
		n, err = b.Delete(ctx, folder, uids...)
	case do == "move":
		stays = false
		var to store.MailboxID
		if to, err = folderID(rq.form.Get("to")); err != nil {
			do = "none"
			err = nil
			break
		}
		n, err = b.Move(ctx, folder, to, uids...)
	}
	if err != nil {
		return err
	}
	count := ""
	if do != "none" {
		count = strconv.Itoa(n)
	}
	if rq.form.Get("back") == "message" && stays && do != "unread" && len(uids) == 1 {
		return rq.redirect(messagePath(messageAt{folder, uids[0]}), "done", do, "n", count)
	}
	return rq.redirect(folderPath(folder), "q", rq.value("q"), "before", uidText(rq.form.Get("before")), "after", uidText(rq.form.Get("after")), "done", do, "n", count)
}

var actions = map[string]bool{"read": true, "unread": true, "flag": true, "unflag": true, "junk": true, "notjunk": true, "delete": true, "move": true}

// uidText is s if it is a UID.
func uidText(s string) string {
	if uid := optionalUID(s); uid != 0 {
		return strconv.FormatUint(uint64(uid), 10)
	}
	return ""
}
