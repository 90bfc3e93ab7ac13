package mailview_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// broken is a blob store in which no blob can be kept.
type broken struct{ blob.Store }

func (b broken) Create(ctx context.Context) (blob.Writer, error) {
	w, err := b.Store.Create(ctx)
	return brokenWriter{w}, err
}

type brokenWriter struct{ blob.Writer }

var errDisk = errors.New("no space left")

func (brokenWriter) Commit() (blob.Info, error) { return blob.Info{}, errDisk }

// readOnly is a backend that changes nothing any more.
type readOnly struct{ store.Backend }

func (readOnly) Update(context.Context, func(store.Tx) error) error { return errDisk }

func TestAFailureLosesNoDraft(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	d := must[mailview.Draft](t)(ann.SaveDraft(ctx, mailview.Draft{To: "bob@example.net", Text: "first"}, nil, file("a.txt", "", "data")))
	check := func(what string) {
		t.Helper()
		again := must[mailview.Draft](t)(ann.OpenDraft(ctx, d.UID))
		if again.Text != "first" || len(again.Attachments) != 1 || len(w.list(ann, w.role(ann, "drafts").ID)) != 1 || len(w.out.sent) != 0 {
			t.Errorf("%s: left is %+v", what, again)
		}
	}
	next := d
	next.Text = strings.Repeat("second ", 100)
	for what, fail := range map[string]func() (undo func(), want error){
		"blobs": func() (func(), error) {
			was := w.store.Blobs
			w.store.Blobs = broken{was}
			return func() { w.store.Blobs = was }, errDisk
		},
		"rows": func() (func(), error) {
			was := w.store.Backend
			w.store.Backend = readOnly{was}
			return func() { w.store.Backend = was }, errDisk
		},
		"quota": func() (func(), error) {
			w.store.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) { return mailkeel.Quota{Bytes: 100}, nil }
			return func() { w.store.Limit = nil }, store.ErrOverQuota
		},
		"size": func() (func(), error) {
			w.mail.MaxMessage = 100
			return func() { w.mail.MaxMessage = 0 }, mailview.ErrTooLarge
		},
	} {
		undo, want := fail()
		if _, err := ann.SaveDraft(ctx, next, nil); !errors.Is(err, want) {
			t.Errorf("%s: saving: %v", what, err)
		}
		if err := ann.Send(ctx, next, nil); !errors.Is(err, want) {
			t.Errorf("%s: sending: %v", what, err)
		}
		undo()
		check(what)
	}
	// It was sent, but cannot go.
	w.mail.Submit = mailkeel.HandlerFunc(func(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) error {
		err := mailkeel.Deliver(ctx, w.out, env, c)[0].Err
		w.store.Backend = readOnly{w.rows}
		return err
	})
	if err := ann.Send(ctx, d, nil); err != nil || len(w.out.sent) != 1 {
		t.Fatalf("%v, sent %d times", err, len(w.out.sent))
	}
	w.store.Backend = w.rows
	rows := w.list(ann, w.role(ann, "drafts").ID)
	if len(rows) != 1 {
		t.Fatalf("drafts are %+v", rows)
	}
	again := must[mailview.Draft](t)(ann.OpenDraft(ctx, rows[0].UID))
	w.mail.Submit = w.out
	if err := ann.Send(ctx, again, nil); err != nil || len(w.out.sent) != 1 || len(w.list(ann, w.role(ann, "drafts").ID)) != 0 {
		t.Errorf("%v, sent %d times", err, len(w.out.sent))
	}
}

