package mailview_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// known are the header fields that a message may have.
var knownFields = "From To Cc Subject Date Message-ID In-Reply-To References MIME-Version Content-Type Content-Transfer-Encoding"

// checkHeader looks for lines that nobody meant in what was sent.
func checkHeader(t testing.TB, text string) {
	t.Helper()
	h, body, err := header.Read(strings.NewReader(text), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for f := range h.Fields() {
		n++
		if !strings.Contains(" "+knownFields+" ", " "+f.Name()+" ") || h.Count(f.Name()) != 1 {
			t.Errorf("a field %q %d times", f.Name(), h.Count(f.Name()))
		}
		for ln := range strings.SplitAfterSeq(string(f.Raw()), "\r\n") {
			if len(ln) > 1000 || strings.ContainsAny(strings.TrimSuffix(ln, "\r\n"), "\r\n\x00") || strings.Contains(ln, "\u2028") {
				t.Errorf("%s has the line %q", f.Name(), ln)
			}
		}
	}
	if n == 0 {
		t.Error("no header")
	}
	rest, _ := io.ReadAll(body)
	if strings.Contains(strings.ReplaceAll(string(rest), "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(string(rest), "\r\n", ""), "\r") {
		t.Error("a bare CR or LF in the body")
	}
}

// T32: whatever stands in any field, no line is added to a header.
func TestNothingThatIsTypedBecomesALineOfTheHeader(t *testing.T) {
	payloads := []string{
		"\r\nBcc: evil@example.net", "\nBcc: evil@example.net", "\rBcc: evil@example.net", "\r\n\r\nbody", "\x00", "\x00Bcc: x", "\u2028Bcc: evil@example.net",
		"\u2029X-Evil: 1", "\u0085X-Evil: 1", "\v\fX: 1", "=?utf-8?q?=0D=0ABcc:_evil@example.net?=", "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5uZXQ=?=", "%0d%0aBcc: x", "\\r\\nBcc: x",
		"\r\n Bcc: folded", "\r\n\tX: 1", "\xff\xfe\r\nX: 1", strings.Repeat("x", 2000), strings.Repeat("é", 2000), "\"\r\nX: 1", "a\r\n--boundary", "\x1b[2J", "\u202eX", "<>\r\n", "(\r\nX: 1)",
	}
	fields := map[string]func(d *mailview.Draft, s *mailview.Settings, u *mailview.Upload, p string){
		"to": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) { d.To += ", " + p },
		"to, name": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) {
			d.To += ", " + p + " <x@example.net>"
		},
		"to, quoted": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) {
			d.To += ", \"" + p + "\" <x@example.net>"
		},
		"to, local": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) {
			d.To += ", \"" + p + "\"@example.net"
		},
		"to, domain": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) {
			d.To += ", x@example.net" + p
		},
		"cc": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) {
			d.Cc = p + " <y@example.net>"
		},
		"bcc": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) {
			d.Bcc = p + " <z@example.net>"
		},
		"subject": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) { d.Subject = "x" + p },
		"text":    func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) { d.Text = "x" + p + "y" },
		"id": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) {
			d.ID = "x" + p + "@example.org"
		},
		"id, right": func(d *mailview.Draft, _ *mailview.Settings, _ *mailview.Upload, p string) { d.ID = "x@y" + p },
		"file":      func(_ *mailview.Draft, _ *mailview.Settings, u *mailview.Upload, p string) { u.Name = "a" + p + ".txt" },
		"type":      func(_ *mailview.Draft, _ *mailview.Settings, u *mailview.Upload, p string) { u.Type = "text/plain" + p },
		"type, main": func(_ *mailview.Draft, _ *mailview.Settings, u *mailview.Upload, p string) {
			u.Type = "text" + p + "/plain"
		},
		"name":      func(_ *mailview.Draft, s *mailview.Settings, _ *mailview.Upload, p string) { s.Name = "Ann" + p },
		"signature": func(_ *mailview.Draft, s *mailview.Settings, _ *mailview.Upload, p string) { s.Signature = "Ann" + p },
	}
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	sent := 0
	for name, set := range fields {
		for _, p := range payloads {
			d := mailview.Draft{To: "bob@example.net", Subject: "s", Text: "t"}
			s, u := mailview.Settings{}, file("a.txt", "text/plain", "data")
			set(&d, &s, &u, p)
			if err := ann.SetSettings(ctx, s); err != nil && !errors.Is(err, store.ErrInvalid) {
				t.Fatal(err)
			}
			// A draft takes anything; it is judged when it is sent.
			saved, err := ann.SaveDraft(ctx, d, nil, u)
			if err != nil {
				t.Errorf("%s, %.30q: %v", name, p, err)
				continue
			}
			_, rc, err := ann.OpenRaw(ctx, w.role(ann, "drafts").ID, saved.UID)
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := io.ReadAll(rc)
			rc.Close()
			h, _, _ := header.Read(strings.NewReader(string(raw)), 1<<20)
			for f := range h.Fields() {
				if !strings.Contains(" Bcc "+knownFields+" ", " "+f.Name()+" ") || h.Count(f.Name()) > 1 {
					t.Errorf("%s, %.30q: the draft has %q", name, p, f.Raw())
				}
			}
			w.out.sent = nil
			var bad *mailview.AddressError
			var se *mailview.SendError
			switch err := ann.Send(ctx, saved, nil); {
			case errors.As(err, &bad):
			case errors.As(err, &se):
				t.Errorf("%s, %.30q: %v", name, p, err)
			case err != nil:
				t.Errorf("%s, %.30q: %v", name, p, err)
			default:
				sent++
				checkHeader(t, w.out.sent[0].text)
				for _, r := range w.out.sent[0].env.Rcpts {
					if r.Addr == "evil@example.net" || strings.ContainsAny(r.Addr, "\r\n\x00") {
						t.Errorf("%s, %.30q: sent to %q", name, p, r.Addr)
					}
				}
				if t.Failed() {
					t.Fatalf("%s, %q:\n%s", name, p, w.out.sent[0].text)
				}
			}
		}
	}
	t.Logf("%d fields, %d payloads, %d sent", len(fields), len(payloads), sent)
	if sent < 200 {
		t.Errorf("only %d were sent", sent)
	}
}

