package queuetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/queue"
)

// findings checks the queue.
func (b *bench) findings(repair bool) (found []string) {
	b.Helper()
	_, err := b.q.Check(b.Context(), queue.CheckOptions{Repair: repair, Found: func(f queue.Finding) error {
		if f.Done != queue.Known {
			found = append(found, strings.TrimSpace(f.State+" "+f.Where+" "+f.Done))
		}
		return nil
	}})
	b.must(err)
	slices.Sort(found)
	return found
}

// testCheck loses the content of one item of several, and gives it back.
func testCheck(b *bench) {
	texts := map[string]string{"a": "Subject: a\r\n\r\n", "b": "Subject: b\r\n\r\n", "c": "Subject: c\r\n\r\n"}
	write := func(text string) (it queue.Item) {
		b.Helper()
		w, err := b.q.Blobs.Create(b.Context())
		b.must(err)
		defer w.Close()
		fmt.Fprint(w, text)
		it.Blob, err = w.Commit()
		b.must(err)
		return it
	}
	now := b.clock.Now()
	for id, text := range texts {
		it := write(text)
		it.ID, it.Route, it.Queued, it.Due, it.Expires = id+"/0", "y", now, now, now.Add(time.Hour)
		it.Envelope = mailkeel.Envelope{ID: id, Rcpts: []mailkeel.Recipient{{Addr: "x@y"}}}
		if id == "c" {
			it.Due = it.Expires.Add(240 * time.Hour)
		}
		b.must(b.Put(b.Context(), it))
	}
	if got := b.findings(true); !slices.Equal(got, []string{"Q12 c/0 repaired"}) {
		b.Errorf("found %q", got)
	}
	lost := write(texts["b"]).Blob.Ref
	b.clock.Advance(time.Minute)
	if n, err := b.q.Blobs.DeleteOlder(b.Context(), b.clock.Now(), lost); n != 1 || err != nil {
		b.Fatal(n, err)
	}
	if got := b.findings(false); !slices.Equal(got, []string{"Q22 b/0"}) {
		b.Errorf("without its content: %q", got)
	}
	if got := b.findings(true); !slices.Equal(got, []string{"Q22 b/0 parked"}) {
		b.Errorf("without its content: %q", got)
	}
	if got := b.findings(true); len(got) > 0 {
		b.Errorf("a second time: %q", got)
	}
	for _, it := range b.list(queue.Query{ID: "b"}) {
		if !it.Held || !strings.HasPrefix(it.Last, "damaged: ") {
			b.Errorf("parked as %+v", it)
		}
	}
	l, err := b.Lease(b.Context(), queue.Want{Now: b.clock.Now(), TTL: time.Minute, Max: 10})
	if b.must(err); len(l.Items) != 2 {
		b.Errorf("leased %+v", l.Items)
	}
	b.must(b.Settle(b.Context(), l.ID, queue.Settlement{Now: b.clock.Now()}))
	write(texts["b"])
	if got := b.findings(true); !slices.Equal(got, []string{"Q7 b/0 repaired"}) {
		b.Errorf("with its content again: %q", got)
	}
	l, err = b.Lease(b.Context(), queue.Want{Now: b.clock.Now(), TTL: time.Minute, Max: 10})
	if b.must(err); len(l.Items) != 3 {
		b.Errorf("leased %+v", l.Items)
	}
}
