package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/mailtest"
)

// maxBody is how large a request may be.
const maxBody = 64 << 20

// handler is all that HTTP answers.
func (t *trap) handler() http.Handler {
	mux := http.NewServeMux()
	api := func(pattern string, fn func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if err := fn(w, r); err != nil {
				status := http.StatusBadRequest
				if e, ok := err.(httpError); ok {
					status = e.status
				}
				answer(w, status, map[string]string{"Error": err.Error()})
			}
		})
	}
	api("GET /api/v1/info", t.info)
	api("GET /api/v1/messages", t.messages)
	api("PUT /api/v1/messages", t.setRead)
	api("DELETE /api/v1/messages", t.deleteMessages)
	api("GET /api/v1/search", t.search)
	api("DELETE /api/v1/search", t.deleteSearch)
	api("GET /api/v1/wait", t.wait)
	api("GET /api/v1/message/{id}", t.message)
	api("GET /api/v1/message/{id}/headers", t.headers)
	api("GET /api/v1/message/{id}/raw", t.raw)
	api("GET /api/v1/message/{id}/part/{part}", t.part)
	api("GET /api/v1/message/{id}/html-check", t.check)
	api("GET /api/v1/message/{id}/link-check", t.linkCheck)
	api("GET /api/v1/tags", t.listTags)
	api("PUT /api/v1/tags", t.setTags)
	api("PUT /api/v1/tags/{tag}", t.renameTag)
	api("DELETE /api/v1/tags/{tag}", t.deleteTag)
	api("POST /api/v1/send", t.send)
	api("GET /api/v1/chaos", t.getChaos)
	api("PUT /api/v1/chaos", t.putChaos)
	api("GET /api/v1/faults", t.getFaults)
	api("PUT /api/v1/faults", t.putFaults)
	api("GET /api/v1/inboxes", t.listInboxes)
	mux.Handle("GET /api/events", t.events())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	t.web(mux)
	return http.NewCrossOriginProtection().Handler(mux)
}

// An httpError has a status of its own.
type httpError struct {
	status int
	text   string
}

func (e httpError) Error() string { return e.text }

var errNoMessage = httpError{http.StatusNotFound, "message not found"}

func answer(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
	return nil
}

func ok(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, "ok")
	return nil
}

func body(r *http.Request, v any) error {
	err := json.NewDecoder(r.Body).Decode(v)
	if err == io.EOF {
		return nil
	}
	return err
}

func (t *trap) info(w http.ResponseWriter, r *http.Request) error {
	all, _ := t.look(in(r))
	unread, size := 0, 0
	for _, e := range all {
		size += len(e.Raw)
		if !e.read {
			unread++
		}
	}
	version := "devel"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		version = b.Main.Version
	}
	return answer(w, 200, map[string]any{
		"Version": version, "LatestVersion": version, "Database": "memory", "DatabaseSize": size,
		"Messages": len(all), "Unread": unread, "Tags": t.tagCounts(),
		"RuntimeStats": map[string]any{},
	})
}

// in picks those of the inbox that a request names, or all.
func in(r *http.Request) func(*entry) bool {
	inbox := r.FormValue("inbox")
	return func(e *entry) bool { return inbox == "" || e.inbox == inbox }
}

func number(r *http.Request, name string, def int) (int, error) {
	s := r.FormValue(name)
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %q is no number", name, s)
	}
	return n, nil
}

func (t *trap) messages(w http.ResponseWriter, r *http.Request) error {
	return t.list(w, r, in(r))
}

func (t *trap) search(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.FormValue("query"))
	if err != nil {
		return err
	}
	mine := in(r)
	return t.list(w, r, func(e *entry) bool { return mine(e) && q.match(e) })
}

