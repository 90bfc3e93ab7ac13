package mailview_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store/blob"
)

// metered counts the bytes that are read of blobs.
type metered struct {
	blob.Store
	n int64
}

func (m *metered) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	rc, err := m.Store.Open(ctx, ref, off, n)
	return &meteredReader{rc, m}, err
}

type meteredReader struct {
	io.ReadCloser
	m *metered
}

func (r *meteredReader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	r.m.n += int64(n)
	return n, err
}

// T48: what a message costs does not depend on how it is made.
func TestHostileMessagesCostLittle(t *testing.T) {
	deep := "text"
	for i := range 200 {
		deep = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n%s\n--b%d--\n", i, i, deep, i)
	}
	inside := "Subject: in\n\ntext\n"
	for range 60 {
		inside = "Subject: more\nContent-Type: message/rfc822\n\n" + inside
	}
	mb := 4 << 20
	if os.Getenv("MAILKEEL_LONG") != "" {
		mb = 50 << 20
	}
	for name, message := range map[string]string{
		"a long text":         "\n" + strings.Repeat("all work and no play\n", mb/21),
		"one long line":       "\n" + strings.Repeat("x", mb),
		"long HTML":           htmlType + "\n\n" + strings.Repeat("<div><p>x</p>", mb/13),
		"100,000 links":       htmlType + "\n\n" + strings.Repeat("<a href=https://example.net/>x</a>", 100_000),
		"deep HTML":           htmlType + "\n\n" + strings.Repeat("<blockquote><table>", 100_000),
		"flowed quotes":       plainType + "; format=flowed\n\n" + strings.Repeat(strings.Repeat(">", 500)+" x \n", 20_000),
		"10,000 parts":        multipart("mixed", strings.Repeat(part(plainType, "x"), 1), strings.Repeat("--b\n\nx\n", 1)),
		"9,000 texts":         "Content-Type: multipart/mixed; boundary=y\n\n" + strings.Repeat("--y\n\n"+strings.Repeat("text ", 200)+"\n", 9000),
		"9,000 files":         "Content-Type: multipart/mixed; boundary=y\n\n" + strings.Repeat("--y\nContent-Type: x/y; name=a\n\nx\n", 9000),
		"9,000 versions":      "Content-Type: multipart/alternative; boundary=y\n\n" + strings.Repeat("--y\nContent-Type: text/html\n\nx\n", 9000),
		"deep parts":          deep,
		"messages in it":      inside,
		"60,000 recipients":   "To: " + strings.Repeat("a@b.c,\n ", 60_000) + "\n\nx\n",
		"long names":          "From: =?utf-8?q?" + strings.Repeat("=D0=B0", 60_000) + "?= <a@b.c>\n\nx\n",
		"long header":         strings.Repeat("X-Long: "+strings.Repeat("x", 900)+"\n", 2000) + "\nx\n",
		"references":          "References:" + strings.Repeat(" <a@b>", 100_000) + "\n\nx\n",
		"quotes in addresses": "To: " + strings.Repeat(`"`, 100_000) + "\n\nx\n",
		"many @ in a name":    "From: \"" + strings.Repeat("a@b.c@", 40_000) + "\" <a@b.c>\n\nx\n",
		"RTL":                 "Subject: " + strings.Repeat("\u202e", 20_000) + "x\n\n" + strings.Repeat("\u202e", 100_000) + "x\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ctx, ann := t.Context(), w.ann()
			ref := w.put("a1", "", message)
			meter := &metered{Store: w.store.Blobs}
			w.store.Blobs = meter
			cost := func(what string, most uint64, fn func()) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				meter.n = 0
				fn()
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > most || meter.n > 5<<20 {
					t.Errorf("%s: %d KB of memory in all, %d KB read", what, n>>10, meter.n>>10)
				}
			}
			cost("list", 12<<20, func() {
				if rows := w.list(ann, ref.Folder); len(rows) != 1 || len(rows[0].Subject) > 2100 {
					t.Errorf("got %+v", rows)
				}
				if meter.n != 0 {
					t.Error("a list opened a message")
				}
			})
			cost("read", 40<<20, func() {
				m := must[*mailview.Message](t)(ann.Message(ctx, ref.Folder, ref.UID))
				total := 0
				for _, s := range m.Body {
					total += len(s.Text) + len(s.Plain)
					if len(s.Text) > mailview.MaxText || !utf8.ValidString(s.Text) {
						t.Errorf("a segment of %d bytes", len(s.Text))
					}
				}
				if total > 5<<20 || len(m.Body) > 100 || len(m.Attachments) > 1000 || len(m.To) > 1000 {
					t.Errorf("%d bytes in %d segments, %d attachments, %d recipients", total, len(m.Body), len(m.Attachments), len(m.To))
				}
			})
			cost("answer", 100<<20, func() {
				d := must[mailview.Draft](t)(ann.Start(ctx, mailview.ReplyAll, ref))
				if len(d.Text) > 600<<10 {
					t.Errorf("%d bytes", len(d.Text))
				}
			})
			cost("forward", 100<<20, func() { must[mailview.Draft](t)(ann.Start(ctx, mailview.Forward, ref)) })
			cost("header", 12<<20, func() {
				if h := must[string](t)(ann.Header(ctx, ref.Folder, ref.UID)); len(h) > 300<<10 {
					t.Errorf("%d bytes", len(h))
				}
			})
		})
	}
}

