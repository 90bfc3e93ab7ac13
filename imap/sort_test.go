package imap

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// SORT is a stable sort by what the keys say, one after the other.
func TestSortIsAPlainSort(t *testing.T) {
	names := map[string]sortKey{"ARRIVAL": byArrival, "SIZE": bySize, "DATE": byDate, "CC": byCc, "FROM": byFrom, "TO": byTo, "SUBJECT": bySubject, "DISPLAYFROM": byDisplayFrom, "DISPLAYTO": byDisplayTo}
	keys := slices.Sorted(func(yield func(string) bool) {
		for k := range names {
			if !yield(k) {
				return
			}
		}
	})
	s := &Server{InsecureAuth: true, Store: newStore()}
	rnd := rand.New(rand.NewPCG(7, 7))
	word := func() string {
		return []string{"", "a", "B", "b", "ä", "Ä", "=?utf-8?q?=C3=A4?=", "z", "Re: a", "[x] B"}[rnd.IntN(10)]
	}
	local := func() string { return string("aBbzZ"[rnd.IntN(5)]) }
	addr := start(t, s)
	for range 120 {
		text := fmt.Sprintf("Subject: %s\nFrom: \"%s\" <%s@x>\nTo: x%s@y\nCc: c%s@z\nDate: %d Jan 2024 10:00:00 +0%d00\n\n%s\n", word(), word(), local(), local(), local(), 1+rnd.IntN(31), rnd.IntN(9), strings.Repeat("x", rnd.IntN(5)))
		if rnd.IntN(10) == 0 {
			text = "Subject: " + word() + "\n\nonly that\n"
		}
		putAt(t, s.Store, fmt.Sprintf("2024-01-%02d 10:00 +0000", 1+rnd.IntN(28)), text)
	}
	// The keys of each message, from what its own rows say.
	type plain map[string]any
	var all []plain
	a := s.Store.As("a1")
	f, _ := a.Folder(t.Context(), inbox)
	a.Scan(t.Context(), f.ID, store.Query{}, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		for m := range ms {
			all = append(all, plain{"ARRIVAL": m.Received.Unix(), "SIZE": m.Size, "id": m.ID, "received": m.Received})
		}
		return nil
	})
	for i, p := range all {
		cold, err := a.Cold(t.Context(), f.ID, p["id"].(store.MessageID))
		if err != nil {
			t.Fatal(err)
		}
		env, err := message.DecodeEnvelope(cold[p["id"].(store.MessageID)].Envelope)
		if err != nil {
			t.Fatal(err)
		}
		date := p["received"].(time.Time)
		if d, ok := sentDate(env.Date); ok {
			date = d
		}
		base, _ := baseSubject(env.Subject)
		all[i]["DATE"], all[i]["SUBJECT"] = date.Unix(), casemap(base)
		all[i]["FROM"], all[i]["TO"], all[i]["CC"] = casemap(firstMailbox(env.From)), casemap(firstMailbox(env.To)), casemap(firstMailbox(env.Cc))
		all[i]["DISPLAYFROM"], all[i]["DISPLAYTO"] = casemap(displayName(env.From)), casemap(displayName(env.To))
	}
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	for range 150 {
		var order []string
		var program []string
		for range 1 + rnd.IntN(3) {
			k := keys[rnd.IntN(len(keys))]
			if rnd.IntN(2) == 0 {
				k = "REVERSE " + k
			}
			order, program = append(order, strings.Fields(k)...), append(program, k)
		}
		seqs := make([]int, len(all))
		for i := range seqs {
			seqs[i] = i
		}
		slices.SortStableFunc(seqs, func(x, y int) int {
			for _, k := range program {
				k, reverse := strings.CutPrefix(k, "REVERSE ")
				n := 0
				switch v := all[x][k].(type) {
				case int64:
					n = int(min(max(v-all[y][k].(int64), -1), 1))
				case string:
					n = strings.Compare(v, all[y][k].(string))
				}
				if reverse {
					n = -n
				}
				if n != 0 {
					return n
				}
			}
			return 0
		})
		want := "* SORT"
		for _, i := range seqs {
			want += fmt.Sprintf(" %d", i+1)
		}
		if got := p.ok("SORT (%s) UTF-8 ALL", strings.Join(order, " "))[0]; got != want {
			t.Fatalf("%v\n got %s\nwant %s", order, got, want)
		}
	}
}

