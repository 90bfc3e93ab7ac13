package mailtest

import (
	"fmt"
	"slices"
	"strings"
)

// A Match says which messages are meant. Each method returns one that wants more;
// all of it must hold. The zero Match means every message. Texts are compared
// without regard to case, and it is enough that they are contained.
type Match struct{ conditions []condition }

// A condition says why a message is not meant, or "".
type condition func(*Message) string

func (q Match) and(c condition) Match {
	return Match{append(slices.Clip(q.conditions), c)}
}

// why says what keeps m from being meant, or "".
func (q Match) why(m *Message) string {
	var all []string
	for _, c := range q.conditions {
		if s := c(m); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, "; ")
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// Any means every message.
func Any() Match { return Match{} }

// To means messages that went to an address, by their envelope.
func To(address string) Match { return Match{}.To(address) }

// From means messages of a reverse-path or of someone in the field From.
func From(address string) Match { return Match{}.From(address) }

// Subject means messages whose decoded subject contains text.
func Subject(text string) Match { return Match{}.Subject(text) }

// Left means messages that left for elsewhere: what a production server would have
// brought to other servers.
func Left() Match { return Match{}.Left() }

// Where means messages for which fn returns true. what describes them, for when
// there are none: "with two attachments".
func Where(what string, fn func(*Message) bool) Match { return Match{}.Where(what, fn) }

// To adds that a message went to an address, by its envelope.
func (q Match) To(address string) Match {
	return q.and(func(m *Message) string {
		if slices.ContainsFunc(m.To, func(a string) bool { return strings.EqualFold(a, address) }) {
			return ""
		}
		return fmt.Sprintf("went to %s, not %s", strings.Join(m.To, ", "), address)
	})
}

// From adds that address is the reverse-path of a message, or in its field From.
func (q Match) From(address string) Match {
	return q.and(func(m *Message) string {
		if strings.EqualFold(m.From, address) || contains(m.Header("From"), address) {
			return ""
		}
		return fmt.Sprintf("is from %s (%s), not %s", m.From, m.Header("From"), address)
	})
}

// Subject adds that the decoded subject contains text.
func (q Match) Subject(text string) Match { return q.Header("Subject", text) }

// Header adds that a decoded field of this name contains value.
func (q Match) Header(name, value string) Match {
	return q.and(func(m *Message) string {
		all := m.Headers(name)
		if slices.ContainsFunc(all, func(v string) bool { return contains(v, value) }) {
			return ""
		}
		if len(all) == 0 {
			return fmt.Sprintf("has no %s", name)
		}
		return fmt.Sprintf("%s is %q, without %q", name, strings.Join(all, ", "), value)
	})
}

// Text adds that the text of a message, plain or made of its HTML, contains text.
func (q Match) Text(text string) Match {
	return q.and(func(m *Message) string {
		if contains(m.Text(), text) || contains(m.htmlText(), text) {
			return ""
		}
		return fmt.Sprintf("its text is %q, without %q", shorten(m.Text(), 200), text)
	})
}

// In adds that a message was filed in a mailbox: "INBOX", "Junk".
func (q Match) In(mailbox string) Match {
	return q.and(func(m *Message) string {
		if m.Account != "" && m.Mailbox == mailbox {
			return ""
		}
		if m.Account == "" {
			return "left for elsewhere"
		}
		return fmt.Sprintf("is in %s, not %s", m.Mailbox, mailbox)
	})
}

// Left adds that a message left for elsewhere.
func (q Match) Left() Match {
	return q.and(func(m *Message) string {
		if m.Account == "" {
			return ""
		}
		return "was filed in " + m.Mailbox
	})
}

// Where adds that fn returns true for a message. what describes those.
func (q Match) Where(what string, fn func(*Message) bool) Match {
	return q.and(func(m *Message) string {
		if fn(m) {
			return ""
		}
		return "is not " + what
	})
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
