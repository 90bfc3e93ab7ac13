package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/smtp"
)

var _ smtp.Taker = (*queue.Inline)(nil)

// owner is a sink that takes over what failed.
type owner struct {
	sink
	takes func(mailkeel.Result) error
	taken []string
}

func (o *owner) TakeOver(_ context.Context, env *mailkeel.Envelope, c mailkeel.Content, failed []mailkeel.Result) []mailkeel.Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	rs := make([]mailkeel.Result, len(failed))
	for i, r := range failed {
		o.taken = append(o.taken, fmt.Sprintf("%s %s: %v", env.ID[:2], env.Rcpts[i].Addr, r.Err))
		if o.takes != nil {
			rs[i].Err = o.takes(r)
		}
	}
	return rs
}

var (
	errNever = &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 1}, Message: "never"}
	errLater = &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 1}, Message: "later"}
)

// byAddr makes results of errors.
func byAddr(errs map[string]error) func(*mailkeel.Envelope) []mailkeel.Result {
	return func(env *mailkeel.Envelope) []mailkeel.Result {
		rs := make([]mailkeel.Result, len(env.Rcpts))
		for i, r := range env.Rcpts {
			rs[i].Err = errs[r.Addr]
		}
		return rs
	}
}

// What some get and others do not has an owner: nobody is told no, or to come again,
// beside someone who has the message, and nothing is dropped.
func TestMixedResultsHaveAnOwner(t *testing.T) {
	const ann, bob = "ann@example.org", "bob@example.org"
	refuse := func(e *mailkeel.Error) filter.Verdict { return filter.Verdict{Refuse: e} }
	apart := filter.Verdict{Prefix: []byte("X-For: one\r\n")} // so that Next is asked twice
	for _, tt := range []struct {
		name    string
		lmtp    bool
		to      []string
		says    map[int]filter.Verdict
		next    map[string]error
		takes   func(mailkeel.Result) error
		replies []string
		filed   string // recipients
		taken   string
	}{
		{name: "a filter refuses one", to: []string{ann, bob}, says: map[int]filter.Verdict{1: refuse(errNever)},
			replies: []string{"250"}, filed: ann, taken: bob + ": 550 5.7.1 never"},
		{name: "a filter refuses one for now", to: []string{ann, bob}, says: map[int]filter.Verdict{1: refuse(errLater)},
			replies: []string{"451 4.7.1 later"}},
		{name: "for now comes before for good", to: []string{ann, bob}, says: map[int]filter.Verdict{0: refuse(errNever), 1: refuse(errLater)},
			replies: []string{"451 4.7.1 later"}},
		{name: "refused beside discarded", to: []string{ann, bob}, says: map[int]filter.Verdict{0: {Discard: true}, 1: refuse(errNever)},
			replies: []string{"550 5.7.1 never"}},
		{name: "one of two copies fails", to: []string{ann, bob}, says: map[int]filter.Verdict{0: apart}, next: map[string]error{ann: errNever},
			replies: []string{"250"}, filed: ann + "," + bob, taken: ann + ": 550 5.7.1 never"},
		{name: "both copies fail", to: []string{ann, bob}, says: map[int]filter.Verdict{0: apart}, next: map[string]error{ann: errNever, bob: errNever},
			replies: []string{"550 5.7.1 never"}, filed: ann + "," + bob},
		{name: "nobody could take it", to: []string{ann, bob}, says: map[int]filter.Verdict{1: refuse(errNever)}, takes: func(mailkeel.Result) error { return errors.New("full") },
			replies: []string{"451 4.3.0"}, filed: ann, taken: bob + ": 550 5.7.1 never"},
		{name: "LMTP has an answer for each", lmtp: true, to: []string{ann, bob}, says: map[int]filter.Verdict{1: refuse(errLater)},
			replies: []string{"250", "451 4.7.1 later"}, filed: ann},
		{name: "LMTP, one of a group fails", lmtp: true, to: []string{"both@example.org"}, next: map[string]error{bob: errLater},
			replies: []string{"250"}, filed: ann + "," + bob, taken: bob + ": 451 4.7.1 later"},
		{name: "LMTP, a filter refuses one of a group for now", lmtp: true, to: []string{"both@example.org", "ann+x@example.org"}, says: map[int]filter.Verdict{1: refuse(errLater)},
			replies: []string{"451 4.7.1 later", "250"}, filed: "ann+x@example.org"},
		{name: "LMTP, groups that share a member", lmtp: true, to: []string{"both@example.org", ann}, says: map[int]filter.Verdict{1: refuse(errLater)},
			replies: []string{"451 4.7.1 later", "451 4.7.1 later"}},
		{name: "LMTP, all of a group fail", lmtp: true, to: []string{"both@example.org"}, next: map[string]error{ann: errNever, bob: errNever},
			replies: []string{"550 5.7.1 never"}, filed: ann + "," + bob},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &owner{takes: tt.takes}
			o.errs = byAddr(tt.next)
			s, r := newSpy(t, func(s *smtp.Server) { s.LMTP, s.Next = tt.lmtp, o })
			s.set(filter.Message, func(*filter.Transaction) filter.Verdict { return filter.Verdict{Rcpts: tt.says} })
			p := dial(t, r.addr)
			p.want("220")
			p.do(map[bool]string{false: "EHLO x", true: "LHLO x"}[tt.lmtp], "250", "MAIL FROM:<zoe@example.net>", "250")
			for _, to := range tt.to {
				p.do("RCPT TO:<"+to+">", "250")
			}
			p.do("DATA", "354").send("Subject: x\r\n\r\n.\r\n")
			for _, want := range tt.replies {
				p.want(want)
			}
			p.do("NOOP", "250 2.0.0 ok")
			var filed []string
			for _, m := range o.all() {
				for _, rc := range m.env.Rcpts {
					filed = append(filed, rc.Addr)
				}
			}
			slices.Sort(filed)
			if got := strings.Join(filed, ","); got != tt.filed {
				t.Errorf("Next was asked about %q, want %q", got, tt.filed)
			}
			for i := range o.taken {
				_, o.taken[i], _ = strings.Cut(o.taken[i], " ")
			}
			if got := strings.Join(o.taken, ","); got != tt.taken {
				t.Errorf("taken over %q, want %q", got, tt.taken)
			}
		})
	}
}

