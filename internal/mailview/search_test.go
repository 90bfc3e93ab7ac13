package mailview_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/search"
)

// subjects searches, and returns the subjects of what was found.
func (w *world) subjects(b *mailview.Box, q mailview.Query) []string {
	w.Helper()
	p := must[mailview.Page](w)(b.List(w.Context(), q))
	out := []string{}
	for _, r := range p.Rows {
		out = append(out, r.Subject)
	}
	return out
}

func TestMessagesAreFound(t *testing.T) {
	w := newWorld(t)
	var box store.MailboxID
	put := func(text string, flags ...string) {
		box = w.put("a1", "", text, flags...).Folder
		w.clock.Advance(24 * time.Hour)
	}
	put("From: =?utf-8?q?J=C3=BCrgen?= <j@example.net>\nTo: ann@example.org\nSubject: one\n\nGr=C3=BC=C3=9Fe\n", store.FlagSeen) // raw
	put("From: bob@example.net\nSubject: two\nContent-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=utf-8\n\nGr=C3=BC=C3=9Fe aus K=C3=B6ln, lots\nof words\n", store.FlagFlagged)
	put("From: bob@example.net\nCc: carl@example.net\nSubject: three\n" + multipart("mixed", part(htmlType, "<p>Lots <b>of</b> words<style>hidden</style>"), part("Content-Type: application/pdf; name=Rechnung.pdf\nContent-Disposition: attachment", "pdf")))
	put("From: dora@example.net\nSubject: four\nX-Secret: lots\n\n" + strings.Repeat("filler ", 30_000) + "needle at the end\n")
	put("From: dora@example.net\nTo: jurgen@example.org\nSubject: five\n\nnothing\n", "$Junk")
	for text, want := range map[string][]string{
		"grusse":                    {"two"},
		"GRÜSSE köln":               {"two"},
		"lots":                      {"three", "two"},
		`"lots of words"`:           {"three", "two"}, // across a line end, and tags
		`"of lots"`:                 {},
		"hidden":                    {},
		"rechnung":                  {"three"},
		"needle":                    {"four"},
		"jurgen":                    {"five", "one"},
		"from:jürgen":               {"one"},
		"to:jurgen":                 {"five"},
		"to:carl":                   {"three"},
		"subject:one":               {"one"},
		"body:one":                  {},
		"secret":                    {},
		"has:attachment":            {"three"},
		"-has:attachment -four":     {"five", "two", "one"},
		"is:unread from:bob":        {"three", "two"},
		"is:read":                   {"one"},
		"is:flagged":                {"two"},
		"is:junk":                   {"five"},
		"words -köln":               {"three"},
		"before:2026-11-29":         {"one"},
		"after:2026-12-01":          {"five", "four"},
		"on:2026-11-30":             {"three"},
		"larger:100K":               {"four"},
		"example.net from:bob two":  {"two"},
		"nothing at all like this!": {},
	} {
		if got := w.subjects(w.ann(), mailview.Query{Folder: box, Text: text}); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// opens counts the blobs that are opened.
type opens struct {
	blob.Store
	n int
}

func (o *opens) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	o.n++
	return o.Store.Open(ctx, ref, off, n)
}

func TestASearchStopsAndGoesOn(t *testing.T) {
	w := newWorld(t)
	box := w.fill(1200)
	o := &opens{Store: w.store.Blobs}
	w.store.Blobs = o
	ref := w.put("a1", "", "Subject: last\n\nneedle\n")
	q := mailview.Query{Folder: box, Text: "needle"}
	var found []store.UID
	calls := 0
	for {
		o.n = 0
		p := must[mailview.Page](t)(w.ann().List(t.Context(), q))
		if o.n > 1100 || p.More != (p.Older != 0) {
			t.Fatalf("%d opened, more %v, older %d", o.n, p.More, p.Older)
		}
		for _, r := range p.Rows {
			found = append(found, r.UID)
		}
		if calls++; p.Older == 0 || calls > 10 {
			break
		}
		q.Before = p.Older
	}
	if calls < 3 || !slices.Equal(found, []store.UID{ref.UID}) {
		t.Errorf("%d calls, found %d", calls, found)
	}
	// The same the other way.
	q = mailview.Query{Folder: box, Text: "needle", After: 1}
	found, calls = nil, 0
	for {
		p := must[mailview.Page](t)(w.ann().List(t.Context(), q))
		for _, r := range p.Rows {
			found = append(found, r.UID)
		}
		if calls++; p.Newer == 0 || calls > 10 {
			break
		}
		q.After = p.Newer
	}
	if calls < 3 || !slices.Equal(found, []store.UID{ref.UID}) {
		t.Errorf("up: %d calls, found %d", calls, found)
	}
	// What rows say costs no message.
	o.n = 0
	if got := w.subjects(w.ann(), mailview.Query{Folder: box, Text: "subject:last"}); len(got) != 1 || o.n != 0 {
		t.Errorf("%q, %d opened", got, o.n)
	}
}

func TestTheFewThatAreNotSeenAreFoundSoon(t *testing.T) {
	w := newWorld(t)
	box := w.fill(6000)
	var uids []store.UID
	for uid := store.UID(1); uid <= 6000; uid++ {
		if uid != 5990 && uid != 5000 {
			uids = append(uids, uid)
		}
	}
	must[int](t)(w.ann().Mark(t.Context(), box, mailview.Seen, true, uids...))
	w.rows.reset()
	p := must[mailview.Page](t)(w.ann().List(t.Context(), mailview.Query{Folder: box, Text: "is:unread"}))
	if len(p.Rows) != 2 || p.Older != 0 || p.More || w.rows.rows > 2000 {
		t.Errorf("%d found, older %d, %d rows read", len(p.Rows), p.Older, w.rows.rows)
	}
	must[int](t)(w.ann().Mark(t.Context(), box, mailview.Seen, true, 5990, 5000))
	w.rows.reset()
	p = must[mailview.Page](t)(w.ann().List(t.Context(), mailview.Query{Folder: box, Text: "is:unread subject:hello"}))
	if len(p.Rows) != 0 || p.More || w.rows.rows > 0 {
		t.Errorf("%d found, %d rows read", len(p.Rows), w.rows.rows)
	}
}

func TestPagesOfASearchMeet(t *testing.T) {
	w := newWorld(t)
	var box store.MailboxID
	var want []store.UID
	for i := range 300 {
		subject := "other"
		if i%3 == 0 {
			subject = "this one"
		}
		ref := w.put("a1", "", fmt.Sprintf("Subject: %s\n\n%d\n", subject, i))
		if box = ref.Folder; i%3 == 0 {
			want = append([]store.UID{ref.UID}, want...)
		}
	}
	w.walk(w.ann(), mailview.Query{Folder: box, Text: "subject:this", Limit: 7}, want, func(int) {})
}

// known is a Finder that knows some messages. To others it says nothing.
type known struct {
	docs  map[store.UID]map[string]string // by field, or "body"
	maybe map[store.UID]bool
	fail  error
	calls int
}

func (k *known) Find(_ context.Context, _ store.AccountID, q search.Query) (a search.Answer, err error) {
	if k.calls++; k.fail != nil {
		return a, k.fail
	}
	where := q.Field
	if q.Where == search.Body {
		where = "body"
	}
	for uid, doc := range k.docs {
		if uid < q.First || uid > q.Last {
			continue
		}
		a.Known = append(a.Known, uid)
		if strings.Contains(textfold.String(doc[where]), q.Text) {
			if k.maybe[uid] {
				a.Maybe = append(a.Maybe, uid)
			} else {
				a.Sure = append(a.Sure, uid)
			}
		}
	}
	slices.Sort(a.Known)
	slices.Sort(a.Sure)
	slices.Sort(a.Maybe)
	return a, nil
}

func TestAnIndexIsAsked(t *testing.T) {
	w := newWorld(t)
	o := &opens{Store: w.store.Blobs}
	w.store.Blobs = o
	k := &known{docs: map[store.UID]map[string]string{}, maybe: map[store.UID]bool{}}
	var box store.MailboxID
	for i := range 20 {
		body := fmt.Sprintf("text %d", i)
		if i%5 == 0 {
			body += " needle"
		}
		ref := w.put("a1", "", fmt.Sprintf("From: bob@example.net\nSubject: s%d\n\n%s\n", i, body))
		if box = ref.Folder; i < 15 {
			k.docs[ref.UID] = map[string]string{"body": body, "subject": fmt.Sprintf("s%d", i), "from": "bob@example.net"}
		}
	}
	k.maybe[6] = true // s5
	want := []string{"s15", "s10", "s5", "s0"}
	for name, tt := range map[string]struct {
		search search.Finder
		opened int
	}{"without": {nil, 20}, "with": {k, 6}, "failing": {&known{fail: fmt.Errorf("broken")}, 20}, "no answer": {&known{fail: search.ErrNoAnswer}, 20}} {
		w.mail.Search, o.n = tt.search, 0
		if got := w.subjects(w.ann(), mailview.Query{Folder: box, Text: "needle"}); !slices.Equal(got, want) {
			t.Errorf("%s: got %q", name, got)
		}
		if o.n != tt.opened {
			t.Errorf("%s: %d messages opened, want %d", name, o.n, tt.opened)
		}
	}
	w.mail.Search, k.calls, o.n = k, 0, 0
	if got := w.subjects(w.ann(), mailview.Query{Folder: box, Text: "-needle body:text is:unread"}); len(got) != 16 || k.calls != 7 || o.n != 6 {
		t.Errorf("got %q, asked %d times, opened %d", got, k.calls, o.n)
	}
}
