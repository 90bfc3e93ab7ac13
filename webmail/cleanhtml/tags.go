package cleanhtml

import "golang.org/x/net/html"

// start handles a start tag. The rules are those of HTML 13.2.6.4.7 ("in body") and the sections on tables, in so far
// as what they make of good input must be what was written.
func (b *builder) start(name string, attrs []html.Attribute) {
	if name == "body" {
		b.startBody(attrs)
		return
	}
	k, ok := elements[name]
	if to := renamed[name]; to != "" {
		name, k, ok = to, elements[to], true
	}
	if !ok {
		return
	}
	if k&structure != 0 {
		b.startPart(name, k, attrs)
		return
	}
	if inRow(b.top()) && k&format != 0 {
		return // a row of its own for <font> between rows would show
	}
	if !b.cell() {
		return
	}
	if k&block != 0 {
		b.startBlock(name)
	} else if name == "a" {
		// A link in a link ends the first.
		if i := b.index(named("a"), isBoundary); i >= 0 {
			b.stack[i].done = true
			b.reopen(i)
		}
		b.forget("a")
	}
	if k&inline != 0 {
		b.settle()
	}
	e := element{name: name, tag: b.tag(name, attrs), kind: k}
	if k&void == 0 {
		b.push(e)
	} else if b.nodes >= b.o.MaxElements {
		b.full, b.cut = true, true
	} else if b.room(len(e.tag)) {
		b.touch()
		b.nodes++
		b.out.WriteString(e.tag)
	}
}

// startBody writes the body as a div, so that its colours stay.
func (b *builder) startBody(attrs []html.Attribute) {
	if b.body || len(b.stack) > 0 {
		return
	}
	b.body = true
	list := []html.Attribute{{Key: "class", Val: "body"}, {Key: "style"}}
	style := &list[1].Val
	for _, a := range attrs {
		switch a.Key {
		case "class":
			list[0].Val += " " + a.Val
		case "style":
			*style += a.Val
		case "bgcolor": // which a div does not have
			*style = "background-color:" + a.Val + ";" + *style
		case "text":
			*style = "color:" + a.Val + ";" + *style
		case "background":
			*style = "background-image:url('" + escaped(squeezed(a.Val)) + "');" + *style
		default:
			list = append(list, a)
		}
	}
	b.start("div", list)
}

// startBlock closes what cannot be around a block.
func (b *builder) startBlock(name string) {
	var same func(*element) bool
	switch name {
	case "li":
		same = named("li")
	case "dd", "dt":
		same = named("dd", "dt")
	}
	if same != nil {
		if i := b.index(same, func(e *element) bool { return e.kind&special != 0 }); i >= 0 {
			b.reopen(i)
		}
	}
	if i := b.index(named("p"), isBoundary); i >= 0 {
		b.reopen(i)
	}
	if heading(name) && heading(b.top()) {
		b.pop()
	}
}

// startPart handles the parts of tables.
func (b *builder) startPart(name string, k kind, attrs []html.Attribute) {
	if b.open["table"] == 0 || b.ignored["table"] > 0 {
		return
	}
	never := func(*element) bool { return false }
	within := func(names ...string) { b.popTo(b.index(named(names...), never) + 1) }
	b.pending = nil
	ok := true
	switch name {
	case "caption", "colgroup", "tbody", "thead", "tfoot":
		within("table")
	case "col":
		if b.top() != "colgroup" {
			within("table")
			ok = b.implied("colgroup")
		}
		if tag := b.tag(name, attrs); ok && b.nodes < b.o.MaxElements && b.room(len(tag)) {
			b.nodes++
			b.out.WriteString(tag)
		}
		return
	case "tr":
		within("table", "tbody", "thead", "tfoot")
		if b.top() == "table" {
			ok = b.implied("tbody")
		}
	case "td", "th":
		within("table", "tbody", "thead", "tfoot", "tr")
		if b.top() == "table" {
			ok = b.implied("tbody")
		}
		if ok && b.top() != "tr" {
			ok = b.implied("tr")
		}
	}
	if ok {
		b.push(element{name: name, tag: b.tag(name, attrs), kind: k})
	}
}

// forget removes formatting that was to be opened again, once.
func (b *builder) forget(name string) bool {
	for i := len(b.pending) - 1; i >= 0; i-- {
		if b.pending[i].name == name {
			b.pending = append(b.pending[:i], b.pending[i+1:]...)
			return true
		}
	}
	return false
}

// end handles an end tag.
func (b *builder) end(name string) {
	if to := renamed[name]; to != "" {
		name = to
	}
	k := elements[name]
	if b.ignored[name] > 0 {
		b.ignored[name]--
		return
	}
	if k&format != 0 && b.forget(name) || b.open[name] == 0 || k&structure != 0 && b.ignored["table"] > 0 {
		return
	}
	var i int
	switch {
	case k&structure != 0:
		i = b.index(named(name), named("table"))
	case name == "table":
		i = b.index(named(name), func(*element) bool { return false })
	case k&inline != 0:
		i = b.index(func(e *element) bool { return e.name == name && !e.done }, isBoundary)
		if j := b.index(isBlock, isBoundary); i >= 0 && j > i {
			b.stack[i].done = true
			return
		}
		if i >= 0 {
			b.stack[i].done = true // not to be opened again
			b.reopen(i)
		}
		b.closeDone()
		return
	default:
		i = b.index(named(name), isBoundary)
	}
	if i < 0 {
		return
	}
	if k&(structure|boundary) != 0 {
		b.pending = nil
	}
	b.popTo(i)
	b.closeDone()
}

// closeDone closes formatting whose end tag came too early.
func (b *builder) closeDone() {
	for n := len(b.stack); n > 0 && b.stack[n-1].done; n-- {
		b.pop()
	}
}
