package smtp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/store/blob"
)

// reference is content as the words of RFC 5321, 4.5.2, have it: slow, and plain to
// see. It returns the content and the rest, or ok false without an end.
func reference(in string) (content, rest string, ok bool) {
	i := strings.Index("\r\n"+in, "\r\n.\r\n")
	if i < 0 {
		return "", "", false
	}
	content, rest = in[:i], in[i+3:]
	content = strings.ReplaceAll("\r\n"+content, "\r\n.", "\r\n")[2:]
	return content, rest, true
}

// run reads in in pieces of n bytes.
func run(in string, n int) (content, rest string, ok bool) {
	var out bytes.Buffer
	sink := func(p []byte) bool { out.Write(p); return true }
	d := dots{bol: true}
	var buf []byte
	for at := 0; at < len(in); {
		end := min(at+n, len(in))
		buf = append(buf, in[at:end]...)
		at = end
		used, done := d.next(buf, &sink)
		buf = append([]byte(nil), buf[used:]...)
		if done {
			return out.String(), string(buf) + in[at:], true
		}
	}
	return "", "", false
}

// keeper is a blob.Writer that keeps.
type keeper struct{ bytes.Buffer }

func (k *keeper) Commit() (blob.Info, error) {
	return blob.Info{Ref: blob.Ref(fmt.Sprintf("sha256-%x", sha256.Sum256(k.Bytes()))), Size: int64(k.Len())}, nil
}
func (k *keeper) Close() error { return nil }

func spoolOf(in string, n int, loose bool) (string, *spool) {
	k := &keeper{}
	sp := &spool{max: 1 << 20, line: 200, header: 500, hops: 5, own: "mx.example.org", loose: loose, inHeader: true, w: k}
	for len(in) > 0 {
		p := []byte(in[:min(n, len(in))])
		in = in[len(p):]
		sp.Write(p)
		clear(p) // it was only ours during the call
	}
	sp.end()
	return k.String(), sp
}

// fullDisk is a blob.Writer without room.
type fullDisk struct{ keeper }

func (*fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestAFailedWriteIsNoFaultOfTheContent cuts a message into pieces of any length: the
// client hears that it may try again, wherever the write failed.
func TestAFailedWriteIsNoFaultOfTheContent(t *testing.T) {
	const in = "A: b\r\n\r\nc\r\n"
	for n := 1; n <= len(in); n++ {
		sp := &spool{max: 1 << 20, line: 200, header: 500, hops: 5, inHeader: true, w: &fullDisk{}}
		for p := []byte(in); len(p) > 0; p = p[min(n, len(p)):] {
			sp.Write(p[:min(n, len(p))])
		}
		sp.end()
		if sp.bad != nil || !errors.Is(sp.err, syscall.ENOSPC) {
			t.Errorf("pieces of %d: %v, %v", n, sp.bad, sp.err)
		}
	}
}

func FuzzContent(f *testing.F) {
	for _, s := range []string{"", ".", ".\r\n", "a\r\n.\r\nb", "..\r\n.\r\n", "\r\n..a\r\n.\rb\r\n.\r\n", "\n.\n\r\n.\r\n", "a\r\r\n.\r\n\x00", "\r\n\r\n.\r\n.\r\n",
		"A: b\r\n c\r\nAuthentication-Results: mx.example.org;\r\n a=b\r\nReceived: x\r\n\r\nAuthentication-Results: mx.example.org; x\r\n.\r\n",
		"authentication-results:\r\n (c\r\n (d) e)\r\n\tmx.example.org \r\nX: y\r\n\r\n.\r\n", "Authentication-Results: other; a\r\n b\r\nno header\r\nAuthentication-Results : \"mx.example.org\"\r\n",
		strings.Repeat("Received: x\r\n", 5), strings.Repeat("X: y\r\n", 100), strings.Repeat("x", 201) + "\r\n", "\x80\r\n\r\n\x80\r"} {
		for _, n := range []byte{1, 2, 3, 7, 255} {
			f.Add(s, n)
		}
	}
	f.Fuzz(func(t *testing.T, in string, piece byte) {
		n := int(piece) + 1
		content, rest, ok := reference(in)
		c, r, o := run(in, n)
		if c != content || r != rest || o != ok {
			t.Fatalf("%q in pieces of %d:\ngot  %q %q %v\nwant %q %q %v", in, n, c, r, o, content, rest, ok)
		}
		// In pieces it is as in one, and what is refused is what must be.
		whole, one := spoolOf(in, 1<<20, false)
		pieces, many := spoolOf(in, n, false)
		if (one.bad == nil) != (many.bad == nil) || one.bad == nil && (whole != pieces || one.eight != many.eight || one.eightTop != many.eightTop || one.received != many.received) {
			t.Fatalf("%q in pieces of %d:\n%q %v\n%q %v", in, n, whole, one.bad, pieces, many.bad)
		}
		if lines := strings.ReplaceAll(in, "\r\n", ""); strings.ContainsAny(lines, "\r\n\x00") && one.bad == nil {
			t.Fatalf("%q was taken", in)
		}
		if one.bad == nil && !strings.Contains(strings.ToLower(in), "authentication-results") && whole != in {
			t.Fatalf("%q became %q", in, whole)
		}
		if loose, sp := spoolOf(in, n, true); sp.bad == nil && strings.ContainsAny(strings.ReplaceAll(loose, "\r\n", ""), "\r\n\x00") {
			t.Fatalf("%q became %q", in, loose)
		}
	})
}
