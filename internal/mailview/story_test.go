package mailview_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// file is an Upload.
func file(name, typ, data string) mailview.Upload {
	return mailview.Upload{Name: name, Type: typ, Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(data)), nil
	}}
}

func TestAMessageIsReadAndAnswered(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	ref := w.put("a1", "", `From: Bob Jones <bob@example.net>
To: Ann <ann@example.org>, Carl <carl@example.net>
Cc: desk@example.org
Subject: AW: Lunch
Date: Fri, 27 Nov 2026 10:30:00 +0100
Message-ID: <m1@example.net>
References: <m0@example.net>
Content-Type: multipart/alternative; boundary=x

--x
Content-Type: text/plain; charset=utf-8

Hello Ann,
shall we?
-- 
Bob
--x
Content-Type: text/html

<p>Hello <b>Ann</b>,<br>shall we?</p>
--x--
`)
	if err := ann.SetSettings(ctx, mailview.Settings{Name: "Ann Smith", Signature: "Ann", Language: "de"}); err != nil {
		t.Fatal(err)
	}
	m := must[*mailview.Message](t)(ann.Message(ctx, ref.Folder, ref.UID))
	if len(m.Body) != 1 || !m.Body[0].HTML || !strings.Contains(m.Body[0].Text, "<b>Ann</b>") || !strings.HasPrefix(m.Body[0].Plain, "Hello Ann,\nshall") || len(m.Attachments) != 0 || m.Row.Attachments {
		t.Errorf("read %+v", m)
	}
	d := must[mailview.Draft](t)(ann.Start(ctx, mailview.ReplyAll, ref))
	want := "\n\nAm 27. November 2026 um 10:30 schrieb Bob Jones:\n> Hello Ann,\n> shall we?\n\n-- \nAnn\n"
	if d.Text != want || d.Subject != "Re: Lunch" || d.To != "Bob Jones <bob@example.net>, Carl <carl@example.net>" || d.Cc != "desk@example.org" {
		t.Errorf("an answer begins as %+v\ntext %q", d, d.Text)
	}
	d.Text = "Grüße\n" + d.Text
	d = must[mailview.Draft](t)(ann.SaveDraft(ctx, d, nil, file("böse/datei.txt", "text/plain", "data")))
	if len(d.Attachments) != 1 || d.Attachments[0].Name != "böse_datei.txt" {
		t.Errorf("attachments are %+v", d.Attachments)
	}
	again := must[mailview.Draft](t)(ann.OpenDraft(ctx, d.UID))
	if strings.TrimRight(again.Text, "\n") != strings.TrimRight(d.Text, "\n") || again.To != d.To || again.Cc != d.Cc || again.Subject != d.Subject || again.Re != ref || again.Kind != mailview.ReplyAll || again.ID != d.ID {
		t.Errorf("the draft is %+v\nwas %+v", again, d)
	}
	again.Bcc = "secret@example.net"
	if err := ann.Send(ctx, again, nil); err != nil {
		t.Fatal(err)
	}
	if len(w.out.sent) != 1 || len(w.out.sent[0].env.Rcpts) != 4 {
		t.Fatalf("sent %+v", w.out.sent)
	}
	text := w.out.sent[0].text
	for _, want := range []string{"In-Reply-To: <m1@example.net>\r\n", "References: <m0@example.net> <m1@example.net>\r\n", "From: Ann Smith <ann@example.org>\r\n", "filename*=utf-8''b%C3%B6se_datei.txt"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "X-Draft") || strings.Contains(text, "secret") {
		t.Errorf("sent\n%s", text)
	}
	if n := len(w.list(ann, w.role(ann, "drafts").ID)); n != 0 {
		t.Errorf("%d drafts are left", n)
	}
	sent := w.list(ann, w.role(ann, "sent").ID)
	if len(sent) != 1 || !sent[0].Attachments || !sent[0].Seen {
		t.Errorf("Sent has %+v", sent)
	}
	if rows := w.list(ann, ref.Folder); !rows[0].Answered {
		t.Errorf("the original is %+v", rows[0])
	}
	if err := ann.Send(ctx, again, nil); !errors.Is(err, store.ErrNoMessage) || len(w.out.sent) != 1 {
		t.Errorf("sent again: %v", err)
	}
}

func TestWhatIsRefusedIsKept(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	w.out.refuse = map[string]error{"no@example.net": &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 1}, Message: "no such user"}}
	d := mailview.Draft{To: "yes@example.net, No One <no@example.net>", Subject: "x", Text: "y"}
	err := ann.Send(ctx, d, nil, file("a.txt", "text/plain", "data"))
	var se *mailview.SendError
	if !errors.As(err, &se) || se.Sent != 1 || len(se.Refused) != 1 || se.Refused[0].Addr != "no@example.net" || !strings.Contains(se.Refused[0].Reason, "no such user") || se.Refused[0].Temporary {
		t.Fatalf("got %+v", err)
	}
	if se.Draft.To != "No One <no@example.net>" || len(se.Draft.Attachments) != 1 {
		t.Errorf("left is %+v", se.Draft)
	}
	rest := must[mailview.Draft](t)(ann.OpenDraft(ctx, se.Draft.UID))
	rest.To = "now@example.net"
	if err := ann.Send(ctx, rest, nil); err != nil {
		t.Fatal(err)
	}
	if len(w.out.sent) != 2 || w.out.sent[1].env.Rcpts[0].Addr != "now@example.net" {
		t.Errorf("sent %+v", w.out.sent)
	}
	if n := len(w.list(ann, w.role(ann, "drafts").ID)); n != 0 {
		t.Errorf("%d drafts are left", n)
	}
}
