package sqlqueue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
)

// patience is how long a machine may be busy with other things.
const patience = 2 * time.Minute

// A stopping database is that of a process which stops before a commit, with all its
// locks and when all its questions are answered, until it may go on.
type stopping struct {
	*pgdb.DB
	there, goOn chan struct{}
}

func (db *stopping) Update(ctx context.Context, fn func(sqldb.Conn) error) error {
	first := true
	return db.DB.Update(ctx, func(c sqldb.Conn) error {
		err := fn(c)
		if first {
			first = false
			if err == nil { // what is held back is sent
				err = c.Exec(`SELECT 1`)
			}
			db.there <- struct{}{}
			<-db.goOn
		}
		return err
	})
}

// A scene is three items of one lease, which has run out by later.
type scene struct {
	ids   []string
	lease string
	later time.Time
}

// A deed is one thing that a process does. It returns the items that it got, and
// those it ended.
type deed struct {
	name string
	do   func(context.Context, *sqlqueue.Backend, *scene) (got, ended []string, err error)
}

func settle(s queue.Settlement) func(context.Context, *sqlqueue.Backend, *scene) ([]string, []string, error) {
	return func(ctx context.Context, b *sqlqueue.Backend, sc *scene) ([]string, []string, error) {
		s := s
		s.Now = start
		if s.Done != nil {
			s.Done = sc.ids[:2]
		}
		if s.Retry != nil {
			s.Retry = []queue.Retry{{ID: sc.ids[0], Due: sc.later.Add(time.Hour)}, {ID: sc.ids[2], Due: sc.later.Add(time.Hour), Hold: true}}
		}
		err := b.Settle(ctx, sc.lease, s)
		if err != nil {
			return nil, nil, err
		}
		return nil, s.Done, nil
	}
}

var deeds = []deed{
	{"done", settle(queue.Settlement{Done: []string{""}})},
	{"retry", settle(queue.Settlement{Retry: []queue.Retry{{}}})},
	{"extend", func(ctx context.Context, b *sqlqueue.Backend, sc *scene) ([]string, []string, error) {
		err := b.Extend(ctx, sc.lease, sc.later.Add(time.Hour))
		if err == nil {
			return sc.ids, nil, nil
		}
		return nil, nil, err
	}},
	{"lease", func(ctx context.Context, b *sqlqueue.Backend, sc *scene) (got, ended []string, err error) {
		l, err := b.Lease(ctx, queue.Want{Now: sc.later, TTL: time.Hour, Max: 10})
		for _, it := range l.Items {
			got = append(got, it.ID)
		}
		return got, nil, err
	}},
	{"hold", func(ctx context.Context, b *sqlqueue.Backend, sc *scene) ([]string, []string, error) {
		return nil, nil, b.Change(ctx, sc.later, sc.ids[0], func(it *queue.Item) error { it.Held = true; return nil })
	}},
	{"remove", func(ctx context.Context, b *sqlqueue.Backend, sc *scene) ([]string, []string, error) {
		ended, err := b.Remove(ctx, sc.later, sc.ids...)
		return nil, ended, err
	}},
	{"put again", func(ctx context.Context, b *sqlqueue.Backend, sc *scene) (got, ended []string, err error) {
		ls, err := b.PutLeased(ctx, queue.Want{Now: sc.later, TTL: time.Hour, Max: 10}, sc.items()...)
		for _, l := range ls {
			for _, it := range l.Items {
				got = append(got, it.ID)
			}
		}
		return got, nil, err
	}},
}

func (sc *scene) items() (items []queue.Item) {
	for _, id := range sc.ids {
		items = append(items, item(id, "route", start))
	}
	return items
}

// Two processes do two things to the same items: the one stops just before its
// commit, and the other goes on until it has to wait, or is done. Whatever the two
// are, no item ends twice, or is in two hands, or is lost.
func TestTwoProcessesInterleavePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	for _, first := range deeds {
		for _, second := range deeds {
			t.Run(first.name+", "+second.name, func(t *testing.T) { interleave(t, c, first, second) })
		}
	}
}

