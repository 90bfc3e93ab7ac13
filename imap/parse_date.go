package imap

import "time"

// date reads a day: 1-Feb-1994, bare or quoted. It is midnight in UTC.
func (p *parser) date() time.Time {
	var s string
	if p.peek() == '"' {
		s = p.string()
	} else {
		s = p.atom()
	}
	if !p.ok() {
		return time.Time{}
	}
	t, err := time.Parse("_2-Jan-2006", s)
	if err != nil {
		p.fail("bad date")
	}
	return t
}

// dateTime reads an internal date: "17-Jul-1996 02:44:25 -0700".
func (p *parser) dateTime() time.Time {
	if p.peek() != '"' {
		p.fail("expected a date and time")
		return time.Time{}
	}
	s := p.string()
	if !p.ok() {
		return time.Time{}
	}
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		p.fail("bad date and time")
	}
	return t
}
