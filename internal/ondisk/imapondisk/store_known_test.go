package imapondisk

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/store"
)

// A STORE of many messages reads none of them, nor does what tells of it.
func TestStoreOfManyReadsNoMessages(t *testing.T) {
	const n = 3000
	f := fill(t, n)
	f.ok("SELECT INBOX")
	for i, cmd := range []string{`STORE 1:* +FLAGS (\Flagged)`, `UID STORE 2:2999 FLAGS.SILENT (\Seen work)`, `STORE 1:* -FLAGS (work)`, `STORE 1:* +FLAGS (\Flagged)`} {
		f.statements.Store(0)
		f.rows.Store(0)
		out := f.ok("%s", cmd)
		if s, r := f.statements.Load(), f.rows.Load(); s > 12 || r > 12 {
			t.Errorf("%s: %d statements read %d rows", cmd, s, r)
		}
		want := map[int]int{0: n, 1: 0, 2: n, 3: n}[i]
		told := 0
		for _, l := range out {
			if strings.Contains(l, " FETCH (") {
				told++
			}
		}
		if told != want {
			t.Errorf("%s: %d were told, want %d", cmd, told, want)
		}
	}
	q := dial(t, f.RemoteAddr().String())
	q.ok("LOGIN x secret")
	q.ok("SELECT INBOX")
	for seq, flags := range map[int]string{1: `\Flagged`, 2: `\Flagged \Seen`, n - 1: `\Flagged \Seen`, n: `\Flagged`} {
		if l := q.ok("FETCH %d FLAGS", seq); l[0] != fmt.Sprintf("* %d FETCH (FLAGS (%s))", seq, flags) {
			t.Error(l)
		}
	}
	box, err := f.store.As("a1").Folder(t.Context(), "INBOX")
	if err != nil || box.Unseen != 2 {
		t.Errorf("%+v, %v", box, err)
	}
	if _, err := f.store.Check(t.Context(), store.CheckOptions{Found: func(f store.Finding) error {
		t.Errorf("%+v", f)
		return nil
	}}); err != nil {
		t.Error(err)
	}
}

// Two sessions that change flags of many at the same time, and expunge, agree with
// the store.
func TestStoresOfManyAgree(t *testing.T) {
	const n = 200
	f := fill(t, n)
	var wg sync.WaitGroup
	for i := range 4 {
		p := dial(t, f.RemoteAddr().String())
		p.ok("LOGIN x secret")
		p.ok("SELECT INBOX")
		wg.Go(func() {
			for j := range 20 {
				lo := 1 + (i*37+j*11)%(n/2)
				p.do(`UID STORE %d:%d %sFLAGS.SILENT (\Flagged k%d)`, lo, lo+60, []string{"+", "-"}[j%2], i)
				if j%5 == 4 {
					p.do(`UID STORE %d +FLAGS.SILENT (\Deleted)`, lo)
					p.do("EXPUNGE")
				}
			}
		})
	}
	wg.Wait()
	f.ok("SELECT INBOX")
	want := map[string]string{}
	box, err := f.store.As("a1").Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	err = f.store.Backend.View(t.Context(), func(tx store.Tx) error {
		for m, err := range tx.Messages(box.ID, store.Query{}) {
			if err != nil {
				return err
			}
			want[fmt.Sprint(m.UID)] = strings.Join(m.Flags, " ")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := f.ok("FETCH 1:* (UID FLAGS)")
	for _, l := range out[:len(out)-1] {
		var seq int
		var uid string
		fmt.Sscanf(l, "* %d FETCH (UID %s FLAGS", &seq, &uid)
		if flags, ok := want[uid]; !ok || !strings.HasSuffix(l, "FLAGS ("+flags+"))") {
			t.Errorf("%s, the store has %q", l, flags)
		}
	}
	if len(out)-1 != len(want) || len(want) != box.Messages {
		t.Errorf("%d were fetched, there are %d", len(out)-1, len(want))
	}
}
