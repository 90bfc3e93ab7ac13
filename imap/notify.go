package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// notifyEvents are the events of RFC 5465, 5, as a set.
type notifyEvents uint8

const (
	messageNew notifyEvents = 1 << iota
	messageExpunge
	flagChange
	annotationChange
	mailboxName
	subscriptionChange
	mailboxMetadataChange
	serverMetadataChange

	messageEvents = messageNew | messageExpunge | flagChange | annotationChange
)

// notifyNames are the names of events, in the order of their bits.
var notifyNames = [...]string{
	"MessageNew", "MessageExpunge", "FlagChange", "AnnotationChange",
	"MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange",
}

// notifySupported are those that happen here; there are no annotations.
const notifySupported = messageNew | messageExpunge | flagChange |
	mailboxName | subscriptionChange | mailboxMetadataChange | serverMetadataChange

// notifySelected says what is told of the selected mailbox without being asked.
type notifySelected uint8

const (
	selectedNever   notifySelected = iota // when it is asked for
	selectedDelayed                       // but EXPUNGE only where a command allows it
	selectedAtOnce
)

// A notifyGroup is what is wanted of some mailboxes.
type notifyGroup struct {
	filter string // "PERSONAL", "SUBSCRIBED", "SUBTREE" or "MAILBOXES"
	names  []string
	events notifyEvents
}

// A notify is what a client asked for with NOTIFY SET (RFC 5465).
type notify struct {
	selected notifySelected
	flags    bool        // FlagChange in the selected mailbox
	items    *fetchItems // of new messages there; nil if none
	groups   []notifyGroup
	events   notifyEvents // of all groups

	feed *feed    // nil if there are no groups
	told *listing // what the client knows, if there is a feed
}

// notifyCommand is NOTIFY (RFC 5465, 3). Whatever was set before is forgotten, but
// only if the command succeeds.
func (c *conn) notifyCommand(cmd *command) error {
	cmd.sp()
	switch cmd.keyword() {
	case "NONE":
		if err := cmd.end(); err != nil {
			return err
		}
		c.unnotify()
		c.note = &notify{}
		return nil
	case "SET":
	default:
		cmd.fail("expected SET or NONE")
	}
	cmd.sp()
	status := cmd.word("STATUS")
	if status {
		cmd.sp()
	}
	n, unknown := cmd.notifySet()
	if err := cmd.end(); err != nil {
		return err
	}
	if unknown || (n.events|n.selectedEvents())&^notifySupported != 0 {
		// RFC 5465, 5: what is supported instead.
		return no(badEvent, "Some events do not happen here")
	}
	if len(n.groups) > 0 {
		f, l, err := c.srv.state.feeds.get(c.ctx, c, n.events&(mailboxMetadataChange|serverMetadataChange) != 0)
		if err != nil {
			return err
		}
		n.feed, n.told = f, l
	}
	c.unnotify()
	c.note = n
	if n.feed == nil {
		return nil
	}
	n.feed.join(c)
	if status {
		c.tellStatus()
	}
	return nil
}

// badEvent is the response code for events that are not supported.
var badEvent = func() imap.ResponseCode {
	var names []string
	for i, name := range notifyNames {
		if notifySupported&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return imap.ResponseCode("BADEVENT (" + strings.Join(names, " ") + ")")
}()

// notifySet reads the event groups of NOTIFY SET. unknown means that an event has a
// name of no RFC.
func (p *parser) notifySet() (n *notify, unknown bool) {
	n = &notify{}
	seen := false // a group for the selected mailbox
	for p.ok() {
		g := notifyGroup{}
		p.want('(')
		g.filter = p.keyword()
		switch g.filter {
		case "SELECTED", "SELECTED-DELAYED":
			if seen {
				p.fail("the selected mailbox occurs twice")
			}
			seen = true
		case "INBOXES":
			// Scripts and rules may file anywhere, and then the two are the
			// same (RFC 5465, 6.3).
			g.filter = "PERSONAL"
		case "PERSONAL", "SUBSCRIBED":
		case "SUBTREE", "MAILBOXES":
			p.sp()
			if p.peek() == '(' {
				p.list(func() { g.names = append(g.names, p.mailbox()) })
			} else {
				g.names = append(g.names, p.mailbox())
			}
			if len(g.names) == 0 {
				p.fail("expected a mailbox")
			}
		default:
			p.fail("unknown mailbox filter")
		}
		p.sp()
		selected := strings.HasPrefix(g.filter, "SELECTED")
		if !p.word("NONE") {
			var items *fetchItems
			var more bool
			g.events, items, more = p.notifyEvents(selected)
			unknown = unknown || more
			if selected {
				if n.items = items; g.events&^messageEvents != 0 {
					p.fail("only events of messages happen in the selected mailbox")
				}
			}
		}
		p.want(')')
		switch {
		case !selected:
			n.groups = append(n.groups, g)
			n.events |= g.events
		case g.events == 0:
		case g.filter == "SELECTED":
			n.selected = selectedAtOnce
		default:
			n.selected = selectedDelayed
		}
		n.flags = n.flags || selected && g.events&flagChange != 0
		if selected && g.events&annotationChange != 0 {
			unknown = true
		}
		if len(trimSpace(p.line)) == 0 {
			break
		}
		p.sp()
	}
	return n, unknown
}

// notifyEvents reads a list of events.
func (p *parser) notifyEvents(selected bool) (evs notifyEvents, items *fetchItems, unknown bool) {
	p.want('(')
	for first := true; p.ok() && !p.take(')'); first = false {
		if !first {
			p.sp()
		}
		if selected && evs&messageNew != 0 && items == nil && p.peek() == '(' {
			items = p.fetchItems()
			continue
		}
		name := p.atom()
		i := slices.IndexFunc(notifyNames[:], func(n string) bool { return strings.EqualFold(n, name) })
		if i < 0 {
			unknown = true
		} else {
			evs |= 1 << i
		}
	}
	if evs == 0 && !unknown {
		p.fail("expected events")
	}
	// RFC 5465, 5: they go together.
	if both := messageNew | messageExpunge; evs&messageEvents != 0 && evs&both != both {
		p.fail("MessageNew and MessageExpunge come together, and with the other events of messages")
	}
	return evs, items, unknown
}

// selectedEvents is what is wanted of the selected mailbox.
func (n *notify) selectedEvents() notifyEvents {
	switch {
	case n.selected == selectedNever:
		return 0
	case n.flags:
		return messageNew | messageExpunge | flagChange
	}
	return messageNew | messageExpunge
}

// unnotify ends what NOTIFY SET began.
func (c *conn) unnotify() {
	if n := c.note; n != nil && n.feed != nil {
		n.feed.leave(c)
		c.srv.state.feeds.put(n.feed)
	}
	c.note = nil
	if c.sel != nil {
		c.unwatch()
	}
}

// wants is which events of a mailbox the client wants, by its name for the client.
func (n *notify) wants(f *store.Folder, name string, own bool) (evs notifyEvents) {
	for i := range n.groups {
		g := &n.groups[i]
		match := false
		switch g.filter {
		case "PERSONAL":
			match = own
		case "SUBSCRIBED":
			match = f.Subscribed
		case "MAILBOXES":
			match = slices.Contains(g.names, name)
		case "SUBTREE":
			match = slices.ContainsFunc(g.names, func(top string) bool {
				rest, ok := strings.CutPrefix(name, top)
				return ok && (rest == "" || top == "" || strings.HasPrefix(rest, delimiter))
			})
		}
		if match {
			evs |= g.events
		}
	}
	return evs
}
