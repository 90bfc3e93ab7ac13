package main

import (
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/mailtest"
)

// The shapes of Mailpit's API.

type address struct{ Name, Address string }

type summaryShape struct {
	ID, MessageID     string
	Read              bool
	From              *address
	To, Cc, Bcc       []address
	ReplyTo           []address
	Subject           string
	Created           time.Time
	Username          string
	Tags              []string
	Size, Attachments int
	Snippet           string
	Inbox             string // not in Mailpit
}

type partShape struct {
	PartID, FileName, ContentType, ContentID string
	Size                                     int
}

type listUnsubscribe struct {
	Header     string
	Links      []string
	Errors     string
	HeaderPost string
}

type messageShape struct {
	ID, MessageID       string
	From                *address
	To, Cc, Bcc         []address
	ReplyTo             []address
	ReturnPath, Subject string
	ListUnsubscribe     listUnsubscribe
	Date                time.Time
	Tags                []string
	Username            string
	Text, HTML          string
	Size                int
	Inline, Attachments []partShape
	Inbox               string // not in Mailpit
}

type listShape struct {
	Total         int            `json:"total"`
	Unread        int            `json:"unread"`
	Count         int            `json:"count"`
	MessagesCount int            `json:"messages_count"`
	Start         int            `json:"start"`
	Tags          []string       `json:"tags"`
	Messages      []summaryShape `json:"messages"`
}

// addresses reads a field with addresses; what makes no sense is told as it stands.
func addresses(m *mailtest.Message, field string) []address {
	out := []address{}
	for _, v := range m.Headers(field) {
		list, err := mail.ParseAddressList(v)
		if err != nil {
			if v = strings.TrimSpace(v); v != "" {
				out = append(out, address{Address: v})
			}
			continue
		}
		for _, a := range list {
			out = append(out, address{a.Name, a.Address})
		}
	}
	return out
}

func from(e *entry) *address {
	if all := addresses(e.Message, "From"); len(all) > 0 {
		return &all[0]
	}
	return &address{Address: e.env.from}
}

// bcc are the recipients that no field names, beside those that Bcc does.
func bcc(e *entry) []address {
	out := addresses(e.Message, "Bcc")
	known := slices.Concat(out, addresses(e.Message, "To"), addresses(e.Message, "Cc"))
	for _, to := range e.env.to {
		if !slices.ContainsFunc(known, func(a address) bool { return strings.EqualFold(a.Address, to) }) {
			out = append(out, address{Address: to})
		}
	}
	return out
}

func messageID(e *entry) string { return strings.Trim(strings.TrimSpace(e.Header("Message-ID")), "<>") }

// body are the files of a message: those within the text, and the others.
func files(e *entry) (inline, attached []partShape) {
	inline, attached = []partShape{}, []partShape{}
	for i, a := range e.Attachments() {
		p := partShape{partID(i), a.Name, a.Type, a.ContentID, len(a.Data)}
		if a.Inline {
			inline = append(inline, p)
		} else {
			attached = append(attached, p)
		}
	}
	return inline, attached
}

func summary(e *entry) summaryShape {
	_, attached := files(e)
	text := strings.Join(strings.Fields(e.Text()), " ")
	if r := []rune(text); len(r) > 250 {
		text = string(r[:250]) + "..."
	}
	return summaryShape{
		ID: e.id, MessageID: messageID(e), Read: e.read, From: from(e),
		To: addresses(e.Message, "To"), Cc: addresses(e.Message, "Cc"), Bcc: bcc(e), ReplyTo: addresses(e.Message, "Reply-To"),
		Subject: e.Header("Subject"), Created: e.Received.UTC(), Username: e.env.login, Tags: tags(e), Size: len(e.Raw), Attachments: len(attached),
		Snippet: text, Inbox: e.inbox,
	}
}

func tags(e *entry) []string { return append([]string{}, e.tags...) }

func whole(e *entry) messageShape {
	inline, attached := files(e)
	date, err := mail.ParseDate(e.Header("Date"))
	if err != nil {
		date = e.Received
	}
	return messageShape{
		ID: e.id, MessageID: messageID(e), From: from(e),
		To: addresses(e.Message, "To"), Cc: addresses(e.Message, "Cc"), Bcc: bcc(e), ReplyTo: addresses(e.Message, "Reply-To"),
		ReturnPath: e.env.from, Subject: e.Header("Subject"), ListUnsubscribe: unsubscribe(e), Date: date, Tags: tags(e), Username: e.env.login,
		Text: e.Text(), HTML: e.HTML(), Size: len(e.Raw), Inline: inline, Attachments: attached, Inbox: e.inbox,
	}
}

func unsubscribe(e *entry) listUnsubscribe {
	u := listUnsubscribe{Header: e.Header("List-Unsubscribe"), Links: []string{}, HeaderPost: e.Header("List-Unsubscribe-Post")}
	for rest := u.Header; ; {
		_, after, ok := strings.Cut(rest, "<")
		link, after, closed := strings.Cut(after, ">")
		if !ok || !closed {
			if u.Header != "" && len(u.Links) == 0 {
				u.Errors = "there is no <link>"
			}
			return u
		}
		u.Links = append(u.Links, strings.TrimSpace(link))
		rest = after
	}
}
