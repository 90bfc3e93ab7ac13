package imap

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/mailkeel/mailkeel/store"
)

func numString(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func starIs(s string, star uint32) uint32 {
	if s == "*" {
		return star
	}
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// numbered is a mailbox of n messages whose UIDs are their numbers.
func numbered(n int) *snapshot {
	var cs []change
	for i := range n {
		cs = append(cs, change{row: row{store.UID(i + 1), joinFlags(nil), 1}})
	}
	return new(snapshot).apply(cs)
}

// A model is a snapshot without chunks.
type model []row

func (m model) apply(cs []change) model {
	by := map[store.UID]row{}
	for _, r := range m {
		by[r.uid] = r
	}
	for _, c := range cs {
		delete(by, c.uid)
		if !c.gone {
			by[c.uid] = c.row
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b row) int { return cmpUID(a.uid, b.uid) })
}

func rowsOf(s *snapshot) (out []row) {
	for seq, r := range s.all(s.everything()) {
		if int(seq) != len(out)+1 {
			panic("numbers")
		}
		out = append(out, r)
	}
	return out
}

func TestSnapshotsAreWhatTheChangesMake(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flags := []flagSet{joinFlags(nil), joinFlags([]string{`\Seen`}), joinFlags([]string{`\Deleted`, "x"})}
		snap, want := new(snapshot), model(nil)
		next := store.UID(1)
		seq := store.ModSeq(0)
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			told, toldRows := snap, want
			var cs []change
			for range rapid.IntRange(0, 3).Draw(t, "new runs") {
				for range rapid.SampledFrom([]int{1, 3, 600, 1500}).Draw(t, "new") {
					seq++
					cs = append(cs, change{row: row{next, flags[int(next)%3], seq}})
					next += store.UID(1 + int(next)%2)
				}
			}
			if len(want) > 0 {
				lo := rapid.IntRange(0, len(want)-1).Draw(t, "lo")
				hi := min(len(want), lo+rapid.SampledFrom([]int{1, 2, 700}).Draw(t, "n"))
				gone := rapid.Bool().Draw(t, "gone")
				var old []change
				for _, r := range want[lo:hi] {
					seq++
					r.modSeq = seq
					r.flags = flags[int(seq)%3]
					old = append(old, change{r, gone})
				}
				cs = append(old, cs...)
			}
			snap, want = snap.apply(cs), want.apply(cs)
			if got := rowsOf(snap); !slices.Equal(got, []row(want)) || snap.size != len(want) {
				t.Fatalf("%d rows, want %d", len(got), len(want))
			}
			for i := 0; i < len(want); i += 1 + len(want)/50 {
				r := want[i]
				if snap.at(i) != r {
					t.Fatal("at", i)
				}
				if pos, ok := snap.find(r.uid); pos != i || !ok {
					t.Fatal("find", r.uid)
				}
			}
			for _, c := range snap.chunks {
				if len(c.rows) == 0 || len(c.rows) > 2*chunkRows {
					t.Fatal("a chunk of", len(c.rows))
				}
			}
			// What diff tells makes the one out of the other.
			gone, changed, added := told.diff(snap)
			var back []change
			for _, pos := range gone {
				back = append(back, change{toldRows[pos], true})
			}
			for _, r := range append(changed, added...) {
				back = append(back, change{row: r})
			}
			if got := toldRows.apply(back); !slices.Equal(got, want) {
				t.Fatal("diff does not lead from the one to the other")
			}
		}
	})
}

// A change copies a chunk, not the mailbox.
func TestAChangeCopiesOneChunk(t *testing.T) {
	s := numbered(100_000)
	n := s.apply([]change{{row: row{50_000, joinFlags([]string{`\Seen`}), 2}}})
	copied := 0
	for i := range s.chunks {
		if &s.chunks[i].rows[0] != &n.chunks[i].rows[0] {
			copied++
		}
	}
	if copied != 1 {
		t.Errorf("%d of %d chunks were copied", copied, len(s.chunks))
	}
	gone, changed, added := s.diff(n)
	if len(gone) != 0 || len(changed) != 1 || len(added) != 0 {
		t.Error(gone, changed, added)
	}
}
