package imap

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// A letter is what threading knows of a message.
type letter struct {
	id, inReplyTo string
	references    []string
	subject       string
	sent          int
}

// tableOf makes the sort keys of letters, with UIDs from 1.
func tableOf(letters []letter) (*keyTable, []keyed) {
	var kc keyCache
	kc.init()
	t := &keyTable{have: 1<<byDate | 1<<bySubject | 1<<byReferences}
	var list []keyed
	for i, l := range letters {
		env := &message.Envelope{
			Subject: l.subject, References: l.references, InReplyTo: l.inReplyTo, MessageID: l.id,
			Date: time.Unix(int64(l.sent), 0).UTC().Format(time.RFC1123Z),
		}
		t.add(&kc, &store.Message{UID: store.UID(i + 1), Received: time.Unix(0, 0)}, env)
		list = append(list, keyed{int32(i), int32(i)})
	}
	return t, list
}

// written is what THREAD says.
func written(f *forest) string {
	var out bytes.Buffer
	var w writer
	w.W = &out
	for _, root := range f.roots {
		w.thread(f, root, func(n int32) uint32 { return uint32(n) + 1 })
	}
	w.crlf()
	w.Flush()
	return strings.TrimSuffix(out.String(), "\r\n")
}

// A plainNode is a message, or a dummy, of a plain transcription of RFC 5256, 3,
// REFERENCES, that walks wherever it has to.
type plainNode struct {
	seq      int // zero for a dummy
	letter   letter
	parent   *plainNode
	children []*plainNode
	root     bool
}

func (n *plainNode) isAbove(m *plainNode) bool {
	for ; m != nil; m = m.parent {
		if m == n {
			return true
		}
	}
	return false
}

func (n *plainNode) drop(c *plainNode) {
	n.children = slices.DeleteFunc(n.children, func(x *plainNode) bool { return x == c })
}

func (n *plainNode) cutLoose() {
	if n.parent != nil {
		n.parent.drop(n)
		n.parent = nil
	}
}

func (n *plainNode) take(c *plainNode) {
	c.cutLoose()
	c.parent = n
	n.children = append(n.children, c)
}

// first is n, or the first child of a dummy whose children are sorted.
func (n *plainNode) first() *plainNode {
	if n.seq == 0 {
		return n.children[0]
	}
	return n
}

func plainSort(list []*plainNode) {
	sort.SliceStable(list, func(i, j int) bool {
		a, b := list[i].first(), list[j].first()
		if a.letter.sent != b.letter.sent {
			return a.letter.sent < b.letter.sent
		}
		return a.seq < b.seq
	})
}

func plainReferences(letters []letter) string {
	byID := map[string]*plainNode{}
	var messages []*plainNode
	for i, l := range letters {
		n := &plainNode{seq: i + 1, letter: l}
		messages = append(messages, n)
		if ids := message.MessageIDs(l.id); len(ids) > 0 && byID[ids[0]] == nil {
			byID[ids[0]] = n
		}
	}
	var dummies []*plainNode
	for _, m := range messages { // (1)
		refs := m.letter.references
		if ids := message.MessageIDs(m.letter.inReplyTo); len(refs) == 0 && len(ids) > 0 {
			refs = ids[:1]
		}
		var last *plainNode
		for _, id := range refs { // (A)
			n := byID[id]
			if n == nil {
				n = &plainNode{}
				byID[id] = n
				dummies = append(dummies, n)
			}
			if last != nil && n.parent == nil && !n.isAbove(last) {
				last.take(n)
			}
			last = n
		}
		m.cutLoose() // (B)
		if last != nil && !m.isAbove(last) {
			last.take(m)
		}
	}
	top := &plainNode{root: true} // (2)
	for _, n := range slices.Concat(messages, dummies) {
		if n.parent == nil {
			top.take(n)
		}
	}
	var prune func(n *plainNode) // (3)
	prune = func(n *plainNode) {
		for _, c := range slices.Clone(n.children) {
			prune(c)
		}
		if n.seq != 0 || n.root {
			return
		}
		up := n.parent
		if len(n.children) == 0 {
			n.cutLoose()
		} else if !up.root || len(n.children) == 1 {
			for _, c := range slices.Clone(n.children) {
				up.take(c)
			}
			n.cutLoose()
		}
	}
	prune(top)
	for _, n := range top.children { // (4)
		if n.seq == 0 {
			plainSort(n.children)
		}
	}
	plainSort(top.children)
	table := map[string]*plainNode{} // (5)
	subject := func(n *plainNode) (string, bool) {
		s, reply := baseSubject(n.first().letter.subject)
		return casemap(s), reply
	}
	for _, n := range top.children {
		s, reply := subject(n)
		if s == "" {
			continue
		}
		old := table[s]
		if old == nil {
			table[s] = n
		} else if _, oldReply := subject(old); old.seq != 0 && (n.seq == 0 || oldReply && !reply) {
			table[s] = n
		}
	}
	for _, n := range slices.Clone(top.children) {
		if n.parent != top {
			continue // a table message that was put below a dummy
		}
		s, reply := subject(n)
		if s == "" || table[s] == n {
			continue
		}
		other := table[s]
		_, otherReply := subject(other)
		switch {
		case other.seq == 0 && n.seq == 0:
			for _, c := range slices.Clone(n.children) {
				other.take(c)
			}
			n.cutLoose()
		case other.seq == 0, reply && !otherReply:
			other.take(n)
		default:
			d := &plainNode{}
			top.take(d)
			d.take(n)
			d.take(other)
			plainSort(d.children)
			table[s] = d
		}
	}
	var order func(n *plainNode) // (6)
	order = func(n *plainNode) {
		for _, c := range n.children {
			order(c)
		}
		plainSort(n.children)
	}
	order(top)
	var sb strings.Builder
	var write func(n *plainNode, lead string)
	write = func(n *plainNode, lead string) {
		if n.seq != 0 {
			fmt.Fprint(&sb, lead, n.seq)
			lead = " "
		}
		if len(n.children) == 1 {
			write(n.children[0], lead)
			return
		}
		if len(n.children) > 0 {
			sb.WriteString(lead)
		}
		for _, c := range n.children {
			sb.WriteByte('(')
			write(c, "")
			sb.WriteByte(')')
		}
	}
	for _, n := range top.children {
		sb.WriteByte('(')
		write(n, "")
		sb.WriteByte(')')
	}
	return sb.String()
}

