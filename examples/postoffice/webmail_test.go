package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A browser is one without scripts, as far as this test needs it.
type browser struct {
	t      *testing.T
	client http.Client
	base   string
}

func (b *browser) get(path string) string {
	b.t.Helper()
	r, err := http.NewRequest("GET", b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

func (b *browser) post(path string, form url.Values) string {
	b.t.Helper()
	r, err := http.NewRequest("POST", b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.base)
	return b.do(r)
}

func (b *browser) do(r *http.Request) string {
	b.t.Helper()
	r.Header.Set("Accept-Language", "en")
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		b.t.Fatalf("%s %s: %d %v\n%s", r.Method, r.URL, res.StatusCode, err, body)
	}
	return string(body)
}

// find is the first group of a pattern in a page.
func (b *browser) find(pattern, page string) string {
	b.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(page)
	if m == nil {
		b.t.Fatalf("no %s in\n%s", pattern, page)
	}
	return m[1]
}

// TestWebmail: open what is printed, sign in as the demo account, read what came by SMTP,
// answer it, and find the answer by IMAP.
func TestWebmail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	o := start(t, dir)
	pw, err := os.ReadFile(filepath.Join(dir, "demo-password"))
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimSpace(string(pw))
	jar, _ := cookiejar.New(nil)
	b := &browser{t: t, client: http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}}
	b.base = b.find(`Webmail: open (http://127\.0\.0\.1:\d+)\n`, o.out)
	if err := send(o.at["smtp"], "", "", "demo@example.test", "demo@example.test", "From: demo@example.test\r\nTo: demo@example.test\r\nSubject: hello you\r\n\r\nIt works.\r\n"); err != nil {
		t.Fatal(err)
	}
	b.get("/signin")
	inbox := b.post("/signin", url.Values{"login": {"demo@example.test"}, "password": {password}, "do": {"signin"}})
	message := b.get(b.find(`href="(/mail/\d+/\d+)[^"]*"[^>]*>(?s:.*?)hello you`, inbox))
	if !strings.Contains(message, "It works.") {
		t.Errorf("the message is not shown:\n%s", message)
	}
	page := b.get(strings.ReplaceAll(b.find(`href="(/compose\?[^"]*kind=reply)"`, message), "&amp;", "&"))
	form := url.Values{"do": {"send"}, "to": {"demo@example.test"}, "text": {"> It works.\r\n\r\nIndeed."}}
	for _, name := range []string{"kind", "id", "re-folder", "re-uid", "subject"} {
		form.Set(name, b.find(`name="`+name+`" value="([^"]*)"`, page))
	}
	b.post("/compose", form)
	all := o.inbox("demo@example.test", password)
	if len(all) != 2 || !strings.Contains(all[1], "Subject: Re: hello you\r\n") || !strings.Contains(all[1], "Indeed.") {
		t.Fatalf("the inbox has %q", all)
	}

	// A restart ends no session; a new password holds everywhere.
	o.stop()
	o = start(t, dir, "-http", strings.TrimPrefix(b.base, "http://"))
	if page := b.get("/settings"); !strings.Contains(page, "demo@example.test") {
		t.Errorf("signed out by a restart:\n%s", page)
	}
	b.post("/settings/password", url.Values{"do": {"password"}, "old": {password}, "new": {"correct horse battery"}, "again": {"correct horse battery"}})
	if n := len(o.inbox("demo@example.test", "correct horse battery")); n != 2 {
		t.Errorf("%d messages by the new password", n)
	}
}