func TestDraftsOfOtherPrograms(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	w.role(ann, "drafts")
	ref := w.put("a1", "Drafts", `Message-ID: <other@program>
From: ann@example.org
To: Bob <bob@example.net>, unfinished
Bcc: secret@example.net
In-Reply-To: <m1@x>
References: <m0@x> <m1@x>
X-Draft-Of: nonsense 1
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
`+multipart("mixed", nested(multipart("alternative", part(plainType+"; format=flowed", "hello \nworld"), part(htmlType, "<b>hello</b>"))), part(pdfType, "pdf")), store.FlagDraft)
	d := must[mailview.Draft](t)(ann.OpenDraft(ctx, ref.UID))
	if d.ID != "other@program" || d.To != "Bob <bob@example.net>, unfinished" || d.Bcc != "secret@example.net" || d.Subject != "Grüße" || d.Kind != mailview.New || len(d.Attachments) != 1 {
		t.Errorf("got %+v", d)
	}
	if d.Text != "hello world" { // the plain version
		t.Errorf("text %q", d.Text)
	}
	d = must[mailview.Draft](t)(ann.SaveDraft(ctx, d, nil))
	if again := must[mailview.Draft](t)(ann.OpenDraft(ctx, d.UID)); again.To != d.To || again.Text != "hello world" || len(again.Attachments) != 1 {
		t.Errorf("got %+v", again)
	}
	var bad *mailview.AddressError
	if err := ann.Send(ctx, d, nil); !errors.As(err, &bad) || bad.Text != "unfinished" || bad.Field != "to" {
		t.Errorf("got %v", err)
	}
	d.To = "bob@example.net"
	if err := ann.Send(ctx, d, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Message-ID: <other@program>\r\n", "In-Reply-To: <m1@x>\r\n", "References: <m0@x> <m1@x>\r\n", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"} {
		if !strings.Contains(w.out.sent[0].text, want) {
			t.Errorf("no %q in\n%s", want, w.out.sent[0].text)
		}
	}
	// The copy in Sent has Bcc.
	sent := w.role(ann, "sent")
	m := must[*mailview.Message](t)(ann.Message(ctx, sent.ID, w.list(ann, sent.ID)[0].UID))
	if len(m.Bcc) != 1 || m.Bcc[0].Addr != "secret@example.net" {
		t.Errorf("got %+v", m)
	}
}

func TestADraftOfEachLanguageStaysWhatItIs(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	for _, text := range []string{
		"", "hello", "Grüße\n\naus Köln", "日本語のテキスト " + strings.Repeat("長い", 400), "שלום\nעולם", "a\tb", "-- \nsignature", "> quote\n>> more\nanswer",
		"  indented\n\tcode", "From the beginning", ".\n..\n", strings.Repeat("word ", 500), strings.Repeat("x", 3000), "👩‍👩‍👧 family", "line\r\nends\rof\u2028all kinds",
	} {
		d := must[mailview.Draft](t)(ann.SaveDraft(ctx, mailview.Draft{To: "bob@example.net", Text: text}, nil))
		again := must[mailview.Draft](t)(ann.OpenDraft(ctx, d.UID))
		want := strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n").Replace(text), " \n")
		if again.Text != want {
			t.Errorf("%q became %q", text, again.Text)
		}
		w.out.sent = nil
		if err := ann.Send(ctx, again, nil); err != nil {
			t.Fatal(err)
		}
		for ln := range strings.SplitSeq(w.out.sent[0].text, "\r\n") {
			if len(ln) > 998 {
				t.Errorf("%.20q: a line of %d bytes", text, len(ln))
			}
		}
	}
}

func TestAttachmentsKeepTheirBytes(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	for _, size := range []int{0, 1, 56, 57, 58, 75, 76, 77, 1000, 100_000} {
		data := strings.Repeat("\x00\xff\r\n", size)[:size]
		d := must[mailview.Draft](t)(ann.SaveDraft(ctx, mailview.Draft{}, nil, file("a.bin", "application/x-any; name=x", data)))
		for range 3 { // from draft to draft
			d = must[mailview.Draft](t)(ann.SaveDraft(ctx, d, nil))
		}
		p, rc, err := ann.OpenPart(ctx, w.role(ann, "drafts").ID, d.UID, d.Attachments[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(rc); string(got) != data || p.Type != "application/x-any" || p.Size < int64(size)-3 || p.Size > int64(size)+60 {
			t.Errorf("%d bytes became %d, %+v", size, len(got), p)
		}
	}
}
