package webtest

import (
	"context"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/emersion/go-imap/v2"
)

// scripts turns scripts of pages on or off.
func (tb *tab) scripts(on bool) {
	tb.do(chromedp.Func(func(ctx context.Context, s *chromedp.Target) error {
		_, err := cdp.Call(ctx, s, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	}))
}

func (tb *tab) fill(selector, text string) {
	tb.t.Helper()
	tb.do(chromedp.SetValue(chromedp.CSS(selector), text))
}

// text is what a person reads at an element.
func (tb *tab) text(selector string) string {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.TextContent(chromedp.CSS(selector)))
	if err != nil {
		tb.t.Fatalf("%s at %s: %v", selector, tb.at(), err)
	}
	return s
}

func (tb *tab) wants(selector, text string) {
	tb.t.Helper()
	if got := tb.text(selector); !strings.Contains(got, text) {
		tb.t.Errorf("%s: %s is %q, without %q", tb.at(), selector, got, text)
	}
}

// follow opens the address of a link, which may be hidden in a menu.
func (tb *tab) follow(o *office, selector string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	a, err := chromedp.Run(ctx, chromedp.AttributeValue(chromedp.CSS(selector), "href", chromedp.NodeReady))
	if err != nil || a.Value == "" {
		tb.t.Fatalf("%s at %s: %v", selector, tb.at(), err)
	}
	tb.open(o.web.URL + a.Value)
}

// press presses a button that may be in a menu, by the keyboard.
func (tb *tab) press(selector string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	open := `for (const d of document.querySelectorAll('details')) d.open = true`
	if _, err := chromedp.RunResponse(ctx, chromedp.Evaluate[chromedp.Void](open), chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent("\r")); err != nil {
		tb.t.Fatalf("%s at %s: %v", selector, tb.at(), err)
	}
}

// TestStory is a day of two people, with scripts on and off: mail arrives by SMTP, is read and
// answered in the browser, and IMAP shows the same.
func TestStory(t *testing.T) {
	for _, on := range []bool{false, true} {
		name := map[bool]string{false: "scripts off", true: "scripts on"}[on]
		t.Run(name, func(t *testing.T) { story(t, on) })
	}
}

