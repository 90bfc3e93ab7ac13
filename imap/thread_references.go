package imap

import (
	"cmp"
	"math"
	"slices"
)

// references makes threads as RFC 5256, 3, REFERENCES says. Its steps are numbered
// as there.
func references(t *keyTable, list []keyed) *forest {
	b := newThreadBuilder(t, list) // step 1
	f := b.forest()                // 2, 3
	roots := b.firsts(f)           // 4
	slices.SortFunc(f.roots, roots.date)
	b.joinSubjects(f, roots) // 5
	b.sortSiblings(f)        // 6
	slices.SortFunc(f.roots, b.firsts(f).date)
	return f
}

// refsOnly is REFERENCES without step 5, and with the threads in the order of their
// latest messages (draft-ietf-morg-inthread, THREAD=REFS).
func refsOnly(t *keyTable, list []keyed) *forest {
	b := newThreadBuilder(t, list)
	f := b.forest()
	b.sortSiblings(f)
	latest := make([]int64, len(f.children))
	for _, root := range f.roots {
		latest[root] = math.MinInt64
		for todo := []int32{root}; len(todo) > 0; {
			n := todo[len(todo)-1]
			todo = append(todo[:len(todo)-1], f.children[n]...)
			if !f.dummy(n) {
				latest[root] = max(latest[root], t.numbers[byDate][list[n].row])
			}
		}
	}
	first := b.firsts(f).first
	slices.SortFunc(f.roots, func(x, y int32) int {
		return cmp.Or(cmp.Compare(latest[x], latest[y]), cmp.Compare(list[first[x]].pos, list[first[y]].pos))
	})
	return f
}

// maxThreadIDs is how many references are looked at for one THREAD. If there are
// more, each message has only its first one and the last few.
const maxThreadIDs = 2_000_000

// A threadBuilder links messages by their references. Its nodes are the messages of
// the list, by number, and then the IDs that no message has.
type threadBuilder struct {
	t      *keyTable
	list   []keyed
	date   func(a, b int32) int
	nodes  *idTable
	parent []int32 // -1 for none
	above  []bool  // it ever had a child
	tree   linkCut
	most   int // references of one message
}

func newThreadBuilder(t *keyTable, list []keyed) *threadBuilder {
	total := 0
	for _, m := range list {
		total += len(t.refs[m.row].refs)
	}
	room := len(list) + min(total, maxThreadIDs) // pages that nothing is written to cost nothing
	b := &threadBuilder{t: t, list: list, date: byDateOf(t, list), nodes: newIDTable(room)}
	b.parent, b.above, b.tree = make([]int32, 0, room), make([]bool, 0, room), newLinkCut(room)
	for i, m := range list {
		b.node()
		// Of messages with the same ID the first has it.
		if id := t.refs[m.row].own; id != (messageID{}) && b.nodes.get(id) < 0 {
			b.nodes.put(id, int32(i))
		}
	}
	if b.most = total; total > maxThreadIDs {
		b.most = max(2, maxThreadIDs/len(list))
	}
	for i := range list {
		b.link(int32(i))
	}
	return b
}

// node makes a node.
func (b *threadBuilder) node() int32 {
	b.parent = append(b.parent, -1)
	b.above = append(b.above, false)
	b.tree.grow()
	return int32(len(b.parent)) - 1
}

// link does step 1 for message i.
func (b *threadBuilder) link(i int32) {
	last := int32(-1)
	refs := b.t.refs[b.list[i].row].refs
	for k, id := range refs {
		if k > 0 && k <= len(refs)-b.most {
			continue
		}
		n := b.nodes.get(id)
		if n < 0 {
			n = b.node()
			b.nodes.put(id, n)
		}
		if last >= 0 && b.parent[n] < 0 { // 1.A: never change a link
			b.adopt(last, n)
		}
		last = n
	}
	if b.parent[i] >= 0 { // 1.B: what was there came of a shortened References
		b.tree.cut(i)
		b.parent[i] = -1
	}
	if last >= 0 {
		b.adopt(last, i)
	}
}

// adopt makes p the parent of n, which has none, unless that would be a loop. What
// never had a child is above nothing.
func (b *threadBuilder) adopt(p, n int32) {
	if p == n || b.above[n] && b.tree.root(p) == n {
		return
	}
	b.tree.link(n, p)
	b.parent[n] = p
	b.above[p] = true
}

