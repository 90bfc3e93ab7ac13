package mailview_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// shape writes down what is read of a message.
func shape(m *mailview.Message) string {
	var b strings.Builder
	for _, s := range m.Body {
		switch {
		case s.Head != nil:
			fmt.Fprintf(&b, "%s head %s\n", s.Part.Path, s.Head.Subject)
			continue
		case s.HTML:
			fmt.Fprintf(&b, "%s html %q", s.Part.Path, s.Text)
			if s.Plain != "" {
				fmt.Fprintf(&b, " plain %q", s.Plain)
			}
		default:
			fmt.Fprintf(&b, "%s text %q", s.Part.Path, s.Text)
		}
		b.WriteByte('\n')
	}
	for _, a := range m.Attachments {
		fmt.Fprintf(&b, "%s file %s %s", a.Path, a.Type, a.Name)
		if a.Inline {
			fmt.Fprintf(&b, " inline %s", a.ContentID)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func part(header, body string) string { return "--x\n" + header + "\n\n" + body + "\n" }

func multipart(subtype string, parts ...string) string {
	b := fmt.Sprintf("b%d", len(subtype)+len(strings.Join(parts, "")))
	for i, p := range parts {
		parts[i] = strings.Replace(p, "--x\n", "--"+b+"\n", 1)
	}
	return "Content-Type: multipart/" + subtype + "; boundary=" + b + "\n\n" + strings.Join(parts, "") + "--" + b + "--\n"
}

// nested is a part that is a multipart.
func nested(m string) string {
	return "--x\n" + m
}

const (
	plainType = "Content-Type: text/plain"
	htmlType  = "Content-Type: text/html"
	pngType   = "Content-Type: image/png\nContent-ID: <img1>"
	pdfType   = "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment"
)

func TestTheBestOfAMessageIsRead(t *testing.T) {
	for name, tt := range map[string]struct {
		message, want string
		attachments   bool
	}{
		"plain":              {"\nhello\n", "1 text \"hello\\n\"\n", false},
		"html":               {htmlType + "\n\n<p>hello\n", "1 html \"<p>hello\\n\"\n", false},
		"flowed":             {plainType + "; format=flowed\n\nhello \nworld\n", "1 text \"hello world\\n\"\n", false},
		"latin1":             {plainType + "; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ngr=FC=DFe\n", "1 text \"grüße\\n\"\n", false},
		"nothing but a file": {"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n", "1 file application/pdf part-1.pdf\n", true},
		"text as a file":     {plainType + "; name=log.txt\nContent-Disposition: attachment\n\nhello\n", "1 file text/plain log.txt\n", true},
		"alternative": {multipart("alternative", part(plainType, "hello"), part(htmlType, "<b>hello")),
			"2 html \"<b>hello\" plain \"hello\"\n", false},
		"alternative, upside down": {multipart("alternative", part(htmlType, "<b>hello"), part(plainType, "hello")),
			"1 html \"<b>hello\" plain \"hello\"\n", false},
		"alternative of texts": {multipart("alternative", part(plainType, "one"), part(plainType, "two"), part("Content-Type: text/enriched", "three")),
			"2 text \"two\"\n", false},
		"invitation": {multipart("alternative", part(plainType, "hello"), part("Content-Type: text/calendar; method=REQUEST", "BEGIN:VCALENDAR")),
			"1 text \"hello\"\n2 file text/calendar part-2.ics\n", true},
		"related in alternative": {multipart("alternative", part(plainType, "hello"), nested(multipart("related", part(htmlType, "<img src=cid:img1>"), part(pngType, "png")))),
			"2.1 html \"<img src=cid:img1>\" plain \"hello\"\n2.2 file image/png part-2.2.png inline img1\n", false},
		"related with start": {strings.Replace(multipart("related", part(pngType, "png"), part(htmlType+"\nContent-ID: <root>", "<p>")), "related;", "related; start=\"<root>\";", 1),
			"2 html \"<p>\"\n1 file image/png part-1.png inline img1\n", false},
		"alternative in related": {multipart("related", nested(multipart("alternative", part(plainType, "hello"), part(htmlType, "<p>"))), part(pngType, "png"), part(pdfType, "pdf")),
			"1.2 html \"<p>\" plain \"hello\"\n2 file image/png part-2.png inline img1\n3 file application/pdf a.pdf\n", true},
		"mixed in order": {multipart("mixed", part(plainType, "one"), part(pdfType, "pdf"), part(htmlType, "<p>two"), part(plainType, "three")),
			"1 text \"one\"\n3 html \"<p>two\"\n4 text \"three\"\n2 file application/pdf a.pdf\n", true},
		"of Apple": {multipart("alternative", part(plainType, "hello"), nested(multipart("mixed", part(htmlType, "<p>one"), part(pngType+"\nContent-Disposition: inline", "png"), part(htmlType, "<p>two")))),
			"2.1 html \"<p>one\" plain \"hello\"\n2.3 html \"<p>two\"\n2.2 file image/png part-2.2.png inline img1\n", false},
		"inline picture without html": {multipart("mixed", part(plainType, "hello"), part(pngType+"\nContent-Disposition: inline", "png")),
			"1 text \"hello\"\n2 file image/png part-2.png\n", true},
		"signed": {multipart("signed", part(plainType, "hello"), part("Content-Type: application/pgp-signature", "sig")),
			"1 text \"hello\"\n2 file application/pgp-signature part-2.asc\n", false},
		"report": {multipart("report", part(plainType, "bounced"), part("Content-Type: message/delivery-status", "Reporting-MTA: dns; x"), part("Content-Type: text/rfc822-headers", "Subject: y")),
			"1 text \"bounced\"\n2 text \"Reporting-MTA: dns; x\"\n3 text \"Subject: y\"\n", false},
		"forwarded": {multipart("mixed", part(plainType, "see"), part("Content-Type: message/rfc822", "Subject: inner\n\nhello"), part(pdfType, "pdf")),
			"1 text \"see\"\n2 head inner\n2.1 text \"hello\"\n2 file message/rfc822 inner.eml\n3 file application/pdf a.pdf\n", true},
		"forwarded with parts": {multipart("mixed", part(plainType, "see"), part("Content-Type: message/rfc822\nContent-Disposition: attachment", "Subject: inner\n"+multipart("mixed", part(plainType, "hello"), part(pdfType, "pdf")))),
			"1 text \"see\"\n2 head inner\n2.1 text \"hello\"\n2 file message/rfc822 inner.eml\n2.2 file application/pdf a.pdf\n", true},
		"digest": {multipart("digest", "--x\n\nSubject: one\n\nfirst\n", "--x\n\nSubject: two\n\nsecond\n"),
			"1 head one\n1.1 text \"first\"\n2 head two\n2.1 text \"second\"\n1 file message/rfc822 one.eml\n2 file message/rfc822 two.eml\n", true},
		"named text is both": {multipart("mixed", part(plainType, "hello"), part(plainType+"; name=a.txt\nContent-Disposition: inline", "data")),
			"1 text \"hello\"\n2 text \"data\"\n2 file text/plain a.txt\n", true},
		"unknown encoding": {plainType + "\nContent-Transfer-Encoding: x-uuencode\n\nhello\n", "1 file text/plain part-1.txt\n", true},
		"controls":         {"\na\x00b\x1b[31mc\rd\u2028e\n", "1 text \"ab[31mc\\nd\\u2028e\\n\"\n", false},
		"empty":            {"Content-Type: multipart/mixed; boundary=y\n\n", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ref := w.put("a1", "", "Subject: s\n"+tt.message)
			m := must[*mailview.Message](t)(w.ann().Message(t.Context(), ref.Folder, ref.UID))
			if got := shape(m); got != tt.want || m.Row.Attachments != tt.attachments || m.Unreadable != nil {
				t.Errorf("got\n%s\nwant\n%s\nattachments %v, %v", got, tt.want, m.Row.Attachments, m.Unreadable)
			}
			for _, s := range m.Body {
				p, rc, err := w.ann().OpenPart(t.Context(), ref.Folder, ref.UID, s.Part.Path)
				if err != nil || p.Path != s.Part.Path || p.Type != s.Part.Type {
					t.Errorf("part %s: %+v, %v", s.Part.Path, p, err)
					continue
				}
				rc.Close()
			}
			for _, a := range m.Attachments {
				p, rc, err := w.ann().OpenPart(t.Context(), ref.Folder, ref.UID, a.Path)
				if err != nil || p.Name != a.Name || p.Type != a.Type || p.Size != a.Size {
					t.Errorf("part %s: %+v, %v", a.Path, p, err)
					continue
				}
				rc.Close()
			}
		})
	}
}

func TestPartsAreOpened(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	ref := w.put("a1", "", "From: a@b.c\nSubject: =?utf-8?q?=C3=BC?= \u202e\n"+multipart("related", part(htmlType+"; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable", "=FC"),
		part("Content-Type: image/png\nContent-ID: <img1@x>\nContent-Transfer-Encoding: base64", "aGVs\nbG8="), part("Content-Type: message/rfc822", "Subject: in\n\nhello")))
	for path, want := range map[string]string{"1": "\xfc", "2": "hello", "3": "Subject: in\r\n\r\nhello", "3.1": "hello"} {
		p, rc, err := ann.OpenPart(ctx, ref.Folder, ref.UID, path)
		if err != nil {
			t.Fatal(path, err)
		}
		data, _ := io.ReadAll(rc)
		rc.Close()
		if string(data) != want || path == "1" && p.Charset != "iso-8859-1" {
			t.Errorf("%s: %+v %q", path, p, data)
		}
	}
	for _, path := range []string{"", "0", "4", "1.1", "3.2", "-1", "01", "1.", "a", "3.1.1", strings.Repeat("1.", 5000) + "1"} {
		if _, _, err := ann.OpenPart(ctx, ref.Folder, ref.UID, path); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%.20q: %v", path, err)
		}
	}
	p, rc, err := ann.OpenCID(ctx, ref.Folder, ref.UID, "img1@x")
	if err != nil || p.Path != "2" || !p.Inline || p.Type != "image/png" {
		t.Fatalf("%+v, %v", p, err)
	}
	rc.Close()
	if _, _, err := ann.OpenCID(ctx, ref.Folder, ref.UID, ""); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	size, rc, err := ann.OpenRaw(ctx, ref.Folder, ref.UID)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(rc)
	if int64(len(raw)) != size || !strings.HasPrefix(string(raw), "From: a@b.c\r\n") {
		t.Errorf("%d of %d bytes", len(raw), size)
	}
	h, err := ann.Header(ctx, ref.Folder, ref.UID)
	if err != nil || !strings.HasPrefix(h, "From: a@b.c\nSubject: =?utf-8?q?=C3=BC?= \nContent-Type: multipart/related; boundary=") {
		t.Errorf("%q, %v", h, err)
	}
}

func TestOnlyOurOwnJudgementIsShown(t *testing.T) {
	w := newWorld(t)
	prefix := "Return-Path: <x@example.net>\r\nAuthentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=x;\r\n\tdkim=pass (good) header.d=example.net;\r\n\tdmarc=fail\r\n" +
		"X-Spam-Status: Yes, score=5.0\r\n\t(spf: does not \u202ealign)\r\n"
	forged := "Authentication-Results: mx.example.org; dmarc=pass\r\nX-Spam-Status: No, score=0.0 (all is well)\r\n"
	for _, tt := range []struct{ prefix, verdict, authentic string }{
		{prefix, "spf: does not align", "spf=pass dkim=pass dmarc=fail"}, {"", "", ""},
	} {
		ref := w.putRaw("a1", "", forged+"Subject: x\r\n\r\nx", tt.prefix)
		m := must[*mailview.Message](t)(w.ann().Message(t.Context(), ref.Folder, ref.UID))
		if m.Verdict != tt.verdict || m.Authentic != tt.authentic {
			t.Errorf("got %q, %q", m.Verdict, m.Authentic)
		}
	}
}

func TestADamagedMessageIsStillListed(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	ref := w.put("a1", "", "Subject: gone\n\ntext one\n")
	w.store.Blobs = &memblob.Store{} // all contents are lost
	ref2 := w.put("a1", "", "Subject: there\n\ntext two\n")
	rows := w.list(ann, ref.Folder)
	if len(rows) != 2 || rows[1].Subject != "gone" || rows[1].Damaged {
		t.Errorf("got %+v", rows)
	}
	m := must[*mailview.Message](t)(ann.Message(ctx, ref.Folder, ref.UID))
	if m.Unreadable == nil || m.Subject != "gone" || len(m.Body) != 0 {
		t.Errorf("got %+v", m)
	}
	if _, err := ann.Start(ctx, mailview.Reply, ref); err == nil {
		t.Error("what cannot be read was quoted")
	}
	m = must[*mailview.Message](t)(ann.Message(ctx, ref2.Folder, ref2.UID))
	if m.Unreadable != nil || len(m.Body) != 1 {
		t.Errorf("got %+v", m)
	}
	// Its rows are lost, too.
	err := w.rows.Backend.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Accounts("a1"); err != nil {
			return err
		}
		for c, err := range tx.Cold("a1", m.ID) {
			if err != nil {
				return err
			}
			c.Preview = []byte("another")
			return tx.PutCold([]store.Cold{c})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m = must[*mailview.Message](t)(ann.Message(ctx, ref2.Folder, ref2.UID))
	if !errors.Is(m.Unreadable, store.ErrDamaged) || !m.Damaged {
		t.Errorf("got %+v", m)
	}
	if n := must[int](t)(ann.Delete(ctx, ref2.Folder, ref.UID, ref2.UID)); n != 2 {
		t.Errorf("%d deleted", n)
	}
}
