package main

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

var errBadAddress = errors.New("this is not a mail address")

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Help desk</title>
<style>body{font:16px/1.5 system-ui;max-width:40em;margin:2em auto;padding:0 1em}pre{white-space:pre-wrap;border-left:3px solid;padding-left:1em}</style>
<h1><a href="/">Help desk</a></h1>
{{with .Ticket}}<h2>#{{.ID}} {{.Subject}}</h2>
{{if .Failing}}<p><strong>Mail to {{.Customer}} comes back.</strong>{{end}}
{{range .Entries}}<p>{{.Who}}, {{.Time.Format "2 Jan 15:04"}}<pre>{{.Text}}</pre>{{end}}
<form method="post" action="/tickets/{{.ID}}"><p><textarea name="text" rows="4" cols="60" required></textarea><p><button>Send to {{.Customer}}</button></form>
{{else}}<ul>{{range .Tickets}}<li><a href="/tickets/{{.ID}}">#{{.ID}} {{.Subject}}</a>, {{.Customer}}{{end}}</ul>
<form method="post" action="/tickets"><p><input name="email" type="email" placeholder="Customer's address" required>
<p><input name="subject" placeholder="Subject" required><p><textarea name="text" rows="4" cols="60" required></textarea><p><button>Open a ticket</button></form>{{end}}`))

// pages is the web side.
func (d *desk) pages() http.Handler {
	mux := http.NewServeMux()
	show := func(w http.ResponseWriter, t *ticket) {
		d.mu.Lock() // while the page is written into a buffer
		defer d.mu.Unlock()
		var b strings.Builder
		if err := page.Execute(&b, struct {
			Ticket  *ticket
			Tickets []*ticket
		}{t, slices.Clone(d.tickets)}); err != nil {
			http.Error(w, "cannot show this", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
		fmt.Fprint(w, b.String())
	}
	ticketOf := func(r *http.Request) *ticket {
		n, _ := strconv.Atoi(r.PathValue("id"))
		d.mu.Lock()
		defer d.mu.Unlock()
		if n < 1 || n > len(d.tickets) {
			return nil
		}
		return d.tickets[n-1]
	}
	// sent answers a form: back to the ticket, or what went wrong.
	sent := func(w http.ResponseWriter, r *http.Request, t *ticket, err error) {
		switch {
		case errors.Is(err, errBadAddress):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			d.log.Error("cannot send", "err", err)
			http.Error(w, "cannot send just now", http.StatusServiceUnavailable)
		default:
			http.Redirect(w, r, fmt.Sprintf("/tickets/%d", t.ID), http.StatusSeeOther)
		}
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { show(w, nil) })
	mux.HandleFunc("GET /tickets/{id}", func(w http.ResponseWriter, r *http.Request) {
		if t := ticketOf(r); t != nil {
			show(w, t)
		} else {
			http.NotFound(w, r)
		}
	})
	mux.HandleFunc("POST /tickets", func(w http.ResponseWriter, r *http.Request) {
		t, err := d.open(r.Context(), r.FormValue("email"), r.FormValue("subject"), r.FormValue("text"))
		sent(w, r, t, err)
	})
	mux.HandleFunc("POST /tickets/{id}", func(w http.ResponseWriter, r *http.Request) {
		if t := ticketOf(r); t != nil {
			sent(w, r, t, d.say(r.Context(), t, r.FormValue("text")))
		} else {
			http.NotFound(w, r)
		}
	})
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 1<<20))
}
