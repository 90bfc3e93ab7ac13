// Package filtertest checks implementations of filter.Filter.
package filtertest

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// stages are in the order of a dialog.
var stages = []filter.Stage{filter.Conn, filter.Sender, filter.Rcpt, filter.Message}

// Run checks a filter. open makes one that has judged nothing yet, with whatever
// it asks (a name server, a scanner) standing by; it is called for each test.
// samples are messages of its own field, to judge at every stage; a common one is
// always among them.
func Run(t *testing.T, open func(t *testing.T) filter.Filter, samples ...Sample) {
	samples = append(slices.Clone(samples), ordinary())
	for name, test := range map[string]func(*testing.T, func(*testing.T) filter.Filter, []Sample){
		"NameIsAKeyword":                      names,
		"NothingToJudgeMeansNoOpinion":        noOpinion,
		"ToleratesWhatIsNilAtItsStage":        nils,
		"DoesNotChangeTheTransaction":         unchanged,
		"IsSafeForConcurrentUse":              concurrent,
		"HeedsItsContext":                     heeds,
		"VerdictsCanBeActedOn":                verdicts,
		"ClosesWhatItOpens":                   closes,
		"UnreadableContentIsNoReasonToRefuse": unreadable,
		"SessionsAreApart":                    sessions,
	} {
		t.Run(name, func(t *testing.T) { test(t, open, samples) })
	}
}

// A Sample is one message and where it came from.
type Sample struct {
	Origin  mailkeel.Origin
	From    string
	Rcpts   []string // the first of them is asked about at RCPT
	Content string
}

// ordinary is a message as there are many.
func ordinary() Sample {
	return Sample{
		Origin: mailkeel.Origin{Addr: netip.MustParseAddrPort("192.0.2.1:4321"), Hello: "mail.example.com", Time: time.Unix(1767323045, 0)},
		From:   "ann@example.com", Rcpts: []string{"bob@example.org", "cat@example.org"},
		Content: "From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: hello\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello Bob.\r\n",
	}
}

// at is a sample as it looks at a stage.
func (s Sample) at(stage filter.Stage, c mailkeel.Content) *filter.Transaction {
	o := s.Origin
	t := &filter.Transaction{Origin: &o}
	if stage == filter.Conn {
		return t
	}
	var rcpts []mailkeel.Recipient
	for i, addr := range s.Rcpts {
		rcpts = append(rcpts, mailkeel.Recipient{Addr: addr, Index: i})
	}
	t.Env = &mailkeel.Envelope{ID: "filtertest-1", From: s.From, Origin: &o}
	switch stage {
	case filter.Rcpt:
		t.Rcpt = &mailkeel.Recipient{Addr: "nobody@example.org"}
		if len(rcpts) > 0 {
			t.Rcpt = &rcpts[0]
		}
	case filter.Message:
		t.Env.Rcpts, t.Content = rcpts, c
	}
	return t
}

// ask calls one stage method, if f has it.
func ask(ctx context.Context, f filter.Filter, s filter.Stage, t *filter.Transaction) (v filter.Verdict, err error, asked bool) {
	switch s {
	case filter.Conn:
		if f, ok := f.(filter.ConnFilter); ok {
			v, err = f.FilterConn(ctx, t)
			return v, err, true
		}
	case filter.Sender:
		if f, ok := f.(filter.SenderFilter); ok {
			v, err = f.FilterSender(ctx, t)
			return v, err, true
		}
	case filter.Rcpt:
		if f, ok := f.(filter.RcptFilter); ok {
			v, err = f.FilterRcpt(ctx, t)
			return v, err, true
		}
	case filter.Message:
		if f, ok := f.(filter.MessageFilter); ok {
			v, err = f.FilterMessage(ctx, t)
			return v, err, true
		}
	}
	return v, nil, false
}