// The same with a real owner: what a filter refuses for one is in a bounce.
func TestRefusedForOneIsBounced(t *testing.T) {
	s, r := newSpy(t, nil)
	q := &queue.Queue{Backend: &memqueue.Backend{}, Blobs: r.blobs, Hostname: "mx.example.org", Next: &sink{}}
	filed := &sink{}
	_, in := newSpy(t, func(srv *smtp.Server) {
		srv.Filters = &filter.Chain{Groups: [][]filter.Filter{{s}}}
		srv.Blobs, srv.Next = r.blobs, &queue.Inline{First: filed, Queue: q}
	})
	s.set(filter.Message, func(*filter.Transaction) filter.Verdict {
		return filter.Verdict{Rcpts: map[int]filter.Verdict{1: {Refuse: errNever}}}
	})
	for _, from := range []string{"zoe@example.net", ""} { // a bounce is not bounced
		dial(t, in.addr).hello().do("MAIL FROM:<"+from+">", "250", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<bob@example.org>", "250", "DATA", "354",
			"Subject: x\r\n\r\n.", "250")
	}
	if m := filed.all(); len(m) != 2 || len(m[0].env.Rcpts) != 1 || m[0].env.Rcpts[0].Account != "a1" {
		t.Errorf("filed %+v", m)
	}
	var queued []queue.Item
	for it, err := range q.List(t.Context(), queue.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		queued = append(queued, it)
	}
	if len(queued) != 1 || queued[0].Envelope.From != "" || queued[0].Envelope.Rcpts[0].Addr != "zoe@example.net" {
		t.Fatalf("queued %+v", queued)
	}
	rc, err := r.blobs.Open(t.Context(), queued[0].Blob.Ref, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	report, err := io.ReadAll(rc)
	if err != nil || !strings.Contains(string(report), "Final-Recipient: rfc822; bob@example.org\r\n") || !strings.Contains(string(report), "550 5.7.1 never") || strings.Contains(string(report), "ann@example.org") {
		t.Errorf("%v\n%s", err, report)
	}
}