// coldCounter counts the cold rows that are read.
type coldCounter struct {
	store.Backend
	rows int
}

func (b *coldCounter) View(ctx context.Context, fn func(store.Tx) error) error {
	return b.Backend.View(ctx, func(tx store.Tx) error { return fn(&coldTx{tx, b}) })
}

type coldTx struct {
	store.Tx
	b *coldCounter
}

func (t *coldTx) Cold(id store.AccountID, ms ...store.MessageID) iter.Seq2[store.Cold, error] {
	t.b.rows += len(ms)
	return t.Tx.Cold(id, ms...)
}

// What a mailbox was sorted by once is not read again, only what came since.
func TestSortKeysAreKept(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	b := &coldCounter{Backend: s.Store.Backend}
	s.Store.Backend, s.Store.ColdCache = b, -1
	addr := start(t, s)
	for i := range 50 {
		put(t, s.Store, "a1", inbox, fmt.Sprintf("Subject: %d\n\nx\n", 100-i))
	}
	p := dial(t, addr)
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	reads := func(want int, format string, args ...any) {
		t.Helper()
		b.rows = 0
		p.ok(format, args...)
		if b.rows != want {
			t.Errorf("%s: %d cold rows", fmt.Sprintf(format, args...), b.rows)
		}
	}
	reads(0, "SORT (ARRIVAL SIZE) UTF-8 ALL")
	reads(10, "SORT (SUBJECT) UTF-8 21:30")
	reads(40, "SORT (SUBJECT) UTF-8 ALL")
	reads(0, "SORT (REVERSE SUBJECT SIZE) UTF-8 1:40")
	reads(50, "THREAD REFERENCES UTF-8 ALL")
	reads(0, "THREAD REFS UTF-8 ALL")
	reads(0, "THREAD ORDEREDSUBJECT UTF-8 ALL")
	reads(0, "SORT (SUBJECT DATE) UTF-8 ALL")
	put(t, s.Store, "a1", inbox, "Subject: 7\n\nx\n")
	p.ok("NOOP")
	reads(1, "SORT (SUBJECT) UTF-8 ALL")
	p.ok("STORE 1:9 +FLAGS.SILENT (\\Deleted)")
	p.ok("EXPUNGE")
	if got := p.ok("UID SORT (SUBJECT) UTF-8 SUBJECT 7"); got[0] != "* SORT 44 34 51 31 30 29 28 27 26 25 24 23 22 14" {
		t.Errorf("%q", got)
	}
	// Another session, and another account, know them too.
	q := dial(t, addr)
	q.ok("LOGIN ann@example.org secret")
	q.ok("SELECT INBOX")
	b.rows = 0
	q.ok("SORT (SUBJECT) UTF-8 ALL")
	if b.rows != 0 {
		t.Errorf("%d cold rows", b.rows)
	}
}

// The cache holds what it may, and what was used last.
func TestSortKeysAreForgotten(t *testing.T) {
	var kc keyCache
	table := func(box store.MailboxID, size int) {
		mb := &store.Mailbox{ID: box}
		kc.put(mb, kc.get(mb), &keyTable{bytes: size})
	}
	for box := range store.MailboxID(10) {
		table(box, maxKeptKeys/4)
		kc.get(&store.Mailbox{}) // the first is used all the time
	}
	var boxes []store.MailboxID
	for _, k := range kc.kept {
		boxes = append(boxes, k.box)
	}
	if slices.Sort(boxes); !slices.Equal(boxes, []store.MailboxID{0, 7, 8, 9}) || kc.bytes != maxKeptKeys {
		t.Errorf("%v, %d bytes", boxes, kc.bytes)
	}
	table(9, maxBoxKeys+1)
	if len(kc.kept) != 3 || kc.bytes != 3*maxKeptKeys/4 {
		t.Errorf("%d boxes, %d bytes", len(kc.kept), kc.bytes)
	}
	// Who was slower than another puts nothing.
	was := kc.get(&store.Mailbox{ID: 8})
	kc.put(&store.Mailbox{ID: 8}, was, &keyTable{bytes: 5})
	kc.put(&store.Mailbox{ID: 8}, was, &keyTable{bytes: 6})
	if kc.get(&store.Mailbox{ID: 8}).bytes != 5 {
		t.Error("what was put later has won")
	}
}

