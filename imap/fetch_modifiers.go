package imap

import "github.com/mailkeel/mailkeel/store"

// fetchModifiers narrow down the messages of a FETCH.
type fetchModifiers struct {
	since    bool // CHANGEDSINCE (RFC 7162, 3.1.4.1)
	after    store.ModSeq
	vanished bool          // those that have gone, too (RFC 7162, 3.2.6)
	partial  *partialRange // RFC 9394, 3.3
}

// fetchModifiers reads the list that may follow the items of FETCH.
func (c *conn) fetchModifiers(cmd *command) (m fetchModifiers) {
	if !cmd.more() {
		return m
	}
	cmd.list(func() {
		switch cmd.keyword() {
		case "CHANGEDSINCE":
			cmd.sp()
			m.since, m.after = true, cmd.modSeqValue()
		case "VANISHED":
			m.vanished = true
		case "PARTIAL":
			cmd.sp()
			r := cmd.partialRange()
			m.partial = &r
		default:
			cmd.fail("unknown modifier")
		}
	})
	switch {
	case m.vanished && (!cmd.uid || !c.qresync || !m.since):
		cmd.fail("VANISHED needs UID FETCH, CHANGEDSINCE, and QRESYNC to be enabled")
	case m.partial != nil && !cmd.uid:
		cmd.fail("PARTIAL needs UID FETCH")
	}
	return m
}

// narrow takes the modifiers into account: first PARTIAL and then CHANGEDSINCE (RFC
// 9394, 3.4).
func (m *fetchModifiers) narrow(s *snapshot, spans []span) []span {
	if m.partial != nil {
		lo, hi := m.partial.of(spanLen(spans))
		spans = cutSpans(spans, lo, hi)
	}
	if m.since {
		spans = s.changedSince(spans, m.after)
	}
	return spans
}
