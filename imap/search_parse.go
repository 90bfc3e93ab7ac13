package imap

import (
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/charset"
)

// Limits of one search.
const (
	maxKeys    = 1000
	maxNeedles = 64   // strings to look for in texts
	maxNeedle  = 1000 // bytes of one
)

// A searchParser reads the arguments of SEARCH.
type searchParser struct {
	*parser
	noCharset     bool   // RFC 6855, 3: UTF8=ACCEPT leaves no choice
	charset       string // of strings
	uidOnly       bool
	numbers       bool // sequence numbers are among the keys
	modSeq        bool // MODSEQ is
	now           time.Time
	keys, needles int
	fuzzy         bool // within FUZZY
	anyFuzzy      bool // FUZZY was there
}

// searchCharset reads CHARSET.
func (p *searchParser) searchCharset() {
	if !p.word("CHARSET") {
		return
	}
	p.sp()
	if p.ok() && p.noCharset {
		p.fail("CHARSET with UTF8=ACCEPT")
	}
	p.setCharset(p.astring())
	p.sp()
}

// setCharset takes the charset of the strings that follow.
func (p *searchParser) setCharset(name string) {
	if p.charset = name; p.ok() && !charset.Known(name) {
		p.err = no("BADCHARSET (US-ASCII UTF-8)", "Unknown charset")
	}
}

// searchKeys reads keys up to the end of the command; all of them must match.
func (p *searchParser) searchKeys() *criteria {
	c := new(criteria)
	for p.key(c); p.ok() && len(trimSpace(p.line)) > 0; p.key(c) {
		p.sp()
	}
	return c
}

// key reads one key into c, which must match too.
func (p *searchParser) key(c *criteria) {
	if p.keys++; p.keys > maxKeys {
		p.err = no(imap.ResponseCodeLimit, "Too many search keys")
	}
	if !p.enter() {
		return
	}
	defer p.leave()
	if p.peek() == '(' {
		n := 0
		p.list(func() { p.key(c); n++ })
		if n == 0 {
			p.fail("expected a search key")
		}
		return
	}
	if p.isSet() {
		switch set := p.seqSet().(type) {
		case imap.SeqSet:
			if p.numbers = true; p.uidOnly && p.ok() {
				p.err = errUIDRequired
			}
			c.SeqNum = append(c.SeqNum, set)
		case imap.UIDSet: // "$"
			c.UID = append(c.UID, set)
		}
		return
	}
	switch name := p.keyword(); name {
	case "ALL", "OLD": // no message is recent here
	case "RECENT", "NEW":
		never(c)
	case "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN":
		c.Flag = append(c.Flag, systemFlag(name))
	case "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN":
		c.NotFlag = append(c.NotFlag, systemFlag(name[2:]))
	case "KEYWORD":
		p.sp()
		c.Flag = append(c.Flag, imap.Flag(p.flag()))
	case "UNKEYWORD":
		p.sp()
		c.NotFlag = append(c.NotFlag, imap.Flag(p.flag()))
	case "UID":
		p.sp()
		c.UID = append(c.UID, p.uidSet())
	case "LARGER", "SMALLER":
		p.sp()
		size(c, name, p.number64())
	case "MODSEQ":
		p.modSeqKey(c)
	case "EMAILID":
		p.objectKey(c, 'M', &c.EmailID)
	case "THREADID":
		p.objectKey(c, 'T', &c.ThreadID)
	case "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE":
		p.sp()
		savedDay(c, name, p.date())
	case "SAVEDATESUPPORTED": // by every mailbox, so all match
	case "OLDER", "YOUNGER":
		p.sp()
		within(c, name, p.now, p.nzNumber())
	case "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE":
		p.sp()
		day(c, name, p.date())
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		p.sp()
		p.takeText(c, name, name, p.needle())
	case "HEADER":
		p.sp()
		field := p.astring()
		p.sp()
		p.takeText(c, name, field, p.needle())
	case "BODY":
		p.sp()
		p.takeText(c, name, "", p.needle())
	case "TEXT":
		p.sp()
		p.takeText(c, name, "", p.needle())
	case "FUZZY":
		p.sp()
		was := p.fuzzy
		p.fuzzy, p.anyFuzzy = true, true
		p.key(c)
		p.fuzzy = was
	case "NOT":
		p.sp()
		var sub criteria
		p.key(&sub)
		c.Not = append(c.Not, sub)
	case "OR":
		var sub [2]criteria
		p.sp()
		p.key(&sub[0])
		p.sp()
		p.key(&sub[1])
		c.Or = append(c.Or, sub)
	default:
		p.fail("unknown search key")
	}
}

func systemFlag(name string) imap.Flag {
	return imap.Flag(`\` + name[:1] + strings.ToLower(name[1:]))
}

// needle reads a string to look for, as UTF-8.
func (p *searchParser) needle() string {
	s := p.astring()
	if p.needles++; p.ok() && (p.needles > maxNeedles || len(s) > maxNeedle) {
		p.err = no(imap.ResponseCodeLimit, "Too much text to search for")
	}
	return charset.Decode(p.charset, []byte(s))
}

// never makes c match nothing.
func never(c *criteria) { c.Not = append(c.Not, criteria{}) }

// size takes LARGER or SMALLER into c.
func size(c *criteria, name string, n int64) {
	switch {
	case name == "LARGER":
		c.Larger = max(c.Larger, n)
	case n == 0: // a zero in c says nothing
		never(c)
	case c.Smaller == 0 || n < c.Smaller:
		c.Smaller = n
	}
}

// within takes OLDER or YOUNGER into c: the internal date is that many seconds before
// now, or earlier, or later (RFC 5032, 2).
func within(c *criteria, name string, now time.Time, seconds uint32) {
	t := now.Add(-time.Duration(seconds) * time.Second)
	switch {
	case name == "OLDER" && (c.Older.IsZero() || t.Before(c.Older)):
		c.Older = t
	case name == "YOUNGER" && t.After(c.Younger):
		c.Younger = t
	}
}

// day takes a key with a day into c, as since and before.
func day(c *criteria, name string, d time.Time) {
	name, sent := strings.CutPrefix(name, "SENT")
	since, before := &c.Since, &c.Before
	if sent {
		since, before = &c.SentSince, &c.SentBefore
	}
	if name != "BEFORE" && d.After(*since) {
		*since = d
	}
	if name == "ON" {
		d = d.AddDate(0, 0, 1)
	}
	if name == "SINCE" {
		return
	}
	if d.IsZero() {
		never(c)
	} else if before.IsZero() || d.Before(*before) {
		*before = d
	}
}
