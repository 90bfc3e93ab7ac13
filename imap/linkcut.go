package imap

// A linkCut is a forest of numbered nodes that tells the root of a node, and links
// and cuts, in n log n steps for n operations whatever the forest looks like (Sleator
// and Tarjan, A data structure for dynamic trees, 1983). Without it, messages whose
// references make long chains would be walked along again and again (threats T17).
//
// Each path of preferred children is a splay tree by depth, whose root has the parent
// of the path's top as its up, without being a child of it.
type linkCut struct {
	up, left, right []int32 // -1 for none
	steps           int     // rotations, for tests
}

func newLinkCut(room int) linkCut {
	return linkCut{up: make([]int32, 0, room), left: make([]int32, 0, room), right: make([]int32, 0, room)}
}

// grow adds a node.
func (l *linkCut) grow() {
	l.up, l.left, l.right = append(l.up, -1), append(l.left, -1), append(l.right, -1)
}

// top reports whether x is the root of its splay tree.
func (l *linkCut) top(x int32) bool {
	p := l.up[x]
	return p < 0 || l.left[p] != x && l.right[p] != x
}

func (l *linkCut) rotate(x int32) {
	l.steps++
	p := l.up[x]
	g := l.up[p]
	if !l.top(p) {
		if l.left[g] == p {
			l.left[g] = x
		} else {
			l.right[g] = x
		}
	}
	var between int32
	if l.left[p] == x {
		between = l.right[x]
		l.left[p], l.right[x] = between, p
	} else {
		between = l.left[x]
		l.right[p], l.left[x] = between, p
	}
	if between >= 0 {
		l.up[between] = p
	}
	l.up[p], l.up[x] = x, g
}

func (l *linkCut) splay(x int32) {
	for !l.top(x) {
		p := l.up[x]
		if !l.top(p) {
			if g := l.up[p]; (l.left[g] == p) == (l.left[p] == x) {
				l.rotate(p)
			} else {
				l.rotate(x)
			}
		}
		l.rotate(x)
	}
}

// access makes the path from the root to x one splay tree with x on top.
func (l *linkCut) access(x int32) {
	last := int32(-1)
	for y := x; y >= 0; y = l.up[y] {
		l.steps++
		l.splay(y)
		l.right[y] = last
		last = y
	}
	l.splay(x)
}

// root returns the root of the tree that x is in.
func (l *linkCut) root(x int32) int32 {
	l.access(x)
	for l.left[x] >= 0 {
		l.steps++
		x = l.left[x]
	}
	l.splay(x)
	return x
}

// link makes x, a root, a child of p, which is in another tree.
func (l *linkCut) link(x, p int32) {
	l.access(x)
	l.up[x] = p
}

// cut makes x a root.
func (l *linkCut) cut(x int32) {
	l.access(x)
	if a := l.left[x]; a >= 0 {
		l.up[a], l.left[x] = -1, -1
	}
}
