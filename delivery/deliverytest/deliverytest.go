// Package deliverytest checks implementations of mailkeel.Transport.
package deliverytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel"
)

// Options say how to make the Transport under test.
type Options struct {
	// New returns a fresh Transport and what there is to know about it. It
	// registers its own cleanup with t.
	New func(t *testing.T) Subject
}

// A Subject is a Transport under test. It takes mail for Good addresses.
type Subject struct {
	mailkeel.Transport
	// Good makes recipients that are taken, the nth differing from the others;
	// nil makes "good<n>@y.test".
	Good func(n int) mailkeel.Recipient
	// Bad is an address that is refused for good; empty skips what needs one.
	Bad string
	// Got returns what was taken so far, with what the Transport put in front
	// of the content removed; nil skips what needs it.
	Got func() []Message
	// Durable means that the same envelope again is not taken twice.
	Durable bool
}

// A Message is one that was taken for one recipient.
type Message struct {
	Rcpt    string // the address as it was given
	Content string
}

// Run runs the whole suite as subtests of t.
func Run(t *testing.T, o Options) {
	for _, tt := range []struct {
		name string
		fn   func(*bench)
	}{
		{"OneResultForEachRecipientInOrder", testOrder},
		{"TakesWhatItSays", testTakes},
		{"EnvelopeIsNotChanged", testReadOnly},
		{"SameEnvelopeAgain", testAgain},
		{"CancelledIsTemporary", testCancelled},
		{"UnreadableContentIsTemporary", testUnreadable},
		{"HalfAContentIsNotTaken", testHalf},
		{"LargeContentIsStreamed", testLarge},
		{"EveryOpenedContentIsClosed", testCloses},
		{"ConcurrentUse", testConcurrent},
		{"NullSender", testNullSender},
		{"NoRecipients", testNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bench{T: t, Subject: o.New(t)}
			if b.Good == nil {
				b.Good = func(n int) mailkeel.Recipient { return mailkeel.Recipient{Addr: fmt.Sprintf("good%d@y.test", n)} }
			}
			tt.fn(b)
		})
	}
}

type bench struct {
	*testing.T
	Subject
}

// content is a Content that counts who has it open.
type content struct {
	text string
	size int64 // if not zero, what it pretends to have
	err  error
	fail error // after the text
	open *atomic.Int64
}

func (c content) Size() int64 {
	if c.size != 0 {
		return c.size
	}
	return int64(len(c.text))
}

