package imap

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// A deflatedConn is a client's side of COMPRESS=DEFLATE.
type deflatedConn struct {
	net.Conn
	z       *flate.Writer
	r       io.ReadCloser
	partial bool
}

// deflated puts DEFLATE on a connection. A partial flush, as some clients do it, is
// an empty block that does not end at a byte.
func deflated(partial bool) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn {
		d := &deflatedConn{Conn: c, r: flate.NewReader(c), partial: partial}
		d.z, _ = flate.NewWriter(c, flate.BestCompression)
		return d
	}
}

func (d *deflatedConn) Read(p []byte) (int, error) { return d.r.Read(p) }

func (d *deflatedConn) Write(p []byte) (int, error) {
	if d.partial {
		return len(p), partialFlush(d.Conn, p)
	}
	if _, err := d.z.Write(p); err != nil {
		return 0, err
	}
	return len(p), d.z.Flush()
}

// partialFlush writes p as one block of fixed codes and then, in place of the empty
// stored block of a full flush, empty ones of fixed codes until a byte is complete
// (each has ten bits).
func partialFlush(w io.Writer, p []byte) error {
	var out bytes.Buffer
	acc, n := uint32(0), uint(0)
	bits := func(v uint32, k uint) {
		acc |= v << n
		for n += k; n >= 8; n -= 8 {
			out.WriteByte(byte(acc))
			acc >>= 8
		}
	}
	code := func(v uint32, k uint) { // Huffman codes begin with their highest bit
		for i := int(k) - 1; i >= 0; i-- {
			bits(v>>i&1, 1)
		}
	}
	bits(0, 1) // not the last block
	bits(1, 2) // fixed codes
	for _, b := range p {
		if b < 144 {
			code(0x30+uint32(b), 8)
		} else {
			code(0x190+uint32(b)-144, 9)
		}
	}
	code(0, 7) // its end
	for bits(2, 10); n > 0; bits(2, 10) {
	}
	_, err := w.Write(out.Bytes())
	return err
}

// A client that is told of news while it says nothing, over compression.
func TestCompressedIdle(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: anyone{}, Compress: true, Store: newStore()}
	addr := start(t, s)
	p := dial(t, addr)
	p.ok("LOGIN x secret")
	p.ok("COMPRESS DEFLATE")
	c := deflated(false)(p.Conn)
	p.Conn = c
	p.br.Reset(c)
	p.ok("SELECT INBOX")
	for range 3 {
		p.send("t IDLE")
		if l := p.line(); !strings.HasPrefix(l, "+") {
			t.Fatal(l)
		}
		for range 3 {
			put(t, s.Store, "a1", inbox, "Subject: x\n\nnew\n")
			if l := p.line(); !strings.HasSuffix(l, " EXISTS") {
				t.Fatal(l)
			}
		}
		p.send("DONE")
		p.until("t OK")
	}
	text := strings.Repeat("all work and no play\r\n", 5000)
	p.ok("APPEND INBOX {%d+}\r\n%s", len(text), text)
	p.send("t FETCH * BODY.PEEK[]")
	p.until("* 10 FETCH")
	got := make([]byte, len(text))
	if _, err := io.ReadFull(p.br, got); err != nil || string(got) != text {
		t.Errorf("%d bytes came back as others, %v", len(text), err)
	}
	p.until("t OK")
}

// A little that becomes much meets the limits of what it becomes.
func TestDecompressionBombs(t *testing.T) {
	for name, bomb := range map[string]string{
		"line":    "t NOOP " + strings.Repeat("x", 64<<20),
		"literal": "t CREATE {60000000+}\r\n" + strings.Repeat("\x00", 60_000_000),
		"append":  "t APPEND INBOX {200000000+}\r\n" + strings.Repeat("\x00", 20_000_000),
	} {
		s := &Server{InsecureAuth: true, Auth: anyone{}, Compress: true}
		var z bytes.Buffer
		fw, _ := flate.NewWriter(&z, 9)
		fmt.Fprint(fw, bomb)
		fw.Close()
		in := append([]byte("a LOGIN x secret\r\nb COMPRESS DEFLATE\r\n"), z.Bytes()...)
		before := heap()
		out := converse(t, withStore(s), string(in))
		if grown := heap() - before; grown > 4<<20 {
			t.Errorf("%s: %d bytes stay", name, grown)
		}
		_, packed, _ := strings.Cut(out, "b OK DEFLATE active\r\n")
		said, _ := io.ReadAll(flate.NewReader(strings.NewReader(packed)))
		if !strings.Contains(string(said), "* BYE ") {
			t.Errorf("%s: %d bytes of input, and the answer %q", name, len(in), said)
		}
	}
}

func withStore(s *Server) *Server {
	s.Hostname, s.Store = "h", newStore()
	return s
}

// What cannot be decompressed ends the connection, and nothing else.
func FuzzInflate(f *testing.F) {
	var z bytes.Buffer
	fw, _ := flate.NewWriter(&z, 9)
	fmt.Fprint(fw, "a SELECT INBOX\r\nb FETCH 1:* FLAGS\r\nc LOGOUT\r\n")
	fw.Flush()
	f.Add(z.String())
	z.Reset()
	if err := partialFlush(&z, []byte("a NOOP\r\n")); err != nil {
		f.Fatal(err)
	}
	f.Add(z.String())
	f.Add("a NOOP\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		s := withStore(&Server{InsecureAuth: true, Auth: anyone{}, Compress: true, MaxAppend: 10_000})
		out := converse(t, s, loginPreamble+"q COMPRESS DEFLATE\r\n"+in)
		_, packed, ok := strings.Cut(out, "q OK DEFLATE active\r\n")
		said, err := io.ReadAll(flate.NewReader(strings.NewReader(packed)))
		if !ok || err != nil && err != io.ErrUnexpectedEOF {
			t.Errorf("%q, %v", said, err)
		}
		s.Close()
	})
}

func TestCompressIsOffByDefault(t *testing.T) {
	p := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}}))
	if l := p.ok("LOGIN x secret"); strings.Contains(l[0], "COMPRESS") {
		t.Error(l)
	}
	if l := p.do("COMPRESS DEFLATE"); !strings.HasPrefix(l[0], "t NO ") {
		t.Error(l)
	}
}