// Any bytes can be read, each part by its path, and answered.
func FuzzMessage(f *testing.F) {
	f.Add("Subject: x\n" + multipart("mixed", part(plainType, "x"), nested(multipart("related", part(htmlType, "<p>"), part(pngType, "x"))), part("Content-Type: message/rfc822", "Subject: y\n\nz")))
	f.Add("Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\n" + multipart("digest", "--x\n\nSubject: a\n\nb\n"))
	f.Add(multipart("alternative", part("Content-Type: text/calendar", "x"), part(plainType+"; format=flowed; delsp=yes", "> a \n>b")))
	f.Add("From: a@b@c <d>, \xff\nReply-To: ;\nList-Post: <mailto:\n\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		w := newWorld(t)
		ctx, ann := t.Context(), w.ann()
		ref := w.putRaw("a1", "", text, "")
		m := must[*mailview.Message](t)(ann.Message(ctx, ref.Folder, ref.UID))
		if m.Unreadable != nil {
			t.Fatal(m.Unreadable)
		}
		var parts []mailview.Part
		for _, s := range m.Body {
			parts = append(parts, s.Part)
			if !utf8.ValidString(s.Text) || strings.ContainsAny(s.Text, "\x00\r") {
				t.Fatalf("text %q", s.Text)
			}
		}
		for _, want := range append(parts, m.Attachments...) {
			got, rc, err := ann.OpenPart(ctx, ref.Folder, ref.UID, want.Path)
			if want.Inline = got.Inline; err != nil || got != want {
				t.Fatalf("part %+v: %+v, %v", want, got, err)
			}
			if _, err := io.Copy(io.Discard, rc); err != nil {
				t.Fatal(err)
			}
			if want.Name == "" || strings.ContainsAny(want.Name, "/\\\r\n\x00") {
				t.Fatalf("name %q", want.Name)
			}
		}
		for _, k := range []mailview.Kind{mailview.ReplyAll, mailview.Forward} {
			d := must[mailview.Draft](t)(ann.Start(ctx, k, ref))
			if d.To == "" {
				d.To = "x@example.net"
			}
			w.out.sent = nil
			if err := ann.Send(ctx, d, nil); err != nil {
				t.Fatalf("%+v: %v", d, err)
			}
			checkHeader(t, w.out.sent[0].text)
		}
		must[mailview.Page](t)(ann.List(ctx, mailview.Query{Folder: ref.Folder, Text: "x -y has:attachment"}))
	})
}
