package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/smtp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMailReachesTheFunction(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-smtp", "127.0.0.1:0"}, w, io.Discard)
		w.Close()
	}()
	lines := bufio.NewScanner(out)
	lines.Scan()
	addr := strings.TrimPrefix(lines.Text(), "ready on ")
	sent := make(chan error, 1)
	go func() {
		sent <- smtp.SendMail(addr, nil, "zoe@example.net", []string{"anyone@example.test"}, []byte("Subject: hi\r\n\r\nthe end\r\n"))
	}()
	var got []string
	for lines.Scan() {
		got = append(got, lines.Text())
		if lines.Text() == "the end" {
			break
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if len(got) < 3 || got[0][:len("from <zoe@example.net> to <anyone@example.test>, ")] != "from <zoe@example.net> to <anyone@example.test>, " {
		t.Errorf("got %q", got)
	}
	// It relays for nobody.
	if err := smtp.SendMail(addr, nil, "zoe@example.net", []string{"ann@elsewhere.test"}, []byte("Subject: hi\r\n\r\n")); err == nil {
		t.Error("mail for elsewhere was accepted")
	}
	stop()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d", c)
	}
}

func TestBadArguments(t *testing.T) {
	for line, want := range map[string]int{"-h": 0, "-colour": 2, "-smtp 127.0.0.1:99999": 1} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), &out, &errs); code != want || errs.Len() == 0 {
			t.Errorf("%s: exit code %d, %s", line, code, errs.String())
		}
	}
}
