package mailview_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/mailview"
)

func TestAnAnswerGoesToTheRightPeople(t *testing.T) {
	for name, tt := range map[string]struct {
		header, to, cc, allTo, allCc string
	}{
		"from": {"From: Bob <bob@example.net>\nTo: ann@example.org, Carl <carl@example.net>\nCc: dora@example.net",
			"Bob <bob@example.net>", "", "Bob <bob@example.net>, Carl <carl@example.net>", "dora@example.net"},
		"reply-to": {"From: bob@example.net\nReply-To: Office <office@example.net>, two@example.net\nTo: ann@example.org",
			"Office <office@example.net>, two@example.net", "", "Office <office@example.net>, two@example.net", ""},
		"reply-to without an address": {"From: bob@example.net\nReply-To: nobody\nTo: ann@example.org",
			"bob@example.net", "", "bob@example.net", ""},
		"own addresses": {"From: bob@example.net\nTo: ANN@example.org, ann+list@example.org, annie@example.org, desk@example.org, bob@example.org\nCc: bob@EXAMPLE.net",
			"bob@example.net", "", "bob@example.net, desk@example.org, bob@example.org", ""},
		"own message": {"From: ann@example.org\nTo: bob@example.net, ann@example.org\nCc: carl@example.net",
			"bob@example.net", "", "bob@example.net", "carl@example.net"},
		"note to oneself": {"From: ann@example.org\nTo: ann@example.org", "ann@example.org", "", "ann@example.org", ""},
		"followup": {"From: bob@example.net\nTo: list@example.net\nMail-Followup-To: evil@example.net\nMail-Reply-To: evil@example.net",
			"bob@example.net", "", "bob@example.net, list@example.net", ""},
		"list": {"From: bob@example.net\nTo: ann@example.org\nList-Post: <https://x>, <mailto:list@example.net?subject=x>",
			"bob@example.net", "", "bob@example.net", "list@example.net"},
		"list in to": {"From: bob@example.net\nTo: List <list@example.net>\nList-Post: <mailto:list@example.net>",
			"bob@example.net", "", "bob@example.net, List <list@example.net>", ""},
		"list, no":          {"From: bob@example.net\nTo: ann@example.org\nList-Post: NO", "bob@example.net", "", "bob@example.net", ""},
		"group":             {"From: bob@example.net\nTo: friends: carl@example.net, dora@example.net;, undisclosed-recipients:;", "bob@example.net", "", "bob@example.net, carl@example.net, dora@example.net", ""},
		"broken":            {"From: bob@example.net\nTo: x, @y, carl@example.net\nCc: <>", "bob@example.net", "", "bob@example.net, carl@example.net", ""},
		"from with a comma": {"From: \"Jones, Bob\" <bob@example.net>", `"Jones, Bob" <bob@example.net>`, "", `"Jones, Bob" <bob@example.net>`, ""},
		"nobody":            {"Subject: x", "", "", "", ""},
		"idn":               {"From: a@xn--bcher-kva.example", "a@bücher.example", "", "a@bücher.example", ""},
		"injected":          {"From: =?utf-8?q?x=0D=0ABcc=3A?= <bob@example.net>", `"x Bcc:" <bob@example.net>`, "", `"x Bcc:" <bob@example.net>`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ref := w.put("a1", "", tt.header+"\n\nx\n")
			d := must[mailview.Draft](t)(w.ann().Start(t.Context(), mailview.Reply, ref))
			if d.To != tt.to || d.Cc != tt.cc {
				t.Errorf("reply: to %q, cc %q", d.To, d.Cc)
			}
			d = must[mailview.Draft](t)(w.ann().Start(t.Context(), mailview.ReplyAll, ref))
			if d.To != tt.allTo || d.Cc != tt.allCc {
				t.Errorf("reply to all: to %q, cc %q", d.To, d.Cc)
			}
			if d.To != "" { // what was suggested can be sent
				if err := w.ann().Send(t.Context(), d, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestSubjectsOfAnswers(t *testing.T) {
	w := newWorld(t)
	for in, want := range map[string][2]string{
		"Lunch":                           {"Re: Lunch", "Fwd: Lunch"},
		"Re: Lunch":                       {"Re: Lunch", "Fwd: Re: Lunch"},
		"RE: AW: Antw: re[2]: Lunch":      {"Re: Lunch", "Fwd: RE: AW: Antw: re[2]: Lunch"},
		"WG: Fw: Lunch":                   {"Re: WG: Fw: Lunch", "Fwd: Lunch"},
		"Re : Lunch":                      {"Re: Lunch", "Fwd: Re : Lunch"},
		"Reminder: Lunch":                 {"Re: Reminder: Lunch", "Fwd: Reminder: Lunch"},
		"Re:":                             {"Re:", "Fwd: Re:"},
		"":                                {"Re:", "Fwd:"},
		"=?utf-8?q?AW:_Gr=C3=BC=C3=9Fe?=": {"Re: Grüße", "Fwd: AW: Grüße"},
		"Re: " + strings.Repeat("Re: ", 300) + "x": {"Re: " + strings.Repeat("Re: ", 201) + "x", "Fwd: Re: " + strings.Repeat("Re: ", 300) + "x"},
	} {
		ref := w.put("a1", "", "From: b@example.net\nSubject: "+in+"\n\nx\n")
		for i, k := range []mailview.Kind{mailview.Reply, mailview.Forward} {
			if d := must[mailview.Draft](t)(w.ann().Start(t.Context(), k, ref)); d.Subject != want[i] {
				t.Errorf("%.60q: got %.60q", in, d.Subject)
			}
		}
	}
}

func TestTextIsQuoted(t *testing.T) {
	for name, tt := range map[string]struct{ message, want string }{
		"plain":     {"\n\nhello\nworld\n\n", "> hello\n> world\n"},
		"quotes":    {"\n> a\n>> b\n\nc\n", ">> a\n>>> b\n>\n> c\n"},
		"signature": {"\nhello\n-- \nBob\n", "> hello\n"},
		"only one":  {"\n-- \nBob\n", ">\n"},
		"html": {htmlType + "\n\n<html><head><title>no</title><style>p{}</style></head><body><p>Hello&nbsp;<b>Ann</b>,</p><div>one<br>two</div><ul><li>x</li><li>y</li></ul><script>alert(1)</script><blockquote>quoted</blockquote><table><tr><td>a</td><td>b</td></tr></table><img alt='cat'> &lt;b&gt;</body></html>\n",
			"> Hello Ann,\n>\n> one\n> two\n>\n> - x\n> - y\n>\n>> quoted\n>\n> a b\n>\n> cat <b>\n"},
		"html with plain": {multipart("alternative", part(plainType, "plain"), part(htmlType, "<p>html")), "> plain\n"},
		"flowed":          {plainType + "; format=flowed\n\na \nb\n", "> a b\n"},
		"attached":        {multipart("mixed", part(plainType, "a"), part("Content-Type: message/rfc822", "Subject: in\n\ninner"), part(plainType, "b")), "> a\n>\n> b\n"},
		"nothing":         {"\n", ">\n"},
		"long":            {"\n" + strings.Repeat(strings.Repeat("x", 99)+"\n", 4000), ""},
	} {
		w := newWorld(t)
		ref := w.put("a1", "", "From: Bob <b@example.net>\n"+tt.message)
		d := must[mailview.Draft](t)(w.ann().Start(t.Context(), mailview.Reply, ref))
		_, got, _ := strings.Cut(d.Text, "wrote:\n")
		if name == "long" {
			if len(got) > 300<<10 || !strings.HasSuffix(got, "\n> [...]\n") {
				t.Errorf("%d bytes", len(got))
			}
			continue
		}
		if got != tt.want {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}

func TestAnswersBeginInTheLanguageOfTheirWriter(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ref := w.put("a1", "", "From: Bob <b@example.net>\nDate: Sun, 1 Mar 2026 09:05:00 -0800\n\nx\n")
	odd := w.put("a1", "", "From: \"ann@example.org\" <b@example.net>\n\nx\n")
	for _, tt := range []struct {
		set, browser string
		ref          mailview.Ref
		want         string
	}{
		{"", "", ref, "On 1 March 2026 at 09:05, Bob wrote:"},
		{"", "de", ref, "Am 1. März 2026 um 09:05 schrieb Bob:"},
		{"en", "de", ref, "On 1 March 2026 at 09:05, Bob wrote:"},
		{"de", "", ref, "Am 1. März 2026 um 09:05 schrieb Bob:"},
		{"", "fr", odd, "On 28 November 2026 at 12:00, b@example.net wrote:"}, // not who it seems
	} {
		if err := w.ann().SetSettings(ctx, mailview.Settings{Language: tt.set}); err != nil {
			t.Fatal(err)
		}
		d := must[mailview.Draft](t)(w.ann().In(tt.browser).Start(ctx, mailview.Reply, tt.ref))
		if !strings.Contains(d.Text, "\n"+tt.want+"\n") {
			t.Errorf("%+v: got %q", tt, d.Text)
		}
		d = must[mailview.Draft](t)(w.ann().In(tt.browser).Start(ctx, mailview.Forward, tt.ref))
		if de := strings.Contains(tt.want, "schrieb"); strings.Contains(d.Text, "Weitergeleitete") != de {
			t.Errorf("%+v: got %q", tt, d.Text)
		}
	}
}

func TestReferencesAreThoseOfTheConversation(t *testing.T) {
	many := ""
	for i := range 200 {
		many += fmt.Sprintf(" <%d@x>", i)
	}
	for name, tt := range map[string]struct{ header, replyTo, refs string }{
		"none":           {"", "", ""},
		"first":          {"Message-ID: <a@x>", "<a@x>", "<a@x>"},
		"references":     {"Message-ID: <c@x>\nReferences: <a@x> <b@x>", "<c@x>", "<a@x> <b@x> <c@x>"},
		"in-reply-to":    {"Message-ID: <c@x>\nIn-Reply-To: <b@x>", "<c@x>", "<b@x> <c@x>"},
		"two in it":      {"Message-ID: <c@x>\nIn-Reply-To: <a@x> <b@x>", "<c@x>", "<c@x>"},
		"odd ones":       {"Message-ID: <c@x>\nReferences: <no> <a@x\x00> <b b@x> <ü@x> <b@x>", "<c@x>", "<a@x> <bb@x> <b@x> <c@x>"},
		"long one":       {"Message-ID: <" + strings.Repeat("x", 500) + "@x>", "", ""},
		"many":           {"Message-ID: <z@x>\nReferences:" + many, "<z@x>", ""},
		"own id is none": {"Message-ID: nothing", "", ""},
	} {
		w := newWorld(t)
		ctx, ann := t.Context(), w.ann()
		ref := w.put("a1", "", "From: b@example.net\n"+tt.header+"\n\nx\n")
		d := must[mailview.Draft](t)(ann.Start(ctx, mailview.Reply, ref))
		d = must[mailview.Draft](t)(ann.SaveDraft(ctx, d, nil))
		d = must[mailview.Draft](t)(ann.SaveDraft(ctx, d, nil)) // from the draft itself
		if err := ann.Send(ctx, d, nil); err != nil {
			t.Fatal(name, err)
		}
		checkHeader(t, w.out.sent[0].text)
		sent := w.list(ann, w.role(ann, "sent").ID)[0]
		m := must[*mailview.Message](t)(ann.Message(ctx, w.role(ann, "sent").ID, sent.UID))
		join := func(ids []string) string {
			if len(ids) == 0 {
				return ""
			}
			return "<" + strings.Join(ids, "> <") + ">"
		}
		if got := join(m.References); name == "many" {
			if len(m.References) != 50 || m.References[0] != "0@x" || m.References[49] != "z@x" {
				t.Errorf("many: %s", got)
			}
		} else if got != tt.refs {
			t.Errorf("%s: references %s", name, got)
		}
		if got := join(m.InReplyTo); got != tt.replyTo || m.MessageID != d.ID {
			t.Errorf("%s: in reply to %s, is %s", name, got, m.MessageID)
		}
	}
}

// A directory that fails is not taken for a no.
type failing struct{ accounts.Directory }

func (failing) MaySend(context.Context, mailkeel.AccountID, string) (bool, error) {
	return false, fmt.Errorf("broken")
}

func TestAFailingDirectoryIsAnError(t *testing.T) {
	w := newWorld(t)
	w.mail.Directory = failing{w.mail.Directory}
	ref := w.put("a1", "", "From: b@example.net\nTo: c@example.net\n\nx\n")
	if _, err := w.ann().Start(t.Context(), mailview.ReplyAll, ref); err == nil {
		t.Error("no error")
	}
}
