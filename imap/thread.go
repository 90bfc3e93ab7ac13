package imap

import (
	"cmp"
	"slices"
)

// thread is THREAD and UID THREAD (RFC 5256).
func (c *conn) thread(cmd *command) error {
	cmd.sp()
	p := c.searchParser(cmd)
	name := p.keyword()
	var arrange func(*keyTable, []keyed) *forest
	want := keySet(1<<byDate | 1<<bySubject | 1<<byReferences)
	switch name {
	case "ORDEREDSUBJECT":
		arrange, want = orderedSubject, 1<<byDate|1<<bySubject
	case "REFERENCES":
		arrange = references
	case "REFS":
		arrange = refsOnly
	default:
		if p.ok() {
			p.fail("unknown threading algorithm")
		}
	}
	cmd.sp()
	k := p.sortKeys()
	if err := cmd.end(); err != nil {
		return err
	}
	c.asksModSeq(p, new(returns))
	found, err := c.find(cmd, k)
	if err != nil {
		return err
	}
	end, err := c.turn(found.len())
	if err != nil {
		return err
	}
	defer end()
	t, list, err := c.keys(cmd, slices.Collect(found.runs()), want)
	if err != nil {
		return err
	}
	c.w.raw("* THREAD")
	if f := arrange(t, list); len(f.roots) > 0 {
		c.w.sp()
		for _, root := range f.roots {
			c.w.thread(f, root, func(n int32) uint32 {
				pos := int(list[n].pos)
				if cmd.uid {
					return uint32(found.snap.at(pos).uid)
				}
				return uint32(pos) + 1
			})
		}
	}
	c.w.crlf()
	return nil
}

// A forest is threads. Its nodes are those messages of a list that have the same
// number, and above them dummies, which stand for no message and are only roots.
type forest struct {
	messages int
	children [][]int32 // of each node
	roots    []int32
}

func (f *forest) dummy(n int32) bool { return int(n) >= f.messages }

// A threadWalk is where a thread is being written.
type threadWalk struct {
	siblings []int32 // still to come, each in parentheses
}

// thread writes one (RFC 5256, 4). A chain of messages stands in one pair of
// parentheses, and no depth of a tree costs stack.
func (w *writer) thread(f *forest, root int32, number func(int32) uint32) {
	open := []threadWalk{}
	w.byte('(')
	for n := root; ; {
		// The message and those that follow as only children.
		for first := true; ; first = false {
			if !f.dummy(n) {
				if !first {
					w.sp()
				}
				w.num(uint64(number(n)))
			}
			if len(f.children[n]) != 1 {
				break
			}
			n = f.children[n][0]
		}
		if kids := f.children[n]; len(kids) > 0 {
			if !f.dummy(n) {
				w.sp()
			}
			open = append(open, threadWalk{kids[1:]})
			w.byte('(')
			n = kids[0]
			continue
		}
		w.byte(')')
		for len(open) > 0 && len(open[len(open)-1].siblings) == 0 {
			open = open[:len(open)-1]
			w.byte(')')
		}
		if len(open) == 0 {
			return
		}
		last := &open[len(open)-1]
		n, last.siblings = last.siblings[0], last.siblings[1:]
		w.byte('(')
	}
}

// orderedSubject makes threads of messages with the same base subject: the first is
// the parent of the others (RFC 5256, 3, ORDEREDSUBJECT).
func orderedSubject(t *keyTable, list []keyed) *forest {
	f := &forest{messages: len(list), children: make([][]int32, len(list))}
	order := make([]int32, len(list))
	for i := range order {
		order[i] = int32(i)
	}
	date := byDateOf(t, list)
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(t.compare(bySubject, list[a].row, list[b].row), date(a, b))
	})
	for len(order) > 0 {
		k := 1
		for k < len(order) && t.compare(bySubject, list[order[0]].row, list[order[k]].row) == 0 {
			k++
		}
		f.roots = append(f.roots, order[0])
		f.children[order[0]] = order[1:k:k]
		order = order[k:]
	}
	slices.SortFunc(f.roots, date)
	return f
}

// byDateOf compares nodes by sent date, and then by their order in the mailbox.
func byDateOf(t *keyTable, list []keyed) func(a, b int32) int {
	return func(a, b int32) int {
		return cmp.Or(t.compare(byDate, list[a].row, list[b].row), cmp.Compare(list[a].pos, list[b].pos))
	}
}