func story(t *testing.T, scripts bool) {
	a, b := visitor(t), visitor(t)
	a.scripts(scripts)
	b.scripts(scripts)
	o := newOffice(t)
	file := filepath.Join(t.TempDir(), "plan für morgen.txt")
	if err := os.WriteFile(file, []byte("the plan\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	newsletter := "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<style>h1{color:teal}</style><h1>News of today</h1><p>Hello Ann <img src=\"cid:logo\"><img src=\"http://tracker.example/x.gif\"></p>\r\n" +
		"--b\r\nContent-Type: image/gif\r\nContent-ID: <logo>\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs=\r\n--b--\r\n"
	o.send(t, ann, letter("News", `multipart/related; boundary="b"`, []byte(newsletter)))

	// Ann reads it, and answers nobody.
	a.signIn(o, ann)
	a.wants(".messages", "News")
	a.click(".messages a")
	a.wants("h1", "News")
	frame := o.web.URL + o.frameOf(a)
	a.open(frame)
	a.wants("body h1", "News of today")
	if w := eval[int](a, `document.images[0].naturalWidth`); w != 1 {
		t.Errorf("the image in the mail is %d wide", w)
	}

	// She writes to Bob, with a file, and first keeps it as a draft.
	a.open(o.url + "/compose")
	a.fill("#to", "bob@example.test")
	a.fill("#subject", "Über morgen")
	a.fill("#text", "Hello Bob,\n\nsee the plan.\n")
	a.do(chromedp.SetUploadFiles(chromedp.CSS("#files"), []string{file}))
	a.press(`button[value="save"]:not(.hidden)`)
	drafts := o.fetched(t, ann, "Drafts")
	if len(drafts) != 1 || !slices.Contains(drafts[0].Flags, imap.FlagDraft) {
		t.Fatalf("%d drafts", len(drafts))
	}
	a.wants(".chips", "plan für morgen.txt")
	a.press(`button[value="send"]`)
	sent := o.fetched(t, ann, "Sent")
	if len(sent) != 1 || sent[0].Envelope.Subject != "Über morgen" {
		t.Fatalf("%d messages in Sent", len(sent))
	}
	if n := len(o.fetched(t, ann, "Drafts")); n != 0 {
		t.Errorf("%d drafts are left", n)
	}

	// Bob reads it and answers.
	b.signIn(o, bob)
	b.wants(".messages", "Über morgen")
	b.click(".messages a")
	b.wants(".message .text", "see the plan.")
	b.wants(".files", "plan für morgen.txt")
	b.follow(o, `a[href*="kind=reply"]`)
	if v := b.value("#subject"); v != "Re: Über morgen" {
		t.Errorf("the answer is about %q", v)
	}
	quote := b.value("#text")
	if !strings.Contains(quote, "> see the plan.") {
		t.Errorf("the answer quotes %q", quote)
	}
	b.fill("#text", "Good!\n\n"+quote)
	b.press(`button[value="send"]`)
	inbox := o.fetched(t, bob, "INBOX")
	if len(inbox) != 1 || !slices.Contains(inbox[0].Flags, imap.FlagAnswered) || !slices.Contains(inbox[0].Flags, imap.FlagSeen) {
		t.Fatalf("Bob's INBOX: %d, %v", len(inbox), inbox[0].Flags)
	}

	// Ann has it as the newest, in the same thread, and forwards it to Bob with what it carries.
	got := o.fetched(t, ann, "INBOX")
	if len(got) != 2 || len(got[1].Envelope.InReplyTo) == 0 || got[1].Envelope.InReplyTo[0] != sent[0].Envelope.MessageID {
		t.Fatalf("Ann's INBOX: %d", len(got))
	}
	a.open(o.url + "/")
	a.wants(".messages li:first-child", "Re: Über morgen")
	sentBox := o.links(t, o.cookie(t, ann), prefix+"/settings", prefix+`/mail/\d+`)
	a.open(o.web.URL + sentBox[2])
	a.click(".messages a")
	a.follow(o, `a[href*="kind=forward"]`)
	a.fill("#to", "Bob <bob@example.test>")
	a.press(`button[value="send"]`)
	inbox = o.fetched(t, bob, "INBOX")
	if len(inbox) != 2 {
		t.Fatalf("%d messages for Bob", len(inbox))
	}
	raw := string(inbox[1].FindBodySection(&imap.FetchItemBodySection{}))
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil || !strings.HasPrefix(m.Header.Get("Content-Type"), "multipart/mixed") || !strings.Contains(raw, "dGhlIHBsYW4") {
		t.Errorf("what Bob got has not the file: %v\n%.2000s", err, raw)
	}

	// She searches, flags, files and deletes.
	a.open(o.url + "/")
	a.fill("#q", "from:zoe news")
	a.press(`.search button`)
	a.wants(".messages", "News")
	a.click(".messages a")
	a.press(`button[value="flag"]`)
	if f := o.fetched(t, ann, "INBOX")[0].Flags; !slices.Contains(f, imap.FlagFlagged) {
		t.Errorf("flags %v", f)
	}
	a.open(o.url + "/folders")
	a.fill("#name", "Projects")
	a.press(`button[value="create"]`)
	a.open(o.url + "/")
	a.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.messages li:last-child input').checked = true; for (const o of document.querySelector('form.rows select[name=to]').options) o.selected = /Projects/.test(o.text)`))
	a.press(`form.rows button[value="move"]`)
	if n := len(o.fetched(t, ann, "Projects")); n != 1 {
		t.Errorf("%d messages in Projects", n)
	}
	a.open(o.url + "/")
	a.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.messages input').checked = true`))
	a.press(`form.rows button[value="delete"]`)
	if n := len(o.fetched(t, ann, "Trash")); n != 1 || len(o.fetched(t, ann, "INBOX")) != 0 {
		t.Errorf("%d messages in Trash", n)
	}

	// She leaves, and nobody gets back with the Back button.
	a.press(`button[value="signout"]`)
	a.do(chromedp.NavigateBack())
	for { // the page may be on its way to the next
		ctx, cancel := context.WithTimeout(a.ctx, limit)
		body, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.textContent`))
		over := ctx.Err() != nil
		cancel()
		if over {
			t.Fatal(err)
		}
		if err == nil {
			if strings.Contains(body, "Projects") {
				t.Errorf("after signing out, the last page shows %q", body)
			}
			break
		}
	}
}

func (tb *tab) value(selector string) string {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Value(chromedp.CSS(selector)))
	if err != nil {
		tb.t.Fatalf("%s: %v", selector, err)
	}
	return v
}

// frameOf is the address of the first frame in the page.
func (o *office) frameOf(tb *tab) string {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	a, err := chromedp.Run(ctx, chromedp.AttributeValue(chromedp.CSS("iframe"), "src"))
	if err != nil {
		tb.t.Fatal(err)
	}
	return a.Value
}
