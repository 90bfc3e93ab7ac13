package imap

import (
	"cmp"
	"iter"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// maxSortKeys is how many keys one SORT may have; there are not that many different
// ones.
const maxSortKeys = 50

// A criterion is one key of SORT.
type criterion struct {
	key     sortKey
	reverse bool
}

// sort is SORT and UID SORT (RFC 5256), with result options (RFC 5267, 3).
func (c *conn) sort(cmd *command) error {
	cmd.sp()
	p := c.searchParser(cmd)
	r := p.returns()
	order := p.sortCriteria()
	cmd.sp()
	k := p.sortKeys()
	scored := r.relevancy || slices.ContainsFunc(order, func(x criterion) bool { return x.key == byRelevancy })
	err := p.fuzzyEnd(scored)
	if err == nil {
		err = c.wantsUpdates(cmd, &r)
	}
	var found *sorted
	if err == nil {
		c.asksModSeq(p, &r)
		found, err = c.findSorted(cmd, k, order, scored)
	}
	if err != nil {
		return c.unsaved(&r, err)
	}
	if r.save {
		c.sel.saved = saved(&r, c.sel.snap, found)
	}
	if r.relevancy {
		r.score = found.score
	}
	c.answer(cmd, &r, found)
	if r.update {
		c.keepUp(cmd, k, order, found)
	}
	return nil
}

// sortKeys reads the charset and the search keys of SORT and THREAD.
func (p *searchParser) sortKeys() *criteria {
	p.setCharset(p.astring())
	p.sp()
	return p.searchKeys()
}

// sortCriteria reads the list of keys; of those that come twice the first counts.
func (p *searchParser) sortCriteria() (order []criterion) {
	n := 0
	p.list(func() {
		if n++; n > maxSortKeys {
			p.err = no(imap.ResponseCodeLimit, "Too many sort keys")
			return
		}
		var x criterion
		name := p.keyword()
		if name == "REVERSE" {
			x.reverse = true
			p.sp()
			name = p.keyword()
		}
		switch name {
		case "ARRIVAL":
			x.key = byArrival
		case "CC":
			x.key = byCc
		case "DATE":
			x.key = byDate
		case "FROM":
			x.key = byFrom
		case "SIZE":
			x.key = bySize
		case "SUBJECT":
			x.key = bySubject
		case "TO":
			x.key = byTo
		case "DISPLAYFROM":
			x.key = byDisplayFrom
		case "DISPLAYTO":
			x.key = byDisplayTo
		case "RELEVANCY": // RFC 6203, 5
			x.key = byRelevancy
		default:
			p.fail("unknown sort key")
		}
		if !slices.ContainsFunc(order, func(y criterion) bool { return x.key == y.key }) {
			order = append(order, x)
		}
	})
	if n == 0 {
		p.fail("no sort key")
	}
	return order
}

// sorted is messages of a snapshot in an order.
type sorted struct {
	snap  *snapshot
	pos   []int32
	score func(seq uint32) uint32 // the relevancy, if somebody asked
}

func (s *sorted) len() int { return len(s.pos) }

func (s *sorted) numbers(uid bool) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, p := range s.pos {
			n := uint32(p) + 1
			if uid {
				n = uint32(s.snap.at(int(p)).uid)
			}
			if !yield(n) {
				return
			}
		}
	}
}

// findSorted finds messages and brings them in order; those that are equal stay in
// the order of the mailbox.
func (c *conn) findSorted(cmd *command, k *criteria, order []criterion, scored bool) (*sorted, error) {
	found, err := c.find(cmd, k)
	if err != nil {
		return nil, err
	}
	out := &sorted{snap: found.snap}
	if scored {
		if out.score, err = c.relevancy(cmd, k); err != nil {
			return nil, err
		}
	}
	end, err := c.turn(found.len())
	if err != nil {
		return nil, err
	}
	defer end()
	t, list, err := c.keys(cmd, slices.Collect(found.runs()), keysOf(order))
	if err != nil {
		return nil, err
	}
	sortKeyed(t, order, list, out.score)
	out.pos = make([]int32, len(list))
	for i, m := range list {
		out.pos[i] = m.pos
	}
	return out, nil
}

// keysOf returns what must be known of messages.
func keysOf(order []criterion) (want keySet) {
	for _, x := range order {
		want |= 1 << x.key
	}
	return want &^ (1 << byRelevancy)
}

func sortKeyed(t *keyTable, order []criterion, list []keyed, score func(seq uint32) uint32) {
	slices.SortFunc(list, func(a, b keyed) int {
		for _, x := range order {
			var n int
			if x.key == byRelevancy { // the most relevant first
				n = cmp.Compare(score(uint32(b.pos)+1), score(uint32(a.pos)+1))
			} else {
				n = t.compare(x.key, a.row, b.row)
			}
			if n != 0 {
				if x.reverse {
					return -n
				}
				return n
			}
		}
		return cmp.Compare(a.pos, b.pos)
	})
}