func TestImapclientSortsAndThreads(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	addr := start(t, s)
	put(t, s.Store, "a1", inbox, "Subject: b\nMessage-ID: <1@x>\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n\n1\n")
	put(t, s.Store, "a1", inbox, "Subject: a\nMessage-ID: <2@x>\nReferences: <1@x>\nDate: Mon, 1 Jan 2024 11:00:00 +0000\n\n2\n")
	put(t, s.Store, "a1", inbox, "Subject: c\nMessage-ID: <3@x>\nReferences: <1@x>\nDate: Mon, 1 Jan 2024 12:00:00 +0000\n\n3\n")
	c, err := imapclient.DialInsecure(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann@example.org", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []imap.Cap{imap.CapSort, imap.CapSortDisplay, imap.CapESort, imap.CapWithin, imap.CapSearchRes, imap.CapMultiSearch, "SEARCH=FUZZY", "CONTEXT=SORT"} {
		if !c.Caps().Has(want) {
			t.Error("no", want)
		}
	}
	nums, err := c.UIDSort(&imapclient.SortOptions{SearchCriteria: &imap.SearchCriteria{}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeySubject, Reverse: true}}}).Wait()
	if err != nil || !slices.Equal(nums, []uint32{3, 1, 2}) {
		t.Error(nums, err)
	}
	threads, err := c.Thread(&imapclient.ThreadOptions{Algorithm: imap.ThreadReferences, SearchCriteria: &imap.SearchCriteria{}}).Wait()
	if err != nil || len(threads) != 1 || !slices.Equal(threads[0].Chain, []uint32{1}) || len(threads[0].SubThreads) != 2 {
		t.Errorf("%+v %v", threads, err)
	}
}

// hostileBox is a server with letters of one kind in INBOX.
func hostileBox(tb testing.TB, kind string, n int) *peer {
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
	for _, l := range hostile(kind, n) {
		var sb strings.Builder
		fmt.Fprintf(&sb, "Subject: %s\nMessage-ID: %s\nDate: %s\nReferences:", l.subject, l.id, time.Unix(int64(l.sent), 0).UTC().Format(time.RFC1123Z))
		for _, id := range l.references {
			fmt.Fprintf(&sb, "\n <%s>", id)
		}
		put(tb, s.Store, "a1", inbox, sb.String()+"\n\nx\n")
	}
	p := dial(tb, start(tb, s))
	p.ok("LOGIN ann secret")
	p.ok("SELECT INBOX")
	return p
}

// cpuTime is what the process has had of processors: a busy machine does not count.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHostile threads and sorts 10,000 messages (threats T17): the first time,
// when all their rows are read, and again.
func BenchmarkHostile(b *testing.B) {
	for _, kind := range []string{"all IDs new", "random", "chain"} {
		p := hostileBox(b, kind, 10_000)
		for _, command := range []string{"THREAD REFERENCES UTF-8 ALL", "SORT (SUBJECT DATE) UTF-8 ALL"} {
			begin := cpuTime(b)
			p.ok(command)
			first := cpuTime(b) - begin
			b.Run(strings.ReplaceAll(kind, " ", "-")+"/"+command[:4], func(b *testing.B) {
				begin := cpuTime(b)
				for b.Loop() {
					p.ok(command)
				}
				b.ReportMetric(float64((cpuTime(b)-begin).Milliseconds())/float64(b.N), "cpu-ms/op")
				b.ReportMetric(float64(first.Milliseconds()), "cpu-ms-first")
			})
		}
	}
}