// begin returns what is asked for one connection: f or a session of it.
func begin(t *testing.T, f filter.Filter, o *mailkeel.Origin) filter.Filter {
	t.Helper()
	sf, ok := f.(filter.SessionFilter)
	if !ok {
		return f
	}
	s, err := sf.NewSession(t.Context(), o)
	if err != nil || s == nil {
		t.Fatalf("NewSession: %v, %v", s, err)
	}
	if cl, ok := s.(io.Closer); ok {
		t.Cleanup(func() {
			if err := cl.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	return s
}

// content is a message that counts who reads it.
type content struct {
	text string
	err  error // of Open
	cut  error // after half of the text
	hang bool  // Read waits for the context

	mu   sync.Mutex
	open int
}

func (c *content) Size() int64 { return int64(len(c.text)) }

func (c *content) Open(ctx context.Context) (io.ReadCloser, error) {
	if c.err != nil {
		return nil, c.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	r := io.Reader(strings.NewReader(c.text))
	if c.cut != nil {
		r = io.MultiReader(strings.NewReader(c.text[:len(c.text)/2]), broken{c.cut})
	}
	if c.hang {
		r = hanging{ctx}
	}
	return &reader{Reader: r, c: c}, nil
}

type reader struct {
	io.Reader
	c    *content
	once sync.Once
}

func (r *reader) Close() error {
	r.once.Do(func() {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		r.c.open--
	})
	return nil
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, context.Cause(h.ctx)
}

func opinion(v filter.Verdict) bool {
	return v.Refuse != nil || v.Discard || v.Junk || v.Score != 0 || v.Rewrite != nil || len(v.Rcpts) > 0
}

func names(t *testing.T, open func(*testing.T) filter.Filter, _ []Sample) {
	f := open(t)
	if err := (&filter.Chain{Groups: [][]filter.Filter{{f}}}).Check(); err != nil {
		t.Error(err)
	}
	if name := f.Name(); begin(t, f, nil).Name() != name || f.Name() != name {
		t.Error("the name changes")
	}
}

func noOpinion(t *testing.T, open func(*testing.T) filter.Filter, _ []Sample) {
	f := begin(t, open(t), &mailkeel.Origin{})
	for _, s := range stages {
		v, err, _ := ask(t.Context(), f, s, Sample{}.at(s, &content{}))
		if err != nil || opinion(v) {
			t.Errorf("%v: %+v, %v, want no opinion", s, v, err)
		}
	}
}

func nils(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	for _, s := range stages {
		for _, sample := range samples {
			full := sample.at(s, &content{text: sample.Content})
			bare := *full
			bare.Origin = nil
			for name, tx := range map[string]*filter.Transaction{"no origin": &bare, "nothing at all": {}} {
				f := begin(t, open(t), nil)
				if v, err, _ := ask(t.Context(), f, s, tx); v.Refuse != nil && err != nil {
					t.Errorf("%v with %s: refuses and cannot tell: %v, %v", s, name, v.Refuse, err)
				}
			}
		}
	}
	if d, ok := begin(t, open(t), nil).(filter.DoneFilter); ok {
		d.Done(t.Context(), &filter.Transaction{}, filter.Outcome{})
		d.Done(t.Context(), samples[0].at(filter.Sender, nil), filter.Outcome{})
	}
}

func unchanged(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	for _, sample := range samples {
		f := begin(t, open(t), &sample.Origin)
		for _, s := range stages {
			c := &content{text: sample.Content}
			got, want := sample.at(s, c), sample.at(s, c)
			if _, err, _ := ask(t.Context(), f, s, got); err != nil {
				t.Errorf("%v: %v", s, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%v: the transaction was changed to %+v from %+v", s, got, want)
			}
		}
	}
}

func concurrent(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	f := open(t)
	var wg sync.WaitGroup
	for i := range 16 {
		one := begin(t, f, &samples[i%len(samples)].Origin)
		wg.Go(func() {
			sample := samples[i%len(samples)]
			for _, s := range stages {
				if _, err, _ := ask(t.Context(), one, s, sample.at(s, &content{text: sample.Content})); err != nil {
					t.Errorf("%v: %v", s, err)
				}
			}
			if d, ok := one.(filter.DoneFilter); ok {
				d.Done(t.Context(), sample.at(filter.Sender, nil), filter.Outcome{})
			}
		})
	}
	wg.Wait()
}

// heeds hangs if the filter does: the time limit of the test run ends it.
func heeds(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	for _, sample := range samples {
		f := begin(t, open(t), &sample.Origin)
		for _, s := range stages {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if v, err, _ := ask(ctx, f, s, sample.at(s, &content{text: sample.Content, hang: true})); err != nil && opinion(v) {
				t.Errorf("%v: %+v with error %v", s, v, err)
			}
		}
	}
}

func verdicts(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	for _, sample := range samples {
		f := begin(t, open(t), &sample.Origin)
		for _, s := range stages {
			tx := sample.at(s, &content{text: sample.Content})
			v, err, asked := ask(t.Context(), f, s, tx)
			if err != nil {
				t.Errorf("%v: %v", s, err)
			}
			if !asked {
				continue
			}
			n := 0
			if tx.Env != nil {
				n = len(tx.Env.Rcpts)
			}
			check(t, s, n, v)
		}
	}
}

// check finds what a Chain would not take, or would have to mend.
func check(t *testing.T, s filter.Stage, rcpts int, v filter.Verdict) {
	t.Helper()
	if err := filter.CheckPrefix(v.Prefix); err != nil {
		t.Errorf("%v: %v", s, err)
	}
	if strings.ContainsAny(v.Why, "\r\n\x00") || len(v.Why) > 300 {
		t.Errorf("%v: why %q", s, v.Why)
	}
	if e := v.Refuse; e != nil && (e.Code/100 != 4 && e.Code/100 != 5 || e.Enhanced[0] != e.Code/100 || e.Message == "" || strings.ContainsAny(e.Message, "\r\n\x00")) {
		t.Errorf("%v: refuses with %q", s, e.Reply())
	}
	if v.Score != v.Score || v.Score > 1e6 || v.Score < -1e6 {
		t.Errorf("%v: score %v", s, v.Score)
	}
	if v.Rewrite != nil && (s != filter.Rcpt || v.Rewrite.Addr == "") {
		t.Errorf("%v: rewrites to %+v", s, v.Rewrite)
	}
	if v.Discard && s == filter.Conn {
		t.Error("discards a connection")
	}
	for i, r := range v.Rcpts {
		if s != filter.Message || i < 0 || i >= rcpts || r.Rewrite != nil || r.Rcpts != nil || r.Results != nil {
			t.Errorf("%v: for recipient %d of %d: %+v", s, i, rcpts, r)
		}
		check(t, s, 0, filter.Verdict{Refuse: r.Refuse, Score: r.Score, Prefix: r.Prefix})
	}
}

func closes(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	gone := errors.New("filtertest: disk on fire")
	for _, sample := range samples {
		for _, c := range []*content{{text: sample.Content}, {text: sample.Content, cut: gone}} {
			f := begin(t, open(t), &sample.Origin)
			_, err, _ := ask(t.Context(), f, filter.Message, sample.at(filter.Message, c))
			if c.mu.Lock(); c.open != 0 {
				t.Errorf("%d readers were not closed (%v)", c.open, err)
			}
			c.mu.Unlock()
		}
	}
}

func unreadable(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	gone := errors.New("filtertest: disk on fire")
	for _, sample := range samples {
		for _, c := range []*content{{text: sample.Content, err: gone}, {text: sample.Content, cut: gone}} {
			f := begin(t, open(t), &sample.Origin)
			v, err, _ := ask(t.Context(), f, filter.Message, sample.at(filter.Message, c))
			if err == nil {
				continue // it does not read the content, or not so far
			}
			if !errors.Is(err, gone) || opinion(v) {
				t.Errorf("%+v, %v, want the error of the content", v, err)
			}
		}
	}
}

func sessions(t *testing.T, open func(*testing.T) filter.Filter, samples []Sample) {
	f, ok := open(t).(filter.SessionFilter)
	if !ok {
		t.Skip("keeps no sessions")
	}
	var all []filter.Filter
	for range 3 {
		s, err := f.NewSession(t.Context(), &samples[0].Origin)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(all, s) {
			t.Error("two connections have one session")
		}
		all = append(all, s)
	}
	for i, s := range all { // the first ends before the others are asked
		if _, err, _ := ask(t.Context(), s, filter.Conn, samples[0].at(filter.Conn, nil)); err != nil {
			t.Errorf("session %d: %v", i, err)
		}
		if cl, ok := s.(io.Closer); ok {
			if err := cl.Close(); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
		}
	}
}