// forest does steps 2 and 3: it makes threads without IDs that no message has. Of
// those at the top some remain as dummies, which have two children at least.
func (b *threadBuilder) forest() *forest {
	n := len(b.list)
	f := &forest{messages: n, children: make([][]int32, n)}
	// nearest is the message above a node, or else -1 minus the top of its thread.
	const todo = int32(1<<31 - 1)
	nearest := make([]int32, len(b.parent))
	for i := range nearest {
		nearest[i] = todo
	}
	var path []int32
	for i := range int32(len(b.parent)) {
		at := i
		for path = path[:0]; nearest[at] == todo; at = b.parent[at] {
			path = append(path, at)
			if p := b.parent[at]; p < 0 {
				nearest[at] = -1 - at
				break
			} else if int(p) < n {
				nearest[at] = p
				break
			}
		}
		for _, x := range path {
			nearest[x] = nearest[at]
		}
	}
	dummies := map[int32]int32{} // of the tops
	for i := range int32(n) {
		up := nearest[i]
		if up >= 0 {
			f.children[up] = append(f.children[up], i)
			continue
		}
		top := -1 - up
		if top == i {
			f.roots = append(f.roots, i)
			continue
		}
		d, ok := dummies[top]
		if !ok {
			d = int32(len(f.children))
			dummies[top] = d
			f.children = append(f.children, nil)
			f.roots = append(f.roots, d)
		}
		f.children[d] = append(f.children[d], i)
	}
	// Only one child takes the place of its dummy.
	for i, root := range f.roots {
		if f.dummy(root) && len(f.children[root]) == 1 {
			f.roots[i] = f.children[root][0]
		}
	}
	return f
}

// A rootOrder says by which message each root is sorted: itself, or the first child
// of a dummy.
type rootOrder struct {
	first []int32 // by node; those that are no roots are themselves
	date  func(x, y int32) int
}

func (b *threadBuilder) firsts(f *forest) *rootOrder {
	o := &rootOrder{first: make([]int32, len(f.children))}
	for _, root := range f.roots {
		o.first[root] = root
		if f.dummy(root) {
			o.first[root] = slices.MinFunc(f.children[root], b.date)
		}
	}
	o.date = func(x, y int32) int { return b.date(o.first[x], o.first[y]) }
	return o
}

// joinSubjects does step 5: it joins threads with the same base subject.
func (b *threadBuilder) joinSubjects(f *forest, order *rootOrder) {
	subject := func(root int32) string { return b.t.texts[bySubject-byCc][b.list[order.first[root]].row] }
	reply := func(root int32) bool { return b.t.refs[b.list[order.first[root]].row].reply }
	table := make(map[string]int32, len(f.roots)) // 5.A
	for _, root := range f.roots {                // 5.B
		s := subject(root)
		if s == "" {
			continue
		}
		other, ok := table[s]
		if !ok || !f.dummy(other) && (f.dummy(root) || reply(other) && !reply(root)) {
			table[s] = root
		}
	}
	gone := map[int32]bool{} // no roots any more
	var fresh []int32
	for _, root := range f.roots { // 5.C
		s := subject(root)
		if s == "" || table[s] == root {
			continue
		}
		other := table[s]
		if gone[root] { // it lies in the new dummy already
			continue
		}
		switch gone[root] = true; {
		case f.dummy(other) && f.dummy(root):
			f.children[other] = append(f.children[other], f.children[root]...)
		case f.dummy(other), reply(root) && !reply(other):
			f.children[other] = append(f.children[other], root)
		default:
			d := int32(len(f.children))
			f.children = append(f.children, []int32{other, root})
			fresh = append(fresh, d)
			gone[other] = true
			table[s] = d
		}
	}
	f.roots = slices.DeleteFunc(f.roots, func(root int32) bool { return gone[root] })
	f.roots = append(f.roots, fresh...)
}

// sortSiblings does step 6 but for the roots. No set of siblings depends on another,
// for dummies are roots only.
func (b *threadBuilder) sortSiblings(f *forest) {
	for _, list := range f.children {
		slices.SortFunc(list, b.date)
	}
}