// randomLetters makes letters whose references are like those of mail, or like those
// of nobody.
func randomLetters(rnd *rand.Rand, n int) []letter {
	var out []letter
	ids := 1 + rnd.IntN(2*n)
	subjects := []string{"", "a", "Re: a", "b", "Fwd: b", "Re: c", "c (fwd)", "[x] a"}
	for i := range n {
		l := letter{id: fmt.Sprintf("<%d>", i), sent: rnd.IntN(n + 1), subject: subjects[rnd.IntN(1+rnd.IntN(len(subjects)))]}
		switch rnd.IntN(8) {
		case 0:
			l.id = ""
		case 1:
			l.id = fmt.Sprintf("<%d>", rnd.IntN(n))
		}
		for range rnd.IntN(1 + rnd.IntN(6)) {
			l.references = append(l.references, fmt.Sprint(rnd.IntN(ids)))
		}
		if rnd.IntN(3) == 0 {
			l.inReplyTo = fmt.Sprintf("text <%d> <%d>", rnd.IntN(ids), rnd.IntN(ids))
		}
		out = append(out, l)
	}
	return out
}

// THREAD=REFERENCES is what the RFC's words come to, and no algorithm loses a
// message or shows one twice.
func TestThreadsAreThoseOfAPlainTranscription(t *testing.T) {
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		letters := randomLetters(rnd, 1+rnd.IntN(40))
		table, list := tableOf(letters)
		for name, arrange := range map[string]func(*keyTable, []keyed) *forest{"REFERENCES": references, "REFS": refsOnly, "ORDEREDSUBJECT": orderedSubject} {
			got := written(arrange(table, list))
			if want := plainReferences(letters); name == "REFERENCES" && got != want {
				t.Fatalf("seed %d: %+v\n got %s\nwant %s", seed, letters, got, want)
			}
			nums := strings.FieldsFunc(got, func(r rune) bool { return r < '0' || r > '9' })
			slices.SortFunc(nums, func(a, b string) int { return len(a)*100 - len(b)*100 + strings.Compare(a, b) })
			for i := range len(letters) {
				if len(nums) != len(letters) || nums[i] != fmt.Sprint(i+1) {
					t.Fatalf("seed %d, %s: %s", seed, name, got)
				}
			}
		}
	}
}

// hostile makes letters that were sent to keep a server busy (threats T17).
func hostile(kind string, n int) (out []letter) {
	rnd := rand.New(rand.NewPCG(1, 2))
	id := func(i int) string { return fmt.Sprintf("%d@hostile.example", i) }
	for i := range n {
		l := letter{id: "<" + id(i) + ">", subject: "s", sent: n - i}
		switch kind {
		case "chain": // each is the answer to the one before, and they come in the wrong order
			l.references = []string{id(i + 1)}
		case "whole chain":
			for k := max(0, i-99); k < i; k++ {
				l.references = append(l.references, id(k))
			}
		case "cycle":
			l.references = []string{id((i + 1) % n)}
		case "all IDs new":
			for k := range 100 {
				l.references = append(l.references, id(n+100*i+k))
			}
		case "one ID":
			l.id = "<same>"
			l.references = slices.Repeat([]string{"same"}, 100)
		case "loops refused": // the root of a long chain is to be put below its end, again and again
			l.references = []string{id(i + 1)}
			if i%2 == 1 {
				l.references = nil
				for k := range 50 {
					l.references = append(l.references, id(rnd.IntN(i)), id(n))
					_ = k
				}
			}
		case "random":
			for range 100 {
				l.references = append(l.references, id(rnd.IntN(n)))
			}
		case "cut again and again": // each moves a chain elsewhere
			l.references = []string{id(i + 1), id(rnd.IntN(n)), id(i / 2)}
		case "subjects":
			l.subject = strings.Repeat("Re: [a] ", 100) + fmt.Sprint(i%100)
		case "comb":
			l.references = []string{id(i - i%2 - 2)}
		}
		out = append(out, l)
	}
	return out
}

var hostileKinds = []string{"chain", "whole chain", "cycle", "all IDs new", "one ID", "loops refused", "random", "cut again and again", "subjects", "comb"}

// The steps grow with n log n, whatever is in References.
func TestThreadStepsOfHostileReferences(t *testing.T) {
	for _, kind := range hostileKinds {
		steps := func(n int) int {
			table, list := tableOf(hostile(kind, n))
			b := newThreadBuilder(table, list)
			b.forest()
			return b.tree.steps + len(b.parent)
		}
		small, large := steps(1000), steps(4000)
		t.Logf("%s: %d and %d steps", kind, small, large)
		if large > 6*small+10_000 || large > 4000*100*20 {
			t.Errorf("%s: %d steps for 1000, %d for 4000", kind, small, large)
		}
	}
}

func BenchmarkThread(b *testing.B) {
	for _, kind := range hostileKinds {
		table, list := tableOf(hostile(kind, 10_000))
		b.Run(strings.ReplaceAll(kind, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				written(references(table, list))
			}
		})
	}
}