// What was written is what is read.
func FuzzCompose(f *testing.F) {
	f.Add("Ann", "Bob <bob@example.net>", "Grüße", "text\n> quote\n", "datei ä.txt", "data")
	f.Add("=?utf-8?q?x?=", `"a, b" <x@example.net>`, "=?utf-8?b?eA==?= x", "-- \nx", "=?x?q?y?=", "\x00\r\n")
	f.Add(`"`, "x@bücher.example", strings.Repeat("long ", 100)+strings.Repeat("x", 300), strings.Repeat("x", 2000), strings.Repeat("ä", 100)+".pdf", "")
	f.Add("", "", "\r\nX: 1", "\r\n.\r\n", "a\r\nb", "--x\r\n")
	f.Fuzz(func(t *testing.T, name, to, subject, text, file, data string) {
		w := newWorld(t)
		ctx, ann := t.Context(), w.ann()
		if err := ann.SetSettings(ctx, mailview.Settings{Name: name}); err != nil && !errors.Is(err, store.ErrInvalid) {
			t.Fatal(err)
		}
		d := mailview.Draft{To: to, Bcc: "bcc@example.net", Subject: subject, Text: text}
		d, err := ann.SaveDraft(ctx, d, nil, fileOf(file, data))
		if errors.Is(err, store.ErrLimit) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := ann.OpenDraft(ctx, d.UID)
		if err != nil {
			t.Fatal(err)
		}
		if again.Text != d.Text || again.Subject != d.Subject || again.ID != d.ID || again.Bcc != d.Bcc || len(again.Attachments) != 1 || again.Attachments[0] != d.Attachments[0] {
			t.Fatalf("saved %+v\nread  %+v", d, again)
		}
		_, rc, err := ann.OpenPart(ctx, w.role(ann, "drafts").ID, d.UID, d.Attachments[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(rc); string(got) != data {
			t.Fatalf("attached %q, read %q", data, got)
		}
		if err := ann.Send(ctx, again, nil); err != nil {
			var bad *mailview.AddressError
			if errors.As(err, &bad) || errors.Is(err, store.ErrLimit) {
				return
			}
			t.Fatal(err)
		}
		l := w.out.sent[0]
		checkHeader(t, l.text)
		m, err := message.Parse(strings.NewReader(l.text))
		if err != nil {
			t.Fatal(err)
		}
		var addrs []string
		for _, a := range m.Envelope.To {
			addrs = append(addrs, a.Mailbox+"@"+a.Host)
		}
		for _, r := range l.env.Rcpts {
			if r.Addr != "bcc@example.net" && !strings.Contains(strings.ReplaceAll(strings.ToLower(strings.Join(addrs, " ")), `"`, ""), strings.ReplaceAll(strings.ToLower(r.Addr), `"`, "")) && !strings.Contains(r.Addr, `\`) {
				t.Fatalf("sent to %q, the header says %q", r.Addr, addrs)
			}
		}
		if got := message.DecodeHeader(m.Envelope.Subject); got != d.Subject {
			t.Fatalf("subject %q is read as %q", d.Subject, got)
		}
	})
}

func fileOf(name, data string) mailview.Upload { return file(name, "application/pdf", data) }

func TestAMessageIsAttachedAsItIs(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	eight := "Subject: inner\n\ngrüße\n--x\n"
	for name, tt := range map[string]struct {
		data, typ, encoding string
		eight               bool
	}{
		"7bit":       {"Subject: inner\n\nhello\n", "message/rfc822", "7bit", false},
		"8bit":       {eight, "message/rfc822", "8bit", true},
		"long lines": {"Subject: inner\n\n" + strings.Repeat("x", 1000), "application/octet-stream", "base64", false},
		"NUL":        {"Subject: inner\n\n\x00", "application/octet-stream", "base64", false},
		"empty":      {"", "application/octet-stream", "base64", false},
	} {
		w.out.sent = nil
		if err := ann.Send(ctx, mailview.Draft{To: "bob@example.net", Subject: name}, nil, file("m.eml", "message/rfc822", tt.data)); err != nil {
			t.Fatal(name, err)
		}
		l := w.out.sent[0]
		checkHeader(t, l.text)
		m, _ := message.Parse(strings.NewReader(l.text))
		p := m.Root.Parts[1]
		if want := map[bool]string{true: "8bit", false: "7bit"}[tt.eight]; m.Root.Encoding != want {
			t.Errorf("%s: the whole is %s", name, m.Root.Encoding)
		}
		if p.Type+"/"+p.Subtype != tt.typ || p.Encoding != tt.encoding || l.env.EightBit != tt.eight {
			t.Errorf("%s: %s/%s %s, 8bit %v", name, p.Type, p.Subtype, p.Encoding, l.env.EightBit)
		}
		if tt.encoding != "base64" && l.text[p.BodyStart:p.End] != strings.ReplaceAll(tt.data, "\n", "\r\n") {
			t.Errorf("%s: %q", name, l.text[p.BodyStart:p.End])
		}
	}
}

func TestAForwardTakesTheAttachments(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	ref := w.put("a1", "", "From: Bob <bob@example.net>\nTo: ann@example.org\nMessage-ID: <m1@x>\nSubject: Fwd: FW: hello\nDate: Fri, 27 Nov 2026 10:30:00 +0100\n"+
		multipart("mixed", nested(multipart("alternative", part(plainType, "hello"), nested(multipart("related", part(htmlType, "<b>hello</b>"), part(pngType, "png"))))),
			part(pdfType+"\nContent-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString([]byte("the pdf"))),
			part("Content-Type: message/rfc822", "Subject: inner\n"+multipart("mixed", part(plainType, "inner text"), part(pdfType, "inner pdf")))))
	d := must[mailview.Draft](t)(ann.Start(ctx, mailview.Forward, ref))
	want := "\n\n---------- Forwarded message ----------\nFrom: Bob <bob@example.net>\nDate: 27 November 2026 at 10:30\nSubject: Fwd: FW: hello\nTo: ann@example.org\n\nhello\n"
	if d.Text != want || d.Subject != "Fwd: hello" || d.To != "" || d.UID != 0 {
		t.Errorf("got %+v", d)
	}
	var names []string
	for _, a := range d.Attachments {
		names = append(names, a.Path+" "+a.Name)
	}
	if fmt.Sprint(names) != "[1.2.2 part-1.2.2.png 2 a.pdf 3 inner.eml]" {
		t.Errorf("attachments %v", names)
	}
	if n := len(w.list(ann, w.role(ann, "drafts").ID)); n != 0 {
		t.Error("a draft was saved")
	}
	d.To = "carl@example.net"
	if err := ann.Send(ctx, d, []string{"1.2.2"}, file("more.txt", "text/plain", "more")); err != nil {
		t.Fatal(err)
	}
	text := w.out.sent[0].text
	m, _ := message.Parse(strings.NewReader(text))
	if len(m.Root.Parts) != 4 {
		t.Fatalf("sent\n%s", text)
	}
	pdf, inner := m.Root.Parts[1], m.Root.Parts[2]
	data, _ := io.ReadAll(pdf.Reader(strings.NewReader(text[pdf.BodyStart:pdf.End])))
	if string(data) != "the pdf" || inner.Envelope == nil || inner.Envelope.Subject != "inner" || len(inner.Parts[0].Parts) != 2 {
		t.Errorf("sent\n%s", text)
	}
	if m.Envelope.InReplyTo != "" || len(m.Envelope.References) != 1 {
		t.Errorf("refers to %+v", m.Envelope)
	}
	if r := w.list(ann, ref.Folder)[0]; !r.Forwarded || r.Answered {
		t.Errorf("the original is %+v", r)
	}
	// What is forwarded has gone.
	d = must[mailview.Draft](t)(ann.Start(ctx, mailview.Forward, ref))
	must[int](t)(ann.Delete(ctx, ref.Folder, ref.UID))
	if _, err := ann.SaveDraft(ctx, d, nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestLargeAttachmentsAreNotHeld(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	opened, most := 0, 0
	large := func(size int) mailview.Upload {
		return mailview.Upload{Name: "large.bin", Open: func() (io.ReadCloser, error) {
			opened++
			return io.NopCloser(io.LimitReader(chunks{&most}, int64(size))), nil
		}}
	}
	w.mail.MaxMessage = 3 << 20
	d := must[mailview.Draft](t)(ann.SaveDraft(ctx, mailview.Draft{Text: "x"}, nil, large(2<<20)))
	if most > 64<<10 || opened != 1 || d.Attachments[0].Type != "application/octet-stream" {
		t.Errorf("read %d bytes at once, opened %d times, %+v", most, opened, d.Attachments)
	}
	_, err := ann.SaveDraft(ctx, d, nil, large(2<<20))
	if !errors.Is(err, mailview.ErrTooLarge) || !errors.Is(err, store.ErrLimit) {
		t.Errorf("got %v", err)
	}
	if again, err := ann.OpenDraft(ctx, d.UID); err != nil || len(again.Attachments) != 1 { // it is still there
		t.Errorf("%+v, %v", again, err)
	}
	d = must[mailview.Draft](t)(ann.SaveDraft(ctx, d, []string{d.Attachments[0].Path}, file("small", "", "x")))
	if len(d.Attachments) != 1 || d.Attachments[0].Name != "small" {
		t.Errorf("%+v", d)
	}
	if _, err := ann.SaveDraft(ctx, d, nil, mailview.Upload{Name: "x", Open: func() (io.ReadCloser, error) { return nil, errors.New("broken") }}); err == nil || err.Error() != "broken" {
		t.Errorf("got %v", err)
	}
	if n := len(w.list(ann, w.role(ann, "drafts").ID)); n != 1 {
		t.Errorf("%d drafts", n)
	}
}

// chunks notes how much is asked of it at once.
type chunks struct{ most *int }

func (c chunks) Read(b []byte) (int, error) {
	*c.most = max(*c.most, len(b))
	return len(b), nil
}

func TestSendingAgainSendsOnce(t *testing.T) {
	temporary := &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 3, 0}, Message: "later"}
	t.Run("the answer was lost", func(t *testing.T) {
		w := newWorld(t)
		ctx, ann := t.Context(), w.ann()
		d := must[mailview.Draft](t)(ann.Start(ctx, mailview.New, mailview.Ref{}))
		d.To, d.Subject, d.Text = "bob@example.net", "s", "hello  \n\nworld \n\n"
		w.out.fail = temporary // it has it, and did not say so
		var se *mailview.SendError
		if err := ann.Send(ctx, d, nil, file("a", "", "x")); !errors.As(err, &se) || se.Sent != 0 || !se.Refused[0].Temporary {
			t.Fatalf("got %v", err)
		}
		w.out.fail = nil
		again := must[mailview.Draft](t)(ann.OpenDraft(ctx, se.Draft.UID)) // as a person does
		if err := ann.Send(ctx, again, nil); err != nil {
			t.Fatal(err)
		}
		if len(w.out.sent) != 1 || w.out.calls != 2 {
			t.Errorf("sent %d times", len(w.out.sent))
		}
	})
	t.Run("the form was sent twice", func(t *testing.T) {
		w := newWorld(t)
		ctx, ann := t.Context(), w.ann()
		d := must[mailview.Draft](t)(ann.Start(ctx, mailview.New, mailview.Ref{}))
		d.To, d.Text = "bob@example.net", "hello"
		for range 2 {
			if err := ann.Send(ctx, d, nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(w.out.sent) != 1 || len(w.list(ann, w.role(ann, "sent").ID)) != 1 || len(w.list(ann, w.role(ann, "drafts").ID)) != 0 {
			t.Errorf("sent %d times", len(w.out.sent))
		}
	})
	t.Run("another text is another message", func(t *testing.T) {
		w := newWorld(t)
		ctx, ann := t.Context(), w.ann()
		d := must[mailview.Draft](t)(ann.Start(ctx, mailview.New, mailview.Ref{}))
		d.To, d.Text = "bob@example.net", "hello"
		for range 2 {
			if err := ann.Send(ctx, d, nil); err != nil {
				t.Fatal(err)
			}
			d.Text += "!"
		}
		if len(w.out.sent) != 2 {
			t.Errorf("sent %d times", len(w.out.sent))
		}
	})
}

func TestOneOfManySendsSends(t *testing.T) {
	for _, saved := range []bool{true, false} {
		w := newWorld(t)
		ctx, ann := t.Context(), w.ann()
		w.role(ann, "drafts")
		d := must[mailview.Draft](t)(ann.Start(ctx, mailview.New, mailview.Ref{}))
		d.To, d.Text = "bob@example.net", "hello"
		if saved {
			d = must[mailview.Draft](t)(ann.SaveDraft(ctx, d, nil, file("a", "", "x")))
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := ann.Send(ctx, d, nil); err != nil && !errors.Is(err, store.ErrNoMessage) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(w.out.sent) != 1 || len(w.list(ann, w.role(ann, "drafts").ID)) != 0 || len(w.list(ann, w.role(ann, "sent").ID)) != 1 {
			t.Errorf("saved %v: sent %d times", saved, len(w.out.sent))
		}
	}
}

func TestNothingIsSentWithoutRecipients(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	if err := ann.Send(ctx, mailview.Draft{Text: "x"}, nil); !errors.Is(err, mailview.ErrNoRecipient) {
		t.Error(err)
	}
	var bad *mailview.AddressError
	if err := ann.Send(ctx, mailview.Draft{To: "a@example.net", Cc: "b@example.net, bob", Text: "x"}, nil); !errors.As(err, &bad) || bad.Field != "cc" || bad.Text != "bob" {
		t.Error(err)
	}
	if len(w.out.sent) != 0 {
		t.Error("something was sent")
	}
	// The null sender of another account: who may not write as an address is refused.
	err := w.mail.Of("b1", "ann@example.org").Send(ctx, mailview.Draft{To: "a@example.net"}, nil)
	var se *mailview.SendError
	if !errors.As(err, &se) || se.Sent != 0 || len(se.Refused) != 1 {
		t.Errorf("got %v", err)
	}
}

// A submission that is interrupted leaves the draft.
func TestADraftOutlivesItsRequest(t *testing.T) {
	w := newWorld(t)
	ann := w.ann()
	ctx, cancel := context.WithCancel(t.Context())
	w.mail.Submit = mailkeel.HandlerFunc(func(context.Context, *mailkeel.Envelope, mailkeel.Content) error {
		cancel()
		return context.Canceled
	})
	if err := ann.Send(ctx, mailview.Draft{To: "bob@example.net", Text: "hello"}, nil); err == nil {
		t.Error("sent")
	}
	if n := len(w.list(ann, w.role(ann, "drafts").ID)); n != 1 {
		t.Errorf("%d drafts", n)
	}
}
