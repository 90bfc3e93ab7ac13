package imap

import "github.com/mailkeel/mailkeel/internal/message"

// envelope writes ENVELOPE (RFC 9051, 7.5.2). Texts are as in the header, unfolded:
// clients decode them, and know better than we whether they can show what is in
// them.
func (w *writer) envelope(v *message.Envelope) {
	sender, replyTo := v.Sender, v.ReplyTo
	if len(sender) == 0 {
		sender = v.From
	}
	if len(replyTo) == 0 {
		replyTo = v.From
	}
	w.byte('(')
	text := func(s string, which message.Texts) {
		if v.Empty&which != 0 {
			w.string("") // NIL is for those that are not there
		} else {
			w.nstring(s)
		}
	}
	text(v.Date, message.DateText)
	w.sp()
	text(v.Subject, message.SubjectText)
	for _, list := range [...][]message.Address{v.From, sender, replyTo, v.To, v.Cc, v.Bcc} {
		w.sp()
		w.addresses(list)
	}
	w.sp()
	text(v.InReplyTo, message.InReplyToText)
	w.sp()
	text(v.MessageID, message.MessageIDText)
	w.byte(')')
}

func (w *writer) addresses(list []message.Address) {
	if len(list) == 0 {
		w.raw("NIL")
		return
	}
	w.byte('(')
	for _, a := range list {
		w.byte('(')
		w.nstring(a.Name)
		w.raw(" NIL ") // the route, which nobody has any more
		w.nstring(a.Mailbox)
		w.sp()
		w.nstring(a.Host)
		w.byte(')')
	}
	w.byte(')')
}