func (t *trap) list(w http.ResponseWriter, r *http.Request, pick func(*entry) bool) error {
	start, err := number(r, "start", 0)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 50)
	if err != nil {
		return err
	}
	found, _ := t.look(pick)
	all, _ := t.look(in(r))
	out := listShape{Total: len(all), MessagesCount: len(found), Start: start, Tags: t.tagNames(), Messages: []summaryShape{}}
	for _, e := range all {
		if !e.read {
			out.Unread++
		}
	}
	for _, e := range found[min(start, len(found)):min(start+limit, len(found))] {
		out.Messages = append(out.Messages, summary(e))
	}
	out.Count = len(out.Messages)
	return answer(w, 200, out)
}

// chosen are the entries that the body of a request names, or all.
func (t *trap) chosen(r *http.Request, ids []string) []*entry {
	mine := in(r)
	all, _ := t.look(func(e *entry) bool { return mine(e) && (len(ids) == 0 || slices.Contains(ids, e.id)) })
	return all
}

func (t *trap) setRead(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		IDs    []string
		Read   bool
		Search string
	}
	if err := body(r, &in); err != nil {
		return err
	}
	q, err := parseQuery(in.Search)
	if err != nil {
		return err
	}
	all := t.chosen(r, in.IDs)
	t.change(func() {
		for _, e := range all {
			if q.match(e) {
				e.read = in.Read
			}
		}
	})
	return ok(w)
}

func (t *trap) deleteMessages(w http.ResponseWriter, r *http.Request) error {
	var in struct{ IDs []string }
	if err := body(r, &in); err != nil {
		return err
	}
	t.remove(r.Context(), t.chosen(r, in.IDs))
	return ok(w)
}

func (t *trap) deleteSearch(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.FormValue("query"))
	if err != nil {
		return err
	}
	if len(q) == 0 {
		return fmt.Errorf("query is missing")
	}
	mine := in(r)
	all, _ := t.look(func(e *entry) bool { return mine(e) && q.match(e) })
	t.remove(r.Context(), all)
	return ok(w)
}

// wait answers when count messages are there, or 408 after timeout.
func (t *trap) wait(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.FormValue("query"))
	if err != nil {
		return err
	}
	count, err := number(r, "count", 1)
	if err != nil {
		return err
	}
	timeout := 10 * time.Second
	if s := r.FormValue("timeout"); s != "" {
		if timeout, err = time.ParseDuration(s); err != nil {
			return err
		}
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	mine := in(r)
	for {
		found, changed := t.look(func(e *entry) bool { return mine(e) && q.match(e) })
		if len(found) >= count {
			return t.list(w, r, func(e *entry) bool { return mine(e) && q.match(e) })
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil
		case <-late.C:
			all, _ := t.look(mine)
			var b strings.Builder
			for _, e := range all {
				fmt.Fprintf(&b, "; %s to %s: %q", from(e).Address, strings.Join(e.env.to, ", "), e.Header("Subject"))
			}
			return httpError{http.StatusRequestTimeout, fmt.Sprintf("%d of %d messages came in %v; there are %d%s", len(found), count, timeout, len(all), b.String())}
		}
	}
}

// entry is the one that the path names.
func (t *trap) entry(r *http.Request) (*entry, error) {
	e := t.get(r.PathValue("id"), r.FormValue("inbox"))
	if e == nil {
		return nil, errNoMessage
	}
	return e, nil
}

func (t *trap) message(w http.ResponseWriter, r *http.Request) error {
	e, err := t.entry(r)
	if err != nil {
		return err
	}
	t.change(func() { e.read = true })
	return answer(w, 200, whole(e))
}

func (t *trap) headers(w http.ResponseWriter, r *http.Request) error {
	e, err := t.entry(r)
	if err != nil {
		return err
	}
	out := map[string][]string{}
	for name, value := range e.Fields() {
		out[name] = append(out[name], value)
	}
	return answer(w, 200, out)
}

