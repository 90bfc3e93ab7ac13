package webmail

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// maxSearch is how long what is searched for may be, in bytes.
const maxSearch = 500

// listView is what list.html shows.
type listView struct {
	mailview.Page
	Query        string
	Outgoing     bool              // drafts or sent: who it goes to is of interest
	Drafts       bool              // rows are written on
	Newer, Older string            // URLs of the pages beside this one, or empty
	Targets      []mailview.Folder // where messages can be moved
	// Before and After are those of this page, for coming back to it.
	Before, After store.UID
}

// list shows a page of a folder.
func (rq *request) list() error {
	folder, err := rq.folderID()
	if err != nil {
		return err
	}
	q := rq.r.URL.Query()
	query := mailview.Query{Folder: folder, Text: oneLine(q.Get("q")), Before: optionalUID(q.Get("before")), After: optionalUID(q.Get("after")), Limit: rq.settings.PageSize, Fill: true}
	if len(query.Text) > maxSearch {
		return status(http.StatusBadRequest)
	}
	p, err := rq.box.List(rq.ctx(), query)
	if err != nil {
		return err
	}
	v := listView{Page: p, Query: query.Text, Before: query.Before, After: query.After}
	v.Drafts = p.Folder.Role == "drafts"
	v.Outgoing = v.Drafts || p.Folder.Role == "sent"
	if p.Newer != 0 {
		v.Newer = rq.listURL(folder, query.Text, "after", p.Newer)
	}
	if p.Older != 0 {
		v.Older = rq.listURL(folder, query.Text, "before", p.Older)
	}
	if v.Targets, err = rq.targets(folder); err != nil {
		return err
	}
	return rq.show(http.StatusOK, "list", v)
}

// search looks in INBOX for what was typed on a page of no folder.
func (rq *request) search() error {
	inbox, err := rq.box.RoleFolder(rq.ctx(), "inbox")
	if err != nil {
		return err
	}
	return rq.redirect(folderPath(inbox.ID), "q", oneLine(rq.r.URL.Query().Get("q")))
}

// targets are the folders that messages of one can be moved to.
func (rq *request) targets(from store.MailboxID) (to []mailview.Folder, err error) {
	folders, err := rq.folders()
	for _, f := range folders {
		if f.ID != from && f.May("i") {
			to = append(to, f)
		}
	}
	return to, err
}

func optionalUID(s string) store.UID {
	n, _ := strconv.ParseUint(s, 10, 32)
	return store.UID(n)
}

func (rq *request) listURL(folder store.MailboxID, text, side string, uid store.UID) string {
	q := url.Values{}
	if text != "" {
		q.Set("q", text)
	}
	if uid != 0 {
		q.Set(side, strconv.FormatUint(uint64(uid), 10))
	}
	u := rq.h.Prefix + folderPath(folder)
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	return u
}
