package queue

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
)

// words is the part of a report for people: what happened to which message, why,
// and what they can do.
func (r *report) words() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("This is the mail server at %s.", clean(r.host))
	line("")
	switch r.kind {
	case bounceReport:
		line("Your message could not be delivered to the address below, and it will")
		line("not be tried again.")
	case delayReport:
		line("Your message could not be delivered to the address below yet. You need")
		line("not do anything: it will be tried again until %s.", r.until())
		line("If it still fails then, you will be told.")
	case successReport:
		line("Your message arrived. You asked to be told.")
	}
	line("")
	if s := clean(decode(r.field("Subject"))); s != "" {
		line("    Subject: %s", s)
	}
	if s := clean(r.field("Date")); s != "" {
		line("    Written: %s", s)
	}
	for _, f := range r.fates {
		line("")
		line("<%s>", clean(address(f)))
		for _, s := range r.about(f) {
			line("    %s", clean(s))
		}
	}
	line("")
	switch {
	case r.orig.gone:
	case r.orig.whole:
		line("Your message is attached.")
	case r.kind == bounceReport:
		line("The header of your message is attached, to show which one it was.")
	}
	return b.String()
}

// decode returns encoded words (RFC 2047) as UTF-8, or all as it is if one has a
// charset that the standard library does not know.
func decode(s string) string {
	var d mime.WordDecoder
	if t, err := d.DecodeHeader(s); err == nil {
		return t
	}
	return s
}

// until is when the first recipient is given up.
func (r *report) until() string {
	var first time.Time
	for _, f := range r.fates {
		first = earlier(first, f.it.Expires)
	}
	if first.IsZero() {
		return "it is delivered"
	}
	return first.Format(time.RFC1123Z)
}

// about says what there is to know about one recipient.
func (r *report) about(f fate) (lines []string) {
	if r.kind == successReport {
		switch f.result.Action {
		case mailkeel.Relayed:
			return []string{"It was passed on to a server that sends no such reports."}
		case mailkeel.Expanded:
			return []string{"It was passed on to all members of this address."}
		}
		return []string{"It was delivered."}
	}
	e := failure(f)
	if e != nil {
		_, domain := cut(address(f))
		lines = explain(e, domain)
	} else {
		lines = []string{"There was a problem on the way."}
	}
	said := diagnostic(f)
	switch {
	case said == "":
	case f.result.Reply != "" && isHost(f.result.Hop):
		lines = append(lines, "The server "+f.result.Hop+" said:", said)
	default:
		lines = append(lines, "In the words of mail servers:", said)
	}
	return lines
}

func cut(a string) (local, domain string) {
	at := strings.LastIndexByte(a, '@')
	return a[:max(at, 0)], a[at+1:]
}

// failure is the error of a recipient, or nil if nobody classified it.
func failure(f fate) *mailkeel.Error {
	var e *mailkeel.Error
	errors.As(f.result.Err, &e)
	return e
}

// diagnostic is what may be told: the peer's own words, or an Error without what
// is only for the log. For what lasted too long, it is the last failure's.
func diagnostic(f fate) string {
	if f.result.Reply != "" {
		return f.result.Reply
	}
	e := failure(f)
	if e == nil {
		if f.result.Err != nil {
			return "451 4.3.0 temporary failure"
		}
		return ""
	}
	var last *mailkeel.Error
	if e.Enhanced == timeExpired && errors.As(e.Err, &last) {
		return e.Reply() + "; at last: " + last.Reply()
	}
	return e.Reply()
}

var timeExpired = [3]int{5, 4, 7}

// explain says in plain words what an enhanced status code means (RFC 3463), and
// what can be done.
func explain(e *mailkeel.Error, domain string) []string {
	if e.Enhanced == timeExpired {
		lines := []string{"It was tried for a long time, without success."}
		var last *mailkeel.Error
		if errors.As(e.Err, &last) {
			lines = append(lines, explain(last, domain)...)
		}
		return lines
	}
	lasts := e.Code/100 == 5
	switch e.Enhanced[1]*100 + e.Enhanced[2] {
	case 101, 103, 106:
		return []string{"There is no such address. Look for a typing mistake, or ask the person", "for the address in another way."}
	case 102:
		return []string{"There is no such domain: look for a typing mistake behind the @, in", domain + "."}
	case 110:
		return []string{"The domain " + domain + " says that it takes no mail at all."}
	case 107, 108:
		return []string{"The recipient's server does not take mail from your address."}
	case 201, 200:
		return []string{"The mailbox does not take mail at present."}
	case 202:
		return []string{"The mailbox is full. Only its owner can change that: tell them in", "another way, or try again later."}
	case 203, 304:
		return []string{"The message is too large for the recipient's server. Send less at a", "time, or send a link to a file instead of the file."}
	case 401, 402:
		return []string{"The recipient's server cannot be reached."}
	case 403, 404:
		return []string{"The recipient's server cannot be found in the DNS."}
	case 406:
		return []string{"The message goes round in circles: an address on the way points back", "to where it came from. Tell the administrators."}
	case 603:
		return []string{"The recipient's server cannot take a message with such content."}
	case 607, 608, 609, 610:
		return []string{"The recipient's server does not know addresses with letters like these."}
	case 710, 730, 705:
		return []string{"The message may travel only encrypted, and that was not possible to", "the recipient's server."}
	}
	switch {
	case e.Enhanced[1] == 7 && lasts:
		return []string{"The recipient's server does not want the message. It may have been", "taken for junk, or the recipient takes mail from few people only."}
	case e.Enhanced[1] == 7, e.Enhanced[1] == 2:
		return []string{"The recipient's server does not take the message at present."}
	case e.Enhanced[1] == 3, e.Enhanced[1] == 4:
		return []string{"The recipient's server has a problem."}
	case lasts:
		return []string{"The recipient's server refused the message."}
	}
	return []string{"The recipient's server does not take the message at present."}
}
