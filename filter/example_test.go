package filter_test

import (
	"bufio"
	"context"
	"fmt"
	"net/textproto"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// subject dislikes messages without a subject.
type subject struct{}

func (subject) Name() string { return "x-subject" }

func (subject) FilterMessage(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if t.Content == nil {
		return filter.Verdict{}, nil
	}
	rc, err := t.Content.Open(ctx)
	if err != nil {
		return filter.Verdict{}, err // could not tell
	}
	defer rc.Close()
	h, err := textproto.NewReader(bufio.NewReader(rc)).ReadMIMEHeader()
	if err != nil {
		return filter.Verdict{}, err
	}
	if h.Get("Subject") == "" {
		return filter.Verdict{Score: 3, Why: "no subject"}, nil
	}
	return filter.Verdict{}, nil
}

func Example() {
	c := &filter.Chain{Groups: [][]filter.Filter{{subject{}}}, JunkAt: 3, RefuseAt: 8}
	if err := c.Check(); err != nil {
		fmt.Println(err)
	}
	for _, message := range []string{"Subject: hello\r\n\r\nhi\r\n", "From: x@example.com\r\n\r\nbuy\r\n"} {
		v := c.Run(context.Background(), filter.Message, &filter.Transaction{Env: &mailkeel.Envelope{}, Content: text(message)})
		fmt.Printf("%v %v %q\n", v.Junk, v.Score, v.Why)
	}
	// Output:
	// false 0 ""
	// true 3 "no subject"
}
