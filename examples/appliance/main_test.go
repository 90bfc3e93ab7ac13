package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/smtp"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/internal/smtpsink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ours are the names that nobody is to see.
var ours = []string{"mailkeel", "postoffice"}

// looker looks for them.
type looker struct {
	t    *testing.T
	seen map[string]int // things looked at, by kind
}

func (l *looker) look(kind, where, text string) {
	l.t.Helper()
	l.seen[kind]++
	lower := strings.ToLower(text)
	for _, name := range ours {
		if i := strings.Index(lower, name); i >= 0 {
			l.t.Errorf("%s %s has our name: …%q…", kind, where, text[max(0, i-80):min(len(text), i+80)])
		}
	}
}

// start runs the appliance and returns its doors, and its account.
func start(t *testing.T, args ...string) (doors map[string]string, account, password string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, w := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	dir := filepath.Join(t.TempDir(), "data")
	go func() {
		c := run(ctx, append([]string{"-dir", dir, "-http", "127.0.0.1:0", "-smtp", "127.0.0.1:0", "-imap", "127.0.0.1:0", "-pop3", "127.0.0.1:0"}, args...), w, &errs)
		w.Close()
		code <- c
	}()
	t.Cleanup(func() {
		stop()
		if c := <-code; c != 0 {
			t.Errorf("exit code %d\n%s", c, &errs)
		}
	})
	doors = map[string]string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		f := strings.Fields(lines.Text())
		if f[0] == "account" {
			account, password = f[1], f[2]
		} else {
			doors[f[0]] = f[1]
		}
	}
	if account == "" {
		t.Fatalf("did not start: %s", &errs)
	}
	return doors, account, password
}

// browser is one without scripts.
type browser struct {
	*looker
	client *http.Client
	base   *url.URL
	lang   string
	host   string // instead of the address, if set
	found  []string
	queued map[string]bool
}

func (b *browser) do(method, path string, form url.Values) (*http.Response, string) {
	b.t.Helper()
	u, err := b.base.Parse(path)
	if err != nil {
		b.t.Fatal(err)
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, u.String(), body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept-Language", b.lang)
	if b.host != "" {
		r.Host = b.host
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var head bytes.Buffer
	res.Header.Write(&head)
	what := fmt.Sprintf("%s %s (%s, %d)", method, path, b.lang, res.StatusCode)
	b.look("header", what, res.Status+"\n"+head.String())
	kind := "file"
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		kind = "page"
	}
	b.look(kind, what, string(text))
	if kind == "page" {
		b.links(res.Request.URL, string(text))
	} else if strings.HasPrefix(res.Header.Get("Content-Type"), "text/css") {
		for _, part := range strings.Split(string(text), "url(")[1:] {
			name, _, _ := strings.Cut(part, ")")
			b.add(res.Request.URL, name)
		}
	}
	return res, string(text)
}

// links notes what a page leads to.
func (b *browser) links(at *url.URL, text string) {
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "href" || a.Key == "src" {
				b.add(at, a.Val)
			}
		}
	}
}

func (b *browser) add(at *url.URL, ref string) {
	u, err := at.Parse(ref)
	if err != nil || u.Host != b.base.Host {
		return
	}
	u.Fragment = ""
	if at := u.RequestURI(); !b.queued[at] {
		b.queued[at] = true
		b.found = append(b.found, at)
	}
}

// crawl gets all that pages lead to.
func (b *browser) crawl() {
	b.t.Helper()
	for len(b.found) > 0 {
		at := b.found[0]
		b.found = b.found[1:]
		b.do("GET", at, nil)
		if len(b.queued) > 1000 {
			b.t.Fatal("there is no end of pages")
		}
	}
}

