package mailview_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// fill files n messages in INBOX of ann, many at a time, and returns it.
func (w *world) fill(n int) store.MailboxID {
	w.Helper()
	ctx := w.Context()
	bw, err := w.store.Blobs.Create(ctx)
	if err != nil {
		w.Fatal(err)
	}
	fmt.Fprintf(bw, "From: Bob <bob@example.net>\r\nSubject: hello\r\nDate: Fri, 27 Nov 2026 10:30:00 +0100\r\n\r\ntext\r\n")
	info, err := bw.Commit()
	if err != nil {
		w.Fatal(err)
	}
	cold, err := w.store.Parse(ctx, info)
	if err != nil {
		w.Fatal(err)
	}
	d := store.Delivery{Blob: info, Cold: cold, Targets: slices.Repeat([]store.Target{{Account: "a1"}}, 1000)}
	var box store.MailboxID
	for n > 0 {
		d.Targets = d.Targets[:min(n, len(d.Targets))]
		out, err := w.store.Deliver(ctx, d)
		if err != nil || out[0].Err != nil {
			w.Fatal(err, out[0].Err)
		}
		box = out[0].Mailbox
		n -= len(d.Targets)
	}
	return box
}

// walk pages through a folder from the newest message to the oldest and back, and
// checks that all pages meet, and what each costs.
func (w *world) walk(b *mailview.Box, q mailview.Query, want []store.UID, most func(page int)) {
	w.Helper()
	ctx := w.Context()
	q.Fill = true
	var got, back []store.UID
	pages := 0
	var last mailview.Page
	for {
		w.rows.reset()
		p := must[mailview.Page](w)(b.List(ctx, q))
		most(pages)
		if pages++; pages > len(want)+2 {
			w.Fatal("no end")
		}
		if pages == 1 && p.Newer != 0 || pages > 1 && p.Newer == 0 {
			w.Errorf("page %d: newer is %d", pages, p.Newer)
		}
		for _, r := range p.Rows {
			got = append(got, r.UID)
		}
		last = p
		if p.Older == 0 {
			break
		}
		q.Before, q.After = p.Older, 0
	}
	if !slices.Equal(got, want) {
		w.Errorf("down: %d rows, want %d", len(got), len(want))
	}
	for i := range last.Rows {
		back = append(back, last.Rows[len(last.Rows)-1-i].UID)
	}
	for last.Newer != 0 {
		q.Before, q.After = 0, last.Newer
		w.rows.reset()
		p := must[mailview.Page](w)(b.List(ctx, q))
		most(-1)
		for _, r := range slices.Backward(p.Rows) {
			if r.UID > back[len(back)-1] { // the first page may begin again
				back = append(back, r.UID)
			}
		}
		last = p
	}
	slices.Reverse(back)
	if !slices.Equal(back, want) {
		w.Errorf("up: %d rows, want %d", len(back), len(want))
	}
}

func TestAnyPageReadsAboutAPage(t *testing.T) {
	w := newWorld(t)
	n := 20_000
	if os.Getenv("MAILKEEL_LONG") != "" {
		n = 100_000
	}
	box := w.fill(n)
	check := func(most int) func(int) {
		return func(int) {
			if w.rows.rows > most || w.rows.colds > 200 || w.rows.statements > 20 {
				t.Fatalf("%d rows, %d cold rows, %d statements", w.rows.rows, w.rows.colds, w.rows.statements)
			}
		}
	}
	for _, q := range []mailview.Query{{Folder: box}, {Folder: box, Before: 10_001}, {Folder: box, Before: 3}, {Folder: box, After: 7_000}, {Folder: box, After: 19_990}} {
		w.rows.reset()
		p := must[mailview.Page](t)(w.ann().List(t.Context(), q))
		check(130)(0)
		if p.Total != n {
			t.Errorf("%+v: total %d", q, p.Total)
		}
	}
}

