package imap

// returns reads RETURN and the space after it, if it is next.
func (p *searchParser) returns() (r returns) {
	if !p.word("RETURN") {
		return r
	}
	p.sp()
	r.given = true
	n := 0
	p.list(func() {
		n++
		switch p.keyword() {
		case "MIN":
			r.min = true
		case "MAX":
			r.max = true
		case "ALL":
			r.all = true
		case "COUNT":
			r.count = true
		case "SAVE":
			r.save = true
		case "UPDATE":
			r.update = true
			n--
		case "CONTEXT": // a hint that more will be asked; keys are kept anyway
			n--
		case "RELEVANCY":
			r.relevancy = true
		case "PARTIAL":
			p.sp()
			if r.partial != nil {
				p.fail("PARTIAL twice")
			}
			x := p.partialRange()
			r.partial = &x
		default:
			p.fail("unknown result option")
		}
	})
	r.all = r.all || n == 0
	if r.all && r.partial != nil {
		p.fail("PARTIAL with ALL") // RFC 9394, 3.1
	}
	p.sp()
	return r
}

// fuzzyEnd wants a FUZZY key if something asks how relevant messages are (RFC 6203,
// 4 and 5).
func (p *searchParser) fuzzyEnd(relevancy bool) error {
	if relevancy && !p.anyFuzzy {
		p.fail("RELEVANCY without FUZZY")
	}
	return p.end()
}