// TestNoTrace: whoever looks at the appliance, with whatever, does not see what it is
// made of.
func TestNoTrace(t *testing.T) {
	l := &looker{t: t, seen: map[string]int{}}
	sink := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		if strings.HasPrefix(cmd, "RCPT TO:<nobody@") {
			return "550 5.1.1 nobody here"
		}
		return ""
	}})
	doors, account, password := start(t, "-relay", sink.Addr)
	base := &url.URL{Scheme: "http", Host: doors["http"], Path: "/"}

	// Protocols.
	l.talk(doors["smtp"], "220", "EHLO x.example.net", "HELP", "VRFY owner@example.test", "NONSENSE", "MAIL FROM:<>", "RCPT TO:<nobody@example.test>", "QUIT")
	l.talk(doors["imap"], "* OK", "a CAPABILITY", `b ID ("name" "x")`, "c NONSENSE", "d LOGOUT")
	l.talk(doors["pop3"], "+OK", "CAPA", "NONSENSE", "QUIT")

	for _, lang := range []string{"en", "de"} {
		jar, _ := cookiejar.New(nil)
		transport := &http.Transport{}
		b := &browser{looker: l, client: &http.Client{Jar: jar, Transport: transport}, base: base, lang: lang, queued: map[string]bool{}}
		t.Cleanup(transport.CloseIdleConnections)

		// Strangers, and what goes wrong.
		_, text := b.do("GET", "/signin", nil)
		if !strings.Contains(text, "Acme Post") || !strings.Contains(text, "© Acme") || !strings.Contains(text, "/static/logo.") {
			t.Errorf("not Acme's:\n%s", text)
		}
		b.do("GET", "/nothing", nil)
		b.do("GET", "/mail/1", nil)
		b.do("PUT", "/signin", nil)
		b.do("POST", "/settings", url.Values{"do": {"save"}})
		b.do("GET", "/"+strings.Repeat("x", 9000), nil)
		b.do("POST", "/signin", url.Values{"login": {account}, "password": {"wrong"}, "do": {"signin"}})
		b.host = "mail.example.test"
		if res, _ := b.do("GET", "/signin", nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("in the clear from elsewhere: %s", res.Status)
		}
		b.host = ""

		// Mail from elsewhere, to oneself, to elsewhere, and what comes back.
		raw := "From: zoe@example.net\r\nTo: " + account + "\r\nSubject: hello " + lang + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
			"--b\r\nContent-Type: text/html\r\n\r\n<p>Hi <img src=\"https://example.net/x.png\"></p>\r\n--b\r\nContent-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nx\r\n--b--\r\n"
		deliver(t, doors["smtp"], account, raw)
		if res, _ := b.do("POST", "/signin", url.Values{"login": {account}, "password": {password}, "do": {"signin"}}); res.StatusCode != http.StatusOK {
			t.Fatalf("signing in: %s", res.Status)
		}
		send := func(to string) *http.Response {
			res, _ := b.do("POST", "/compose", url.Values{"kind": {"new"}, "to": {to}, "subject": {"A letter"}, "text": {"Hello."}, "do": {"send"}})
			return res
		}
		send(account)
		send("far@example.org, nobody@example.org")
		send("no address at all")
		send("nobody@example.test")
		b.wait("Undelivered")

		// Everything that pages lead to, and what is wrong there.
		for _, at := range []string{"/", "/compose", "/folders", "/settings", "/search?q=hello"} {
			b.add(base, at)
		}
		b.do("POST", "/folders", url.Values{"name": {"Plans"}, "parent": {"0"}, "do": {"create"}})
		b.do("POST", "/folders", url.Values{"name": {"Plans"}, "parent": {"0"}, "do": {"create"}})
		b.do("POST", "/settings/password", url.Values{"old": {"x"}, "new": {"y"}, "again": {"z"}, "do": {"password"}})
		b.do("POST", "/settings", url.Values{"language": {"xx"}, "do": {"save"}})
		b.do("POST", "/mail/1", url.Values{"uid": {"1"}, "do": {"nonsense"}})
		b.crawl()
		b.do("POST", "/signout", url.Values{"do": {"signout"}})
	}
	// What others get.
	for _, m := range sink.Messages() {
		l.look("mail", "to "+strings.Join(m.Rcpts, " "), m.Data)
	}
	for _, cmd := range sink.Commands() {
		l.look("command", "to the relay", cmd)
	}
	t.Logf("looked at %v", l.seen)
	for kind, least := range map[string]int{"page": 80, "header": 150, "file": 20, "mail": 2, "line": 20, "certificate": 2} {
		if l.seen[kind] < least {
			t.Errorf("only %d of kind %s", l.seen[kind], kind)
		}
	}
}

// deliver sends a message as another server would.
func deliver(t *testing.T, addr, to, raw string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var w io.WriteCloser
	if err = c.Mail("zoe@example.net"); err == nil {
		if err = c.Rcpt(to); err == nil {
			if w, err = c.Data(); err == nil {
				io.WriteString(w, raw)
				err = w.Close()
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Quit()
}

// wait looks at INBOX until there is a message. The queue works beside us, and pages
// are how a person would see.
func (b *browser) wait(subject string) {
	b.t.Helper()
	limit, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	for limit.Err() == nil {
		if _, text := b.do("GET", "/", nil); strings.Contains(text, subject) {
			return
		}
	}
	b.t.Fatalf("no %s came", subject)
}

// talk says lines to a door and looks at all answers, and then at its certificate.
func (l *looker) talk(addr, greeting string, lines ...string) {
	l.t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		l.t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(nc)
	first, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(first, greeting) {
		l.t.Fatalf("%q %v", first, err)
	}
	l.look("line", addr, first)
	go func() {
		for _, line := range lines {
			io.WriteString(nc, line+"\r\n")
		}
	}()
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			l.look("line", addr, line)
		}
		if err != nil {
			break
		}
	}

	start := map[string]string{"220": "STARTTLS", "* OK": "a STARTTLS", "+OK": "STLS"}[greeting]
	tc, err := net.Dial("tcp", addr)
	if err != nil {
		l.t.Fatal(err)
	}
	defer tc.Close()
	tc.SetDeadline(time.Now().Add(30 * time.Second))
	r = bufio.NewReader(tc)
	r.ReadString('\n')
	io.WriteString(tc, start+"\r\n")
	if line, err := r.ReadString('\n'); err != nil {
		l.t.Fatal(line, err)
	}
	c := tls.Client(tc, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		l.t.Fatal(err)
	}
	for _, cert := range c.ConnectionState().PeerCertificates {
		l.look("certificate", addr, string(cert.Raw))
	}
}
