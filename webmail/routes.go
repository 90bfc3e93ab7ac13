package webmail

import (
	"net/http"
	"strings"
)

// A route is one thing that can be asked for. There are no others: what a route is
// held to stands in this table, and tests go through it.
type route struct {
	method, path string // below the prefix; a pattern of http.ServeMux
	serve        func(*request) error
	// changes: it changes something, and comes by POST from a page of ours.
	changes bool
	// private: only for who is signed in; never kept by caches.
	private bool
	// own: it is part of our own login, and not there with Handler.Session.
	own    bool
	policy policy
	body   body
}

// A policy is which Content-Security-Policy a response has.
type policy int

const (
	pagePolicy  policy = iota // a page of ours
	framePolicy               // HTML of a message
	filePolicy                // anything else, which is never a document
)

// A body is what a request may bring along.
type body int

const (
	noBody body = iota
	formBody
	uploadBody
)

func routes() []route {
	return []route{
		{method: "GET", path: "/{$}", serve: (*request).home, private: true},
		{method: "GET", path: "/signin", serve: (*request).signInPage, own: true},
		{method: "POST", path: "/signin", serve: (*request).signIn, own: true, changes: true, body: formBody},
		{method: "POST", path: "/signout", serve: (*request).signOut, own: true, changes: true, body: formBody},

		{method: "GET", path: "/mail/{folder}", serve: (*request).list, private: true},
		{method: "POST", path: "/mail/{folder}", serve: (*request).act, private: true, changes: true, body: formBody},
		{method: "GET", path: "/mail/{folder}/{uid}", serve: (*request).read, private: true},
		{method: "GET", path: "/mail/{folder}/{uid}/frame/{path}", serve: (*request).frame, private: true, policy: framePolicy},
		{method: "GET", path: "/mail/{folder}/{uid}/cid/{cid}", serve: (*request).inline, policy: filePolicy},
		{method: "GET", path: "/mail/{folder}/{uid}/part/{path}", serve: (*request).part, private: true, policy: filePolicy},
		{method: "GET", path: "/mail/{folder}/{uid}/source", serve: (*request).source, private: true},
		{method: "GET", path: "/mail/{folder}/{uid}/raw", serve: (*request).raw, private: true, policy: filePolicy},

		{method: "GET", path: "/search", serve: (*request).search, private: true},
		{method: "GET", path: "/compose", serve: (*request).composePage, private: true},
		{method: "GET", path: "/compose/{uid}", serve: (*request).draftPage, private: true},
		{method: "POST", path: "/compose", serve: (*request).compose, private: true, changes: true, body: uploadBody},

		{method: "GET", path: "/folders", serve: (*request).foldersPage, private: true},
		{method: "POST", path: "/folders", serve: (*request).folderCreate, private: true, changes: true, body: formBody},
		{method: "POST", path: "/folders/{folder}/rename", serve: (*request).folderRename, private: true, changes: true, body: formBody},
		{method: "POST", path: "/folders/{folder}/delete", serve: (*request).folderDelete, private: true, changes: true, body: formBody},
		{method: "POST", path: "/folders/{folder}/empty", serve: (*request).folderEmpty, private: true, changes: true, body: formBody},

		{method: "GET", path: "/settings", serve: (*request).settingsPage, private: true},
		{method: "POST", path: "/settings", serve: (*request).settingsSave, private: true, changes: true, body: formBody},
		{method: "POST", path: "/settings/password", serve: (*request).password, private: true, own: true, changes: true, body: formBody},

		{method: "GET", path: "/static/{file...}", serve: (*request).static, policy: filePolicy},
	}
}

// routesMux answers what is in the table, and all else with pages of ours.
func (h *Handler) routesMux() *http.ServeMux {
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for _, rt := range routes() {
		if rt.own && h.Session != nil {
			continue
		}
		mux.Handle(rt.method+" "+h.Prefix+rt.path, h.serve(rt))
		allowed[rt.path] = append(allowed[rt.path], rt.method)
	}
	for path, methods := range allowed {
		allow := strings.Replace(strings.Join(methods, ", "), "GET", "GET, HEAD", 1)
		mux.Handle(h.Prefix+path, h.serve(route{serve: func(rq *request) error {
			rq.w.Header().Set("Allow", allow)
			return status(http.StatusMethodNotAllowed)
		}}))
	}
	mux.Handle("/", h.serve(route{serve: func(*request) error { return status(http.StatusNotFound) }}))
	return mux
}
