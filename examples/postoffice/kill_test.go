package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/testoffice"
	"github.com/mailkeel/mailkeel/mailtest"
)

// TestSIGTERM is for the process as it is: it ends with 0 while clients are
// connected, and tells them.
func TestSIGTERM(t *testing.T) {
	office := testoffice.Start(t, "-account", "ann@x.test:secret-of-ann")
	for addr, bye := range map[string]string{office.SMTP: "421 ", office.IMAP: "* BYE"} {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		defer func() {
			all, _ := io.ReadAll(nc)
			if !strings.Contains(string(all), bye) {
				t.Errorf("%s heard %q, and no %q", addr, all, bye)
			}
		}()
	}
	if out, _, code := office.Run("account", "list"); code != 0 || !strings.Contains(out, "ann@x.test") {
		t.Errorf("%d %s", code, out)
	}
	office.Stop()
	if _, errs, code := testoffice.Run(t, "-dir", t.TempDir(), "-smtp", "nowhere"); code != 2 || !strings.Contains(errs, `-smtp: "nowhere" is no address`) {
		t.Errorf("%d %s", code, errs)
	}
}

// TestSIGTERMDuringDATA: a message whose content is on the way may come to its end,
// and what was said about it holds after the start.
func TestSIGTERMDuringDATA(t *testing.T) {
	office := testoffice.Start(t, "-account", "ann@x.test:secret-of-ann")
	nc, err := net.Dial("tcp", office.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := textproto.NewConn(nc)
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"EHLO me", 250}, {"MAIL FROM:<z@y.test>", 250}, {"RCPT TO:<ann@x.test>", 250}, {"DATA", 354}} {
		if step.say != "" {
			c.PrintfLine("%s", step.say)
		}
		if _, msg, err := c.ReadResponse(step.code); err != nil {
			t.Fatalf("%q: %v %s", step.say, err, msg)
		}
	}
	c.PrintfLine("Subject: on the way\r\n\r\nhalf of it")
	answer := make(chan error, 1)
	go func() {
		for closed := false; !closed; { // until it listens no more
			other, err := net.Dial("tcp", office.SMTP)
			if closed = err != nil; !closed {
				other.Close()
			}
		}
		c.PrintfLine("and the rest\r\n.")
		_, _, err := c.ReadResponse(250)
		answer <- err
	}()
	office.Stop()
	if err := <-answer; err != nil {
		t.Error(err)
	}
	office.Restart()
	if out, _, _ := office.Run("check", "-contents", "-json"); !strings.Contains(out, `"messages":1,`) || !strings.Contains(out, `"problems":0`) {
		t.Error(out)
	}
}

// ledger is what senders were told.
type ledger struct {
	mu    sync.Mutex
	sent  map[string][]byte // all that was begun, by ID
	acked map[string]bool
	kill  int    // after so many acknowledgements
	then  func() // is called once
}

func (l *ledger) begin(id string, msg []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[id] = msg
}

func (l *ledger) ack(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[id] = true
	if l.kill--; l.kill == 0 {
		l.then()
	}
}

// flood sends messages over one connection until that breaks.
func (l *ledger) flood(addr, login, from string, to []string, name string, rnd *rand.Rand) {
	c, err := smtp.Dial(addr)
	if err != nil {
		return
	}
	defer c.Close()
	if login != "" {
		if c.StartTLS(&tls.Config{InsecureSkipVerify: true}) != nil || c.Auth(plain{from, login}) != nil {
			return
		}
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		msg := fmt.Appendf(nil, "X-Kill: %s\r\nFrom: %s\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@x.test>\r\n\r\n", id, from, id)
		for range rnd.IntN(200) {
			msg = fmt.Appendf(msg, "%x\r\n", rnd.Uint64())
		}
		if c.Mail(from) != nil {
			return
		}
		for _, a := range to {
			if c.Rcpt(a) != nil {
				return
			}
		}
		w, err := c.Data()
		if err != nil {
			return
		}
		l.begin(id, msg)
		if _, err := w.Write(msg); err != nil {
			return
		}
		if w.Close() != nil {
			return
		}
		l.ack(id)
	}
}