func (c content) Open(context.Context) (io.ReadCloser, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.open != nil {
		c.open.Add(1)
	}
	var r io.Reader = strings.NewReader(c.text)
	if c.fail != nil {
		r = io.MultiReader(r, failing{c.fail})
	}
	return &closer{r, c.open}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type closer struct {
	io.Reader
	open *atomic.Int64
}

func (c *closer) Close() error {
	if c.open != nil {
		c.open.Add(-1)
	}
	c.open = nil
	return nil
}

const message = "Subject: hello\r\n\r\nhi\r\n"

func (b *bench) envelope(id string, n int) *mailkeel.Envelope {
	env := &mailkeel.Envelope{ID: id, From: "ann@x.test"}
	for i := range n {
		r := b.Good(i)
		r.Index = i
		env.Rcpts = append(env.Rcpts, r)
	}
	return env
}

func (b *bench) deliver(env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	b.Helper()
	rs := b.Transport.Deliver(b.Context(), env, c)
	if len(rs) != len(env.Rcpts) {
		b.Fatalf("%d results for %d recipients", len(rs), len(env.Rcpts))
	}
	return rs
}

func (b *bench) yes(rs []mailkeel.Result) {
	b.Helper()
	for i, r := range rs {
		if r.Err != nil {
			b.Fatalf("recipient %d: %v", i, r.Err)
		}
	}
}

func testOrder(b *bench) {
	if b.Bad == "" {
		b.Skip("no bad address")
	}
	env := b.envelope("m", 5)
	env.Rcpts[1].Addr, env.Rcpts[1].Account = b.Bad, ""
	env.Rcpts[4].Addr, env.Rcpts[4].Account = b.Bad, ""
	for i, r := range b.deliver(env, content{text: message}) {
		if bad := i == 1 || i == 4; mailkeel.Permanent(r.Err) != bad || (r.Err != nil) != bad {
			b.Errorf("recipient %d: %+v", i, r)
		}
	}
}

func testTakes(b *bench) {
	if b.Got == nil {
		b.Skip("no Got")
	}
	env := b.envelope("m", 3)
	b.yes(b.deliver(env, content{text: message}))
	got := b.Got()
	if len(got) != 3 {
		b.Fatalf("%d messages, want 3", len(got))
	}
	for _, r := range env.Rcpts {
		if !slices.Contains(got, Message{r.Addr, message}) {
			b.Errorf("%s has nothing in %+v", r.Addr, got)
		}
	}
}

func testReadOnly(b *bench) {
	env := b.envelope("m", 2)
	env.Origin = &mailkeel.Origin{Hello: "client.test"}
	env.Rcpts = slices.Grow(env.Rcpts, 4) // room that an append would use
	before := *env
	before.Rcpts = slices.Clone(env.Rcpts)
	origin := *env.Origin
	b.deliver(env, content{text: message})
	spare := env.Rcpts[:4][2:]
	if !reflect.DeepEqual(*env, before) || *env.Origin != origin || !reflect.DeepEqual(spare, make([]mailkeel.Recipient, 2)) {
		b.Errorf("changed to %+v %+v", env, spare)
	}
}

func testAgain(b *bench) {
	env := b.envelope("m", 2)
	for range 3 {
		b.yes(b.deliver(env, content{text: message}))
	}
	if b.Durable && b.Got != nil && len(b.Got()) != 2 {
		b.Errorf("taken %d times, want 2", len(b.Got()))
	}
}

func testCancelled(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	env := b.envelope("m", 2)
	rs := b.Transport.Deliver(ctx, env, content{text: message})
	if len(rs) != 2 {
		b.Fatalf("%d results", len(rs))
	}
	for _, r := range rs {
		if mailkeel.Permanent(r.Err) {
			b.Errorf("%v: an end of the context is no answer", r.Err)
		}
	}
	b.yes(b.deliver(env, content{text: message}))
}

var errRead = errors.New("deliverytest: disk error")

func testUnreadable(b *bench) {
	for _, r := range b.deliver(b.envelope("m", 2), content{text: message, err: errRead}) {
		if r.Err == nil || mailkeel.Permanent(r.Err) {
			b.Errorf("%+v, want a temporary failure", r)
		}
	}
	b.yes(b.deliver(b.envelope("m2", 2), content{text: message}))
}

func testHalf(b *bench) {
	for i, c := range []content{
		{text: message, fail: errRead, size: int64(len(message)) + 10},
		{text: message, size: int64(len(message)) + 10},
		{text: message, fail: errRead},
	} {
		for _, r := range b.deliver(b.envelope(fmt.Sprint("m", i), 2), c) {
			if r.Err == nil || mailkeel.Permanent(r.Err) {
				b.Errorf("content %d: %+v, want a temporary failure", i, r)
			}
		}
	}
	if b.Got != nil && len(b.Got()) != 0 {
		b.Errorf("got %+v", b.Got())
	}
	b.yes(b.deliver(b.envelope("ok", 1), content{text: message}))
}

// long is a Content of many lines that is never whole in memory.
type long struct{ lines int }

var line = []byte(strings.Repeat("0123456789", 7) + "\r\n")

func (l long) Size() int64 { return int64(len(message) + l.lines*len(line)) }

func (l long) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader(message), &lineReader{left: l.lines})), nil
}

type lineReader struct {
	left int
	buf  bytes.Reader
}

func (r *lineReader) Read(p []byte) (int, error) {
	if r.buf.Len() == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		r.left--
		r.buf.Reset(line)
	}
	return r.buf.Read(p)
}

func testLarge(b *bench) {
	c := long{lines: 100_000} // 7 MB
	b.yes(b.deliver(b.envelope("m", 2), c))
	if b.Got == nil {
		return
	}
	rc, _ := c.Open(b.Context())
	h := sha256.New()
	io.Copy(h, rc)
	want := h.Sum(nil)
	got := b.Got()
	if len(got) != 2 {
		b.Fatalf("%d messages", len(got))
	}
	for _, m := range got {
		if sum := sha256.Sum256([]byte(m.Content)); !bytes.Equal(sum[:], want) {
			b.Errorf("%s has other bytes: %d of them, want %d", m.Rcpt, len(m.Content), c.Size())
		}
	}
}

func testCloses(b *bench) {
	var open atomic.Int64
	b.deliver(b.envelope("m", 2), content{text: message, open: &open})
	b.deliver(b.envelope("m2", 2), content{text: message, open: &open, fail: errRead})
	if n := open.Load(); n != 0 {
		b.Errorf("%d contents are still open", n)
	}
}

func testConcurrent(b *bench) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 5 {
				env := b.envelope(fmt.Sprintf("m%d.%d", i, j), 2)
				for _, r := range b.Transport.Deliver(b.Context(), env, content{text: message}) {
					if r.Err != nil {
						b.Error(r.Err)
					}
				}
			}
		})
	}
	wg.Wait()
	if b.Got != nil && len(b.Got()) != 200 {
		b.Errorf("%d messages, want 200", len(b.Got()))
	}
}

func testNullSender(b *bench) {
	env := b.envelope("m", 1)
	env.From = ""
	b.yes(b.deliver(env, content{text: message}))
}

func testNone(b *bench) {
	b.deliver(&mailkeel.Envelope{ID: "m", From: "ann@x.test"}, content{text: message})
}
