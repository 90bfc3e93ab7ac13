package webmail

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// readView is what read.html shows.
type readView struct {
	*mailview.Message
	Segments     []segmentView
	Files        []fileView
	Newer, Older string         // URLs of the messages beside this one, or empty
	Near         []mailview.Row // this one and those around it, the newest first
	Outgoing     bool           // drafts or sent: who it goes to is of interest
	Checked      string         // "pass" if the sender is who it says, "fail" if not, or empty
	Suspicious   bool           // an address may deceive
	Back         string         // URL of the list
	Targets      []mailview.Folder
	HTML         bool   // some of it is HTML
	Remote       bool   // remote content is shown
	Blocked      bool   // there may be some that is not
	ShowRemote   string // URL of this page with it
	Plain        bool   // HTML is shown as text
	Other        string // URL of this page the other way
	Here         string // URL of this page
}

type segmentView struct {
	mailview.Segment
	Frame  string // URL of HTML for a frame, or empty
	Height int    // of the frame in pixels, if that can be told; else zero
	Whole  string // URL of all of it, if it is cut
}

type fileView struct {
	mailview.Part
	URL  string // to keep
	Look string // to look at, or empty
}

// read shows a message, and marks it as read.
func (rq *request) read() error {
	at, err := rq.messageAt()
	if err != nil {
		return err
	}
	ctx := rq.ctx()
	m, err := rq.box.Message(ctx, at.Folder, at.UID)
	if err != nil {
		return err
	}
	if !m.Seen && rq.r.Method == http.MethodGet && !prefetch(rq.r) {
		if _, err := rq.box.Mark(ctx, at.Folder, mailview.Seen, true, at.UID); err == nil {
			m.Seen = true
		} else if !errors.Is(err, store.ErrDenied) && !errors.Is(err, store.ErrNotFound) {
			rq.h.log().Warn("webmail: cannot mark as read", "account", rq.account, "err", err)
		}
	}
	here := rq.h.Prefix + messagePath(at)
	v := readView{Message: m, Here: here, Back: rq.h.Prefix + folderPath(at.Folder), Plain: rq.r.URL.Query().Get("as") == "text"}
	key, err := rq.remoteKey(at)
	if err != nil {
		return err
	}
	if v.Remote, err = rq.mayRemote(at); err != nil {
		return err
	}
	v.Remote = v.Remote || rq.settings.Remote
	for _, s := range m.Body {
		sv := segmentView{Segment: s}
		if s.Cut {
			sv.Whole = here + "/part/" + url.PathEscape(s.Part.Path)
		}
		if s.HTML {
			v.HTML = true
			if v.Plain {
				sv.Text, sv.HTML = s.PlainText(), false
			} else {
				sv.Frame = here + "/frame/" + url.PathEscape(s.Part.Path)
				if v.Remote {
					sv.Frame += "?remote=" + url.QueryEscape(key)
				}
				c := clean(s, v.Remote, nil)
				sv.Height = frameHeight(c.HTML)
				v.Blocked = v.Blocked || !v.Remote && c.Remote > 0
			}
		}
		v.Segments = append(v.Segments, sv)
	}
	v.ShowRemote = here + "?remote=" + url.QueryEscape(key)
	if v.Other = here + "?as=text"; v.Plain {
		v.Other = here
	}
	for _, p := range m.Attachments {
		f := fileView{Part: p, URL: here + "/part/" + url.PathEscape(p.Path)}
		if harmless[p.Type] != "" {
			f.Look = f.URL + "?look=1"
		}
		v.Files = append(v.Files, f)
	}
	v.Outgoing = m.Folder.Role == "drafts" || m.Folder.Role == "sent"
	v.Checked = checked(m.Authentic)
	for _, as := range [][]mailview.Address{m.From, m.Sender, m.ReplyTo} {
		for _, a := range as {
			v.Suspicious = v.Suspicious || a.Suspicious
		}
	}
	if err := rq.near(at, &v); err != nil {
		return err
	}
	if v.Targets, err = rq.targets(at.Folder); err != nil {
		return err
	}
	return rq.show(http.StatusOK, "read", v)
}

// prefetch reports whether nobody reads the page yet.
func prefetch(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || r.Header.Get("Purpose") == "prefetch" || r.Header.Get("X-Moz") == "prefetch"
}

// How many messages stand beside the one that is read.
const nearNewer, nearOlder = 6, 24

// near finds the messages around one in a folder.
func (rq *request) near(at messageAt, v *readView) error {
	newer, err := rq.box.List(rq.ctx(), mailview.Query{Folder: at.Folder, After: at.UID, Limit: nearNewer})
	if err != nil {
		return err
	}
	older, err := rq.box.List(rq.ctx(), mailview.Query{Folder: at.Folder, Before: at.UID, Limit: nearOlder})
	if err != nil {
		return err
	}
	// A page beside the first or the last one is that one.
	newer.Rows = slices.DeleteFunc(newer.Rows, func(r mailview.Row) bool { return r.UID <= at.UID })
	older.Rows = slices.DeleteFunc(older.Rows, func(r mailview.Row) bool { return r.UID >= at.UID })
	if n := len(newer.Rows); n > 0 {
		v.Newer = rq.h.Prefix + messagePath(messageAt{at.Folder, newer.Rows[n-1].UID})
	}
	if len(older.Rows) > 0 {
		v.Older = rq.h.Prefix + messagePath(messageAt{at.Folder, older.Rows[0].UID})
	}
	v.Near = slices.Concat(newer.Rows, []mailview.Row{v.Message.Row}, older.Rows)
	return nil
}

// sourceView is what source.html shows.
type sourceView struct {
	Header, Back, Raw string
	Subject           string
}

// source shows the header of a message.
func (rq *request) source() error {
	at, err := rq.messageAt()
	if err != nil {
		return err
	}
	header, err := rq.box.Header(rq.ctx(), at.Folder, at.UID)
	if err != nil {
		return err
	}
	here := rq.h.Prefix + messagePath(at)
	return rq.show(http.StatusOK, "source", sourceView{Header: header, Back: here, Raw: here + "/raw"})
}

// raw gives a message as it came, to keep or to look at.
func (rq *request) raw() error {
	at, err := rq.messageAt()
	if err != nil {
		return err
	}
	size, rc, err := rq.box.OpenRaw(rq.ctx(), at.Folder, at.UID)
	if err != nil {
		return err
	}
	defer rc.Close()
	name := fmt.Sprintf("message-%d.eml", at.UID)
	if rq.r.URL.Query().Get("look") != "" {
		return rq.send(rc, size, "text/plain; charset=utf-8", name+".txt", true)
	}
	return rq.send(rc, size, "message/rfc822", name, false)
}
