package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/smtp"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/internal/openrelay"
	"github.com/mailkeel/mailkeel/mailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the application and returns where its pages and its door are.
func start(t *testing.T, args ...string) (web, mx string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, w := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	dir := filepath.Join(t.TempDir(), "data") // here, so that it goes after the end
	go func() {
		args := append([]string{"-dir", dir, "-http", "127.0.0.1:0", "-smtp", "127.0.0.1:0", "-domain", "desk.test"}, args...)
		c := run(ctx, args, w, &errs)
		w.Close()
		code <- c
	}()
	t.Cleanup(func() {
		stop()
		if c := <-code; c != 0 {
			t.Errorf("exit code %d\n%s", c, &errs)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		name, addr, _ := strings.Cut(lines.Text(), " ")
		if name == "http" {
			web = "http://" + addr
		} else {
			mx = addr
		}
	}
	if mx == "" {
		t.Fatalf("did not start: %s", &errs)
	}
	return web, mx
}

// reply sends a message as a mail program does.
func reply(mx, from, to, msg string) error {
	c, err := smtp.Dial(mx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		return err
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	io.WriteString(w, msg)
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

func TestAConversation(t *testing.T) {
	world := mailtest.New(t, mailtest.Options{Strict: true}) // where the customer has a mailbox
	world.Account("zoe@example.test", "secret")
	web, mx := start(t, "-relay", world.SMTPAddr())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(path string, form url.Values) (string, int) {
		t.Helper()
		r, err := client.PostForm(web+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b), r.StatusCode
	}
	get := func(path string) string {
		t.Helper()
		r, err := client.Get(web + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	page, _ := post("/tickets", url.Values{"email": {"Zoe <zoe@example.test>"}, "subject": {"Lost\r\nBcc: x@y"}, "text": {"Wo ist er? <b>Grüße</b>\r\n"}})
	if !strings.Contains(page, "&lt;b&gt;Grüße") || strings.Contains(page, "<b>Gr") {
		t.Errorf("page:\n%s", page)
	}
	m := world.WaitN(ctx, 1, mailtest.Any())[0]
	to := m.Header("From")
	to = to[strings.Index(to, "<")+1 : len(to)-1]
	if m.Header("Subject") != "[#1] Lost Bcc: x@y" || m.Header("Bcc") != "" || m.Header("Return-Path") != "<"+to+">" || !strings.HasPrefix(to, "support+1.") {
		t.Fatalf("zoe got\n%s", m.Raw)
	}

	// Her reply stands on the page when her server is told that it was received.
	msg := "From: zoe@example.test\r\nTo: " + to + "\r\nSubject: Re: [#1] Lost\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>no\r\n" +
		"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHier =C3=BCben <i>.\r\n> Wo ist er?\r\n--x--\r\n"
	if err := reply(mx, "zoe@example.test", strings.ToUpper(to[:8])+to[8:], msg); err != nil {
		t.Fatal(err)
	}
	if page := get("/tickets/1"); !strings.Contains(page, "Hier üben &lt;i&gt;.") || strings.Count(page, "Wo ist er?") != 1 {
		t.Errorf("page:\n%s", page)
	}
	// An absence notice is no answer, and a bounce says so.
	if err := reply(mx, "zoe@example.test", to, "Auto-Submitted: auto-replied\r\n\r\nI am away.\r\n"); err != nil {
		t.Fatal(err)
	}
	if page := get("/tickets/1"); strings.Contains(page, "away") || strings.Contains(page, "comes back") {
		t.Errorf("page:\n%s", page)
	}
	if err := reply(mx, "", to, "Subject: Undelivered\r\n\r\nno such user\r\n"); err != nil {
		t.Fatal(err)
	}
	if page := get("/tickets/1"); !strings.Contains(page, "comes back") {
		t.Errorf("page:\n%s", page)
	}

	// Who was not written to cannot write, and nothing is relayed (T4).
	for _, a := range []string{
		"support@desk.test", "support+1@desk.test", "support+1.aaaaaaaaaaaa@desk.test", "support+2." + strings.SplitN(to, ".", 2)[1],
		"zoe@example.test", "support+1%example.test@desk.test", "anyone@sub.desk.test",
	} {
		if err := reply(mx, "eve@example.net", a, "Subject: x\r\n\r\n"); err == nil {
			t.Errorf("mail to %s was accepted", a)
		}
	}
	openrelay.Check(t, openrelay.Probe{Addr: mx, Local: to, Hostname: "desk.test"})
	if _, code := post("/tickets", url.Values{"email": {"nobody"}}); code != http.StatusBadRequest {
		t.Errorf("a bad address: %d", code)
	}
	if _, code := post("/tickets/9", nil); code != http.StatusNotFound {
		t.Errorf("no such ticket: %d", code)
	}
	// A page elsewhere cannot make the browser send.
	req, _ := http.NewRequest("POST", web+"/tickets", strings.NewReader(""))
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if r, err := client.Do(req); err != nil || r.StatusCode != http.StatusForbidden {
		t.Errorf("cross-site: %v, %v", r, err)
	} else {
		r.Body.Close()
	}
}

func TestABounceOfTheQueueReachesTheTicket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	world := mailtest.New(t, mailtest.Options{Strict: true})
	world.Account("zoe@example.test", "secret")
	web, _ := start(t, "-relay", world.SMTPAddr())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.PostForm(web+"/tickets", url.Values{"email": {"nobody@example.test"}, "subject": {"x"}, "text": {"y"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	for ctx.Err() == nil { // the queue works beside us, and has no way to tell a browser
		r, err := client.Get(web + "/tickets/1")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if strings.Contains(string(b), "comes back") {
			return
		}
	}
	t.Error("the ticket does not know of the bounce")
}

func TestBadArguments(t *testing.T) {
	for line, want := range map[string]int{"-h": 0, "-colour": 2, "-smtp 127.0.0.1:99999 -dir " + t.TempDir(): 1} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), &out, &errs); code != want {
			t.Errorf("%s: exit code %d, %s", line, code, errs.String())
		}
	}
}

func Example() {
	fmt.Println(plainText("text/plain", "", strings.NewReader("> quoted\nsaid\n")))
	// Output: said
}
