package lmtp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/delivery/deliverytest"
	"github.com/mailkeel/mailkeel/delivery/lmtp"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

// script is a store that knows neither no@ nor room for full@.
func script(cmd string) string {
	switch {
	case strings.HasPrefix(cmd, "RCPT") && strings.Contains(cmd, "no@"):
		return "550 5.1.1 no such user"
	case strings.HasPrefix(cmd, ". <full@"):
		return "452 4.2.2 mailbox full"
	}
	return ""
}

func TestEachRecipientHasItsAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lmtp")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &smtpsink.Server{LMTP: true, Reply: script, Ext: []string{"PIPELINING"}}
	s.Serve(t, ln)
	tr := &lmtp.Transport{Addr: path, Hostname: "me.test"}
	defer tr.Close()
	env := &mailkeel.Envelope{ID: "m", From: "", RequireTLS: true, Rcpts: []mailkeel.Recipient{{Addr: "a@y.test"}, {Addr: "full@y.test", Index: 1}, {Addr: "no@y.test", Index: 2}}}
	for range 3 {
		rs := mailkeel.Deliver(t.Context(), tr, env, text("A: b\r\n\r\n"))
		if rs[0].Err != nil || rs[0].Action != mailkeel.Delivered || rs[1].Err == nil || mailkeel.Permanent(rs[1].Err) || !mailkeel.Permanent(rs[2].Err) {
			t.Errorf("%+v", rs)
		}
	}
	if n, _ := s.Sessions(); n != 1 || len(s.Messages()) != 3 || s.Commands()[0] != "LHLO me.test" {
		t.Errorf("%d sessions, %d messages, %q", n, len(s.Messages()), s.Commands()[0])
	}
}

func TestNobodyThere(t *testing.T) {
	tr := &lmtp.Transport{Addr: filepath.Join(t.TempDir(), "nobody")}
	r := mailkeel.Deliver(t.Context(), tr, &mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "a@y.test"}}}, text(""))[0]
	if !errors.Is(r.Err, delivery.ErrUnreachable) || mailkeel.Permanent(r.Err) {
		t.Errorf("%+v", r)
	}
}

func TestConformance(t *testing.T) {
	deliverytest.Run(t, deliverytest.Options{New: func(t *testing.T) deliverytest.Subject {
		s := smtpsink.Start(t, &smtpsink.Server{LMTP: true, Reply: script})
		tr := &lmtp.Transport{Addr: s.Addr}
		t.Cleanup(func() { tr.Close() })
		return deliverytest.Subject{Transport: tr, Bad: "no@y.test", Got: func() (all []deliverytest.Message) {
			for _, m := range s.Messages() {
				for _, r := range m.Rcpts {
					all = append(all, deliverytest.Message{Rcpt: strings.Trim(r, "<>"), Content: m.Data})
				}
			}
			return all
		}}
	}})
}

// A store that speaks LMTP on a Unix socket.
func Example() {
	boxes := &lmtp.Transport{Addr: "/nowhere/lmtp"}
	defer boxes.Close()
	env := &mailkeel.Envelope{ID: "m1", Rcpts: []mailkeel.Recipient{{Addr: "ann@example.org"}}}
	r := mailkeel.Deliver(context.Background(), boxes, env, text("Subject: hello\r\n\r\n"))[0]
	fmt.Println(errors.Is(r.Err, delivery.ErrUnreachable))
	// Output: true
}
