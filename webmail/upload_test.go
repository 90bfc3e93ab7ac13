package webmail

import (
	"bytes"
	"io"
	"mime/multipart"
	"os"
	"strings"
	"testing"
)

// TestUploads: files of any size arrive as they were, and leave nothing behind; what is
// too large takes nothing else with it.
func TestUploads(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	rg := newRig(t, func(h *Handler) { h.MaxMessage = 3 << 20 })
	ann := rg.as("ann")
	large := strings.Repeat("0123456789abcde\n", 100<<10/16)
	ann.follow("New message").submit("attach", "to", "bob@example.test", "subject", "Files", "text", "My text.",
		"files", file{"small.txt", "text/plain", "small"}, "files", file{"large.bin", "application/x", large}, "files", file{"larger.bin", "application/x", large + large + large}, "files", file{"empty.txt", "text/plain", ""})
	ann.wants(200, "small.txt", "large.bin", "larger.bin", "empty.txt")
	ann.submit("attach", "text", "More text.", "files", file{"one.txt", "text/plain", "one"}, "files", file{"huge.bin", "application/x", strings.Repeat(large, 40)}, "files", file{"two.txt", "text/plain", "two"})
	ann.wants(413, "more than a message can hold", "More text.", "larger.bin", "small.txt").lacks("huge.bin", "one.txt")
	ann.submit("send").wants(200, "was sent")
	bob := rg.as("bob")
	for name, want := range map[string]string{"small.txt": "small", "large.bin": large, "larger.bin": large + large + large, "empty.txt": ""} {
		bob.get("/").follow("Files").wants(200, "More text.").follow(name)
		if bob.body != want {
			t.Errorf("%s: %d bytes, want %d", name, len(bob.body), len(want))
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestSignedOutMeanwhile: who was signed out while writing signs in elsewhere and sends the
// form once more.
func TestSignedOutMeanwhile(t *testing.T) {
	rg := newRig(t)
	ann := rg.as("ann")
	ann.follow("New message")
	rg.clock.Advance(9e9 * 3600)
	page := *ann
	ann.submit("send", "to", "bob@example.test", "subject", "Late", "text", "A long text.").wants(401, "What you typed is not lost")
	ann.follow("Sign in in another tab").submit("signin", "login", "ann@example.test", "password", "correct horse").wants(200, "Inbox")
	page.submit("send", "to", "bob@example.test", "subject", "Late", "text", "A long text.").wants(200, "was sent")
	rg.as("bob").wants(200, "Late")
}

// FuzzParts reads any form: it ends, and keeps what it says.
func FuzzParts(f *testing.F) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.SetBoundary("b")
	w.WriteField("text", "hello")
	p, _ := w.CreateFormFile("files", "a.txt")
	io.WriteString(p, strings.Repeat("x", 300))
	w.Close()
	f.Add(b.Bytes(), int64(100))
	f.Add(b.Bytes(), int64(1000))
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=files; filename*=utf-8''%0d%0ax\r\n\r\n\r\n--b--"), int64(5))
	f.Add([]byte("--b\r\n\r\n\r\n--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"), int64(5))
	f.Fuzz(func(t *testing.T, body []byte, most int64) {
		if most < 0 {
			t.Skip()
		}
		form, u, err := readParts(multipart.NewReader(bytes.NewReader(body), "b"), most)
		defer u.remove()
		if err != nil && statusOf(formError(err)) >= 500 {
			t.Error(err)
		}
		n, typed := int64(0), 0
		for _, f := range u.files {
			rc, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(rc)
			rc.Close()
			if err != nil || int64(len(data)) != f.Size || strings.ContainsAny(f.Name+f.Type, "\r\n") {
				t.Errorf("%q %q: %d bytes of %d, %v", f.Name, f.Type, len(data), f.Size, err)
			}
			n += f.Size
		}
		for _, vs := range form {
			for _, v := range vs {
				typed += len(v)
			}
		}
		if n > most || typed > maxForm || len(u.files) > maxFiles {
			t.Errorf("%d bytes of files and %d of fields", n, typed)
		}
	})
}