func interleave(t *testing.T, c *testpg.Cluster, first, second deed) {
	conn := c.Schema(t)
	db := openPG(t, conn, pgdb.Options{MaxConns: 4})
	stops := &stopping{openPG(t, conn, pgdb.Options{MaxConns: 4}), make(chan struct{}), make(chan struct{})}
	two := open(t, db)
	sc := &scene{ids: []string{"e/0", "e/1", "e/2"}, later: start.Add(time.Hour)}
	ls, err := two.PutLeased(t.Context(), queue.Want{Now: start, TTL: time.Minute, Max: 10}, sc.items()...)
	if err != nil || len(ls) != 1 || len(ls[0].Items) != 3 {
		t.Fatalf("%v, %v", ls, err)
	}
	sc.lease = ls[0].ID

	type result struct {
		got, ended []string
		err        error
	}
	run := func(b *sqlqueue.Backend, d deed) <-chan result {
		end := make(chan result, 1)
		go func() {
			var r result
			r.got, r.ended, r.err = d.do(context.Background(), b, sc)
			end <- r
		}()
		return end
	}
	// Its tables are there, so that it can be opened beside the stops.
	starter := make(chan *sqlqueue.Backend, 1)
	go func() {
		b, err := sqlqueue.New(context.Background(), stops)
		if err != nil {
			t.Error(err)
		}
		starter <- b
	}()
	var one *sqlqueue.Backend
	for one == nil {
		select {
		case one = <-starter:
		case <-stops.there:
			stops.goOn <- struct{}{}
		}
	}
	ends := [2]<-chan result{run(one, first)}
	<-stops.there
	ends[1] = run(two, second)
	var rs [2]result
	if waits(t, db, func() bool {
		select {
		case rs[1] = <-ends[1]:
			return true
		default:
			return false
		}
	}) {
		stops.goOn <- struct{}{}
		rs[1] = <-ends[1]
	} else {
		stops.goOn <- struct{}{}
	}
	rs[0] = <-ends[0]

	ended, hands := map[string]int{}, map[string]int{}
	for _, r := range rs {
		if r.err != nil && !errors.Is(r.err, queue.ErrLeaseLost) && !errors.Is(r.err, queue.ErrLeased) && !errors.Is(r.err, queue.ErrNotFound) {
			t.Error(r.err)
		}
		for _, id := range r.ended {
			ended[id]++
		}
		for _, id := range r.got {
			hands[id]++
		}
	}
	left := map[string]queue.Item{}
	for it, err := range two.List(t.Context(), queue.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		left[it.ID] = it
	}
	for _, id := range sc.ids {
		if _, there := left[id]; ended[id] > 1 || there == (ended[id] == 1) {
			t.Errorf("%s ended %d times, and is in the queue: %v", id, ended[id], there)
		}
		if hands[id] > 1 && first.name != second.name { // else the hand may be the same
			t.Errorf("%s is in %d hands", id, hands[id])
		}
	}
	// What is left can be leased some day, but for what is held.
	l, err := two.Lease(t.Context(), queue.Want{Now: start.Add(100 * time.Hour), TTL: time.Hour, Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	for id, it := range left {
		if it.Held == slices.ContainsFunc(l.Items, func(it queue.Item) bool { return it.ID == id }) {
			t.Errorf("%s is held: %v, and leased: %v", id, it.Held, fmt.Sprint(l.Items))
		}
	}
	err = two.CheckRows(t.Context(), start.Add(100*time.Hour), false, func(f queue.Finding) error { t.Errorf("%+v", f); return nil })
	if err != nil {
		t.Error(err)
	}
}

// waits reports whether a transaction waits for another, and not that it has ended.
func waits(t *testing.T, db sqldb.DB, ended func() bool) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ended() {
			return false
		}
		n := int64(0)
		err := db.View(t.Context(), func(c sqldb.Conn) error {
			// Not those who wait for their turn to NOTIFY.
			return c.Query(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple', 'advisory')`, func(r sqldb.Row) error {
				n = r.Int(0)
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return true
		}
	}
	t.Fatal("a process neither ends nor waits")
	return false
}
