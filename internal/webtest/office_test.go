package webtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/webmail"
)

const (
	ann, bob = "ann@example.test", "bob@example.test"
	password = "correct horse"
	prefix   = "/mail"
)

// office is a mail server in the process, with webmail over it.
type office struct {
	*server.Server
	web *httptest.Server
	url string // of the webmail
}

func newOffice(t *testing.T, change ...func(*webmail.Handler)) *office {
	t.Helper()
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a-ann", Address: ann}, Password: password},
		{Account: accounts.Account{ID: "a-bob", Address: bob}, Password: password},
	}}
	s, err := server.New(server.Config{
		Hostname: "mx.example.test", Store: &memstore.Backend{}, Blobs: &memblob.Store{}, Queue: &memqueue.Backend{},
		Directory: users, Auth: users, InsecureAuth: true,
		SMTP: server.Listen{Addr: "127.0.0.1:0"}, IMAP: server.Listen{Addr: "127.0.0.1:0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	h := &webmail.Handler{
		Store: s.Store, Directory: users, Auth: users, Prefix: prefix, MaxPerUser: 200, MaxRequests: 1000,
		Submit: &submit.Transport{Next: &queue.Inline{First: &mailbox.Transport{Store: s.Store}, Queue: s.Queue}, Directory: users, Sent: s.Store},
	}
	for _, c := range change {
		c(h)
	}
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	o := &office{Server: s, web: httptest.NewServer(h)}
	o.url = o.web.URL + prefix
	t.Cleanup(func() {
		o.web.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o
}

// send delivers a message by SMTP, as another server would.
func (o *office) send(t *testing.T, to string, raw []byte) {
	t.Helper()
	if err := smtp.SendMail(o.Addr(server.SMTP).String(), nil, "zoe@example.net", []string{to}, raw); err != nil {
		t.Fatalf("%v\n%.500s", err, raw)
	}
}

// login opens a session over IMAP.
func (o *office) login(t *testing.T, who string) *imapclient.Client {
	t.Helper()
	conn, err := net.Dial("tcp", o.Addr(server.IMAP).String())
	if err != nil {
		t.Fatal(err)
	}
	c := imapclient.New(conn, nil)
	if err := c.Login(who, password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (o *office) createFolder(t *testing.T, who, name string) {
	t.Helper()
	c := o.login(t, who)
	defer c.Close()
	if err := c.Create(name, nil).Wait(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// fetched is what IMAP shows of all messages of a mailbox.
func (o *office) fetched(t *testing.T, who, box string) []*imapclient.FetchMessageBuffer {
	t.Helper()
	c := o.login(t, who)
	defer c.Close()
	m, err := c.Select(box, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if m.NumMessages == 0 {
		return nil
	}
	all, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// letter is a message with a header and lines as they are.
func letter(subject, kind string, body []byte, fields ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Zoe Example <zoe@example.net>\r\nTo: Ann Example <%s>\r\nSubject: %s\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <%x@example.net>\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\n", ann, subject, subject, kind)
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// get asks for a page as a browser that has a cookie.
func (o *office) get(t *testing.T, url, cookie string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", cookie)
	resp, err := o.web.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// cookie signs in without a browser.
func (o *office) cookie(t *testing.T, who string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", o.url+"/signin", strings.NewReader("do=signin&login="+strings.ReplaceAll(who, "@", "%40")+"&password="+strings.ReplaceAll(password, " ", "+")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	c := *o.web.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if len(resp.Cookies()) == 0 {
		t.Fatalf("no cookie: %s", resp.Status)
	}
	return resp.Cookies()[0].Name + "=" + resp.Cookies()[0].Value
}