func (t *trap) raw(w http.ResponseWriter, r *http.Request) error {
	e, err := t.entry(r)
	if err != nil {
		return err
	}
	harmless(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if r.FormValue("dl") != "" {
		w.Header().Set("Content-Disposition", `attachment; filename="`+e.id+`.eml"`)
	}
	w.Write(e.Raw)
	return nil
}

// harmless keeps a browser from running what a message holds.
func harmless(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

func partID(i int) string { return strconv.Itoa(i + 1) }

func (t *trap) part(w http.ResponseWriter, r *http.Request) error {
	e, err := t.entry(r)
	if err != nil {
		return err
	}
	all := e.Attachments()
	n, err := strconv.Atoi(r.PathValue("part"))
	if err != nil || n < 1 || n > len(all) {
		return httpError{http.StatusNotFound, "part not found"}
	}
	a := all[n-1]
	harmless(w)
	kind := a.Type
	if !slices.Contains([]string{"image/png", "image/jpeg", "image/gif", "image/webp"}, kind) {
		w.Header().Set("Content-Disposition", "attachment")
	}
	w.Header().Set("Content-Type", kind)
	w.Write(a.Data)
	return nil
}

// check tells what the readers of a message would stumble over.
func (t *trap) check(w http.ResponseWriter, r *http.Request) error {
	e, err := t.entry(r)
	if err != nil {
		return err
	}
	type warning struct {
		Slug, Title string
		Minor       bool
	}
	warnings := []warning{}
	for _, p := range (mailtest.Lint{}).Check(e.Message) {
		warnings = append(warnings, warning{p.Rule, p.Text, p.Minor})
	}
	return answer(w, 200, map[string]any{"Warnings": warnings, "Clients": mailtest.Clients()})
}

// linkCheck lists the links; it follows none.
func (t *trap) linkCheck(w http.ResponseWriter, r *http.Request) error {
	e, err := t.entry(r)
	if err != nil {
		return err
	}
	type link struct {
		URL        string
		StatusCode int
		Status     string
	}
	links := []link{}
	for _, l := range e.Links() {
		links = append(links, link{URL: l, Status: "not followed"})
	}
	return answer(w, 200, map[string]any{"Links": links, "Errors": 0})
}

func (t *trap) tagCounts() map[string]int {
	out := map[string]int{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		for _, tag := range e.tags {
			out[tag]++
		}
	}
	return out
}

func (t *trap) tagNames() []string {
	names := []string{}
	for name := range t.tagCounts() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (t *trap) listTags(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, 200, t.tagNames())
}

func (t *trap) setTags(w http.ResponseWriter, r *http.Request) error {
	var in struct{ IDs, Tags []string }
	if err := body(r, &in); err != nil {
		return err
	}
	if len(in.IDs) == 0 {
		return ok(w)
	}
	all := t.chosen(r, in.IDs)
	t.change(func() {
		for _, e := range all {
			e.tags = slices.Clone(in.Tags)
		}
	})
	return ok(w)
}

func (t *trap) renameTag(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Name string }
	if err := body(r, &in); err != nil {
		return err
	}
	if in.Name == "" {
		return fmt.Errorf("Name is missing")
	}
	t.retag(r.PathValue("tag"), in.Name)
	return ok(w)
}

func (t *trap) deleteTag(w http.ResponseWriter, r *http.Request) error {
	t.retag(r.PathValue("tag"), "")
	return ok(w)
}

// retag replaces a tag everywhere; empty removes it.
func (t *trap) retag(old, name string) {
	t.change(func() {
		for _, e := range t.entries {
			var tags []string
			for _, tag := range e.tags {
				if tag == old {
					tag = name
				}
				if tag != "" && !slices.Contains(tags, tag) {
					tags = append(tags, tag)
				}
			}
			e.tags = tags
		}
	})
}

func (t *trap) listInboxes(w http.ResponseWriter, _ *http.Request) error {
	out := map[string]int{}
	t.mu.Lock()
	for _, e := range t.entries {
		out[e.inbox]++
	}
	t.mu.Unlock()
	return answer(w, 200, out)
}