func TestPagesOfSparseFolders(t *testing.T) {
	for name, gone := range map[string]func(i int) bool{
		"every second":    func(i int) bool { return i%2 == 0 },
		"a few":           func(i int) bool { return i%997 != 0 },
		"the newest half": func(i int) bool { return i > 3_000 },
		"islands":         func(i int) bool { return i/700%3 != 0 },
		"the oldest":      func(i int) bool { return i < 5_990 },
		"one":             func(i int) bool { return i != 1_234 },
		"all":             func(i int) bool { return true },
		"two clusters":    func(i int) bool { return i > 300 && i < 4_000 || i > 4_400 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			box := w.fill(6_000)
			var dead, live []store.UID
			for i := 6_000; i > 0; i-- {
				if gone(i) {
					dead = append(dead, store.UID(i))
				} else {
					live = append(live, store.UID(i))
				}
			}
			if _, err := w.store.As("a1").Expunge(t.Context(), box, dead...); err != nil {
				t.Fatal(err)
			}
			w.walk(w.ann(), mailview.Query{Folder: box, Limit: 200}, live, func(page int) {
				if w.rows.rows > 4000 || w.rows.colds > 200 || w.rows.statements > 40 {
					t.Errorf("page %d: %d rows, %d cold rows, %d statements", page, w.rows.rows, w.rows.colds, w.rows.statements)
				}
			})
		})
	}
}

func TestTheMessagesBesideOne(t *testing.T) {
	w := newWorld(t)
	box := w.fill(10)
	if _, err := w.store.As("a1").Expunge(t.Context(), box, 4, 5); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[store.UID][2]store.UID{10: {0, 9}, 6: {7, 3}, 5: {6, 3}, 1: {2, 0}, 0: {1, 0}, 20: {0, 10}, 1<<32 - 1: {0, 10}} {
		newer, older, err := w.ann().Beside(t.Context(), box, uid)
		if err != nil || newer != want[0] || older != want[1] {
			t.Errorf("%d: %d, %d, %v", uid, newer, older, err)
		}
	}
	for _, tt := range []struct {
		q            mailview.Query
		want         []store.UID
		newer, older store.UID
	}{
		{mailview.Query{After: 8, Limit: 6}, []store.UID{10, 9}, 0, 9},
		{mailview.Query{After: 10, Limit: 6}, nil, 0, 11},
		{mailview.Query{After: 10, Limit: 2, Fill: true}, []store.UID{10, 9}, 0, 9},
		{mailview.Query{After: 6, Limit: 2}, []store.UID{8, 7}, 8, 7},
		{mailview.Query{Before: 1}, nil, 0, 0},
		{mailview.Query{Before: 4, Limit: 2}, []store.UID{3, 2}, 3, 2},
	} {
		tt.q.Folder = box
		p := must[mailview.Page](t)(w.ann().List(t.Context(), tt.q))
		var got []store.UID
		for _, r := range p.Rows {
			got = append(got, r.UID)
		}
		if !slices.Equal(got, tt.want) || p.Older != tt.older || tt.newer != 0 && p.Newer != tt.newer {
			t.Errorf("%+v: got %d, newer %d, older %d", tt.q, got, p.Newer, p.Older)
		}
	}
}

func TestARowSaysWhatAListShows(t *testing.T) {
	w := newWorld(t)
	ref := w.put("a1", "", `From: =?utf-8?q?J=C3=BCrgen?= <j@example.net>
To: ann@example.org
Subject: =?utf-8?b?R3LDvMOfZQ==?=
	=?utf-8?q?_=E2=80=AEnet?=
Date: Mon, 1 Jan 2035 00:00:00 +0000
Content-Type: multipart/mixed; boundary=x

--x

the text
--x
Content-Type: application/pdf; name=a.pdf
Content-Disposition: attachment

x
--x--
`, store.FlagSeen, store.FlagFlagged, "$Forwarded", "$Junk")
	r := w.list(w.ann(), ref.Folder)[0]
	if r.Subject != "Grüße net" || r.Preview != "the text" || r.From[0].Name != "Jürgen" || r.From[0].Addr != "j@example.net" || r.To[0].Addr != "ann@example.org" {
		t.Errorf("got %+v", r)
	}
	if !r.Seen || !r.Flagged || !r.Forwarded || !r.Junk || r.Answered || r.Draft || !r.Attachments || r.Damaged {
		t.Errorf("flags of %+v", r)
	}
	if !r.Date.Equal(r.Received) { // a day that is to come is not believed
		t.Errorf("date is %v, received %v", r.Date, r.Received)
	}
}
