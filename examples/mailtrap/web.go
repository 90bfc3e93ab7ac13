package main

import (
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

//go:embed web
var assets embed.FS

// pages are the templates. They need no script.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"join": func(all []address) string { return strings.TrimSpace(list(all)) },
}).ParseFS(assets, "web/*.html"))

// web adds the pages to mux.
func (t *trap) web(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", t.page)
	mux.HandleFunc("POST /delete", func(w http.ResponseWriter, r *http.Request) {
		mine := in(r)
		all, _ := t.look(func(e *entry) bool { return mine(e) && (r.FormValue("id") == "" || e.id == r.FormValue("id")) })
		t.remove(r.Context(), all)
		http.Redirect(w, r, "/?inbox="+url.QueryEscape(r.FormValue("inbox")), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /view/{id}", t.view)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, assets, "web/style.css")
	})
}

// show writes a page, on which nothing runs and nothing is loaded from elsewhere.
func show(w http.ResponseWriter, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	pages.ExecuteTemplate(w, name, data)
}

func (t *trap) page(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.FormValue("query"))
	mine := in(r)
	found, _ := t.look(func(e *entry) bool { return mine(e) && q.match(e) })
	data := struct {
		Inbox, Query, Error string
		Messages            []summaryShape
		More                int
		Doors               [][2]string
	}{Inbox: r.FormValue("inbox"), Query: r.FormValue("query"), Doors: t.doors()}
	if err != nil {
		data.Error = err.Error()
	}
	const most = 200
	for _, e := range found[:min(len(found), most)] {
		data.Messages = append(data.Messages, summary(e))
	}
	data.More = len(found) - len(data.Messages)
	show(w, "list.html", data)
}

// view shows a message: ID is its page, ID.html and ID.txt are its text as Mailpit has
// them.
func (t *trap) view(w http.ResponseWriter, r *http.Request) {
	id, kind, _ := strings.Cut(r.PathValue("id"), ".")
	e := t.get(id, r.FormValue("inbox"))
	if e == nil {
		http.Error(w, "message not found", http.StatusNotFound)
		return
	}
	switch kind {
	case "html":
		harmless(w)
		// Pictures that are attached may be shown, and styles that are in it.
		w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		html := e.HTML()
		for i, a := range e.Attachments() {
			if a.ContentID != "" {
				html = strings.ReplaceAll(html, "cid:"+a.ContentID, "/api/v1/message/"+e.id+"/part/"+partID(i))
			}
		}
		w.Write([]byte(html))
		return
	case "txt":
		harmless(w)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte(e.Text()))
		return
	}
	t.change(func() { e.read = true })
	show(w, "message.html", struct {
		messageShape
		Raw      string
		Envelope string
	}{whole(e), string(e.Raw), strings.Join(e.env.to, ", ")})
}
