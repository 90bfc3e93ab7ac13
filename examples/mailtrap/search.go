package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A query says which entries are meant, in the language of Mailpit: words and "quoted
// phrases" that must occur, and from: to: cc: bcc: reply-to: addressed: subject:
// message-id: body: tag: is:read is:unread is:tagged has:attachment has:inline
// before: after: larger: smaller:, each with "!" or "-" before it for the opposite.
type query []func(*entry) bool

func (q query) match(e *entry) bool {
	for _, c := range q {
		if !c(e) {
			return false
		}
	}
	return true
}

func parseQuery(s string) (q query, err error) {
	for _, w := range words(s) {
		not := false
		if rest, ok := strings.CutPrefix(w, "!"); ok {
			not, w = true, rest
		} else if rest, ok := strings.CutPrefix(w, "-"); ok && rest != "" {
			not, w = true, rest
		}
		c, err := parseTerm(w)
		if err != nil {
			return nil, err
		}
		if not {
			q = append(q, func(e *entry) bool { return !c(e) })
		} else {
			q = append(q, c)
		}
	}
	return q, nil
}

// words splits at spaces that are not within quotes, and takes the quotes away.
func words(s string) (all []string) {
	var b strings.Builder
	quoted, some := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, some = !quoted, true
		case r == ' ' && !quoted:
			if some {
				all = append(all, b.String())
			}
			b.Reset()
			some = false
		default:
			b.WriteRune(r)
			some = true
		}
	}
	if some {
		all = append(all, b.String())
	}
	return all
}

func has(s, part string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(part)) }

func list(all []address) string {
	var b strings.Builder
	for _, a := range all {
		fmt.Fprintf(&b, "%s <%s> ", a.Name, a.Address)
	}
	return b.String()
}

func parseTerm(w string) (func(*entry) bool, error) {
	key, value, ok := strings.Cut(w, ":")
	value = strings.TrimSpace(value)
	if ok && value != "" {
		switch key = strings.ToLower(key); key {
		case "from":
			return func(e *entry) bool { return has(list([]address{*from(e)}), value) }, nil
		case "to":
			return func(e *entry) bool { return has(list(addresses(e.Message, "To")), value) }, nil
		case "cc":
			return func(e *entry) bool { return has(list(addresses(e.Message, "Cc")), value) }, nil
		case "bcc":
			return func(e *entry) bool { return has(list(bcc(e)), value) }, nil
		case "reply-to":
			return func(e *entry) bool { return has(list(addresses(e.Message, "Reply-To")), value) }, nil
		case "addressed":
			return func(e *entry) bool {
				return has(list(slices.Concat([]address{*from(e)}, addresses(e.Message, "To"), addresses(e.Message, "Cc"), bcc(e), addresses(e.Message, "Reply-To"))), value)
			}, nil
		case "subject":
			return func(e *entry) bool { return has(e.Header("Subject"), value) }, nil
		case "message-id":
			return func(e *entry) bool { return has(messageID(e), value) }, nil
		case "body":
			return func(e *entry) bool { return has(e.Text(), value) || has(e.HTML(), value) }, nil
		case "tag":
			return func(e *entry) bool {
				return slices.ContainsFunc(e.tags, func(t string) bool { return strings.EqualFold(t, value) })
			}, nil
		case "inbox":
			return func(e *entry) bool { return strings.EqualFold(e.inbox, value) }, nil
		case "is":
			switch strings.ToLower(value) {
			case "read":
				return func(e *entry) bool { return e.read }, nil
			case "unread":
				return func(e *entry) bool { return !e.read }, nil
			case "tagged":
				return func(e *entry) bool { return len(e.tags) > 0 }, nil
			}
			return nil, fmt.Errorf("is:%s is not known", value)
		case "has":
			switch strings.ToLower(value) {
			case "attachment", "attachments":
				return func(e *entry) bool { _, a := files(e); return len(a) > 0 }, nil
			case "inline", "inlines":
				return func(e *entry) bool { i, _ := files(e); return len(i) > 0 }, nil
			}
			return nil, fmt.Errorf("has:%s is not known", value)
		case "before", "after":
			at, err := parseTime(value)
			if err != nil {
				return nil, err
			}
			return func(e *entry) bool { return e.Received.Before(at) == (key == "before") }, nil
		case "larger", "smaller":
			n, err := parseSize(value)
			if err != nil {
				return nil, err
			}
			return func(e *entry) bool {
				if key == "larger" {
					return len(e.Raw) > n
				}
				return len(e.Raw) < n
			}, nil
		}
	}
	return func(e *entry) bool {
		return has(e.Header("Subject"), w) || has(e.Text(), w) || has(e.HTML(), w) || has(list(slices.Concat([]address{*from(e)}, addresses(e.Message, "To"), addresses(e.Message, "Cc"), bcc(e))), w)
	}, nil
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02", "2006/01/02", "02 Jan 2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date", s)
}

func parseSize(s string) (int, error) {
	s = strings.ToUpper(strings.TrimSuffix(strings.ToUpper(s), "B"))
	unit := 1
	if rest, ok := strings.CutSuffix(s, "K"); ok {
		s, unit = rest, 1<<10
	} else if rest, ok := strings.CutSuffix(s, "M"); ok {
		s, unit = rest, 1<<20
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no size", s)
	}
	return n * unit, nil
}