// TestKilledUnderLoad is R2: what was acknowledged is there exactly once for each
// local recipient, with identical bytes, and leaves at least once for elsewhere.
func TestKilledUnderLoad(t *testing.T) {
	const rounds, senders = 4, 4
	world := mailtest.New(t)
	world.Account("zoe@far.test", "secret")
	office := testoffice.Start(t, "-account", "ann@x.test:secret-of-ann", "-account", "bob@x.test:secret-of-bob", "-relay", world.SMTPAddr())
	rnd := rand.New(rand.NewPCG(2, uint64(rounds)))
	in := &ledger{sent: map[string][]byte{}, acked: map[string]bool{}}  // from other servers
	out := &ledger{sent: map[string][]byte{}, acked: map[string]bool{}} // for elsewhere
	box := &shelf{begun: map[string]string{}, done: map[string]string{}}
	var before [2]*imap.SelectData
	for round := range rounds {
		in.kill, in.then = 10+rnd.IntN(150), office.KillNow
		var all sync.WaitGroup
		for s := range senders {
			rnd := rand.New(rand.NewPCG(uint64(round), uint64(s)))
			all.Go(func() {
				in.flood(office.SMTP, "", "eve@far.test", []string{"ann@x.test", "bob@x.test"}, fmt.Sprintf("in%d.%d", round, s), rnd)
			})
		}
		all.Go(func() {
			out.flood(office.Submission, "secret-of-ann", "ann@x.test", []string{"zoe@far.test"}, fmt.Sprintf("out%d", round), rand.New(rand.NewPCG(uint64(round), 99)))
		})
		all.Go(func() { box.work(office.IMAPS, fmt.Sprintf("box%d", round)) })
		all.Wait() // every connection broke
		office.Kill()
		office.Restart()
		for i, who := range []string{"ann", "bob"} {
			before[i] = in.compare(t, office, who, before[i])
		}
		box.compare(t, office)
		if out, _, code := office.Run("check", "-contents"); code != 0 {
			t.Errorf("round %d: check says\n%s", round, out)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	arrived := map[string]int{}
	for n := 0; ; n++ {
		missing := 0
		for id := range out.acked {
			if arrived[id] == 0 {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		m := world.Wait(ctx, n+1)[n]
		id := m.Header("X-Kill")
		if at := bytes.Index(m.Raw, []byte("X-Kill: ")); at < 0 || !bytes.Equal(m.Raw[at:], out.sent[id]) {
			t.Errorf("what left as %s has other bytes", id)
		}
		arrived[id]++
	}
	office.Stop()
	t.Logf("%d of %d messages acknowledged, %d kills; %d of %d for elsewhere, %d arrived; %d appended", len(in.acked), len(in.sent), rounds, len(out.acked), len(out.sent), len(arrived), len(box.done))
}

// shelf is a folder that one IMAP client works in, and what it was told.
type shelf struct {
	mu    sync.Mutex
	begun map[string]string // what was asked of a message last: "append", "flag", "expunge"
	done  map[string]string // what was acknowledged last
}

func (s *shelf) note(m map[string]string, id, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m[id] = what
}

// work appends, flags and expunges until the connection breaks.
func (s *shelf) work(addr, name string) {
	c, err := imapclient.DialTLS(addr, &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		return
	}
	defer c.Close()
	if c.Login("ann@x.test", "secret-of-ann").Wait() != nil {
		return
	}
	c.Create("Shelf", nil).Wait() // there since the first round
	if _, err := c.Select("Shelf", nil).Wait(); err != nil {
		return
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		msg := fmt.Sprintf("X-Kill: %s\r\n\r\n", id)
		s.note(s.begun, id, "append")
		a := c.Append("Shelf", int64(len(msg)), nil)
		io.WriteString(a, msg)
		a.Close()
		d, err := a.Wait()
		if err != nil {
			return
		}
		s.note(s.done, id, "append")
		if i%3 > 0 {
			s.note(s.begun, id, "flag")
			f := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged, imap.FlagDeleted}}
			if c.Store(imap.UIDSetNum(d.UID), f, nil).Close() != nil {
				return
			}
			s.note(s.done, id, "flag")
		}
		if i%3 > 1 {
			s.note(s.begun, id, "expunge")
			if c.UIDExpunge(imap.UIDSetNum(d.UID)).Close() != nil {
				return
			}
			s.note(s.done, id, "expunge")
		}
	}
}

// compare reads the folder and compares it with what the client was told.
func (s *shelf) compare(t *testing.T, office *testoffice.Office) {
	t.Helper()
	c, err := imapclient.DialTLS(office.IMAPS, &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann@x.test", "secret-of-ann").Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("Shelf", nil).Wait(); err != nil {
		if len(s.done) > 0 {
			t.Errorf("the folder is gone: %v", err)
		}
		return
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Flags: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string][]bool{} // whether flagged, for each copy
	for _, m := range got {
		_, id, _ := strings.Cut(strings.TrimSpace(string(m.FindBodySection(whole))), ": ")
		there[id] = append(there[id], slices.Contains(m.Flags, imap.FlagFlagged))
	}
	for id, what := range s.done {
		n := len(there[id])
		switch {
		case what == "expunge" && n > 0:
			t.Errorf("%s was expunged and is back", id)
		case what != "expunge" && s.begun[id] != "expunge" && n != 1:
			t.Errorf("%s is there %d times", id, n)
		case what == "flag" && n == 1 && !there[id][0]:
			t.Errorf("%s has lost its flag", id)
		}
	}
	for id, copies := range there {
		if len(copies) > 1 || s.begun[id] == "" {
			t.Errorf("%s is there %d times", id, len(copies))
		}
	}
}

// compare reads an INBOX and compares it with what senders were told. It returns
// its counters, which never go back.
func (l *ledger) compare(t *testing.T, office *testoffice.Office, who string, before *imap.SelectData) *imap.SelectData {
	t.Helper()
	c, err := imapclient.DialTLS(office.IMAPS, &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(who+"@x.test", "secret-of-"+who).Wait(); err != nil {
		t.Fatal(err)
	}
	now, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if before != nil && (now.UIDValidity != before.UIDValidity || now.UIDNext < before.UIDNext) {
		t.Errorf("%s: UIDVALIDITY, UIDNEXT are %d, %d, and were %d, %d", who, now.UIDValidity, now.UIDNext, before.UIDValidity, before.UIDNext)
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, m := range got {
		raw := m.FindBodySection(whole)
		at := bytes.Index(raw, []byte("X-Kill: "))
		if at < 0 {
			t.Fatalf("%s has a message that nobody sent:\n%s", who, raw)
		}
		id, _, _ := strings.Cut(string(raw[at+len("X-Kill: "):]), "\r\n")
		if !bytes.Equal(raw[at:], l.sent[id]) {
			t.Errorf("%s: %s has other bytes: %d, sent were %d", who, id, len(raw)-at, len(l.sent[id]))
		}
		count[id]++
	}
	for id := range l.acked {
		if count[id] != 1 {
			t.Errorf("%s has %s, which was acknowledged, %d times", who, id, count[id])
		}
	}
	for id, n := range count {
		if n > 1 {
			t.Errorf("%s has %s %d times", who, id, n)
		}
	}
	return now
}
