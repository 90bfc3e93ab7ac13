package imap

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// A messageURL names a message of this server, or a part of one (RFC 5092).
type messageURL struct {
	user     string // empty if the URL does not say
	mailbox  string // empty if it is the selected one
	validity uint32 // zero if the URL does not say
	uid      store.UID
	section  *imap.FetchItemBodySection
}

// parseURL reads a URL of this server, host. It is absolute, or relative to the
// server or to the selected mailbox. Those of URLAUTH (RFC 4467) are for others.
func parseURL(s, host string) (u messageURL, ok bool) {
	if rest, absolute := cutPrefixFold(s, "imap://"); absolute {
		server, path, found := strings.Cut(rest, "/")
		if !found {
			return u, false
		}
		if user, h, has := strings.Cut(server, "@"); has {
			server = h
			user, _, _ = strings.Cut(user, ";") // ;AUTH= is for who connects
			if u.user, ok = unescape(user); !ok || u.user == "" {
				return u, false
			}
		}
		if name, port, has := strings.Cut(server, ":"); has && port == "143" {
			server = name
		}
		if !strings.EqualFold(server, host) {
			return u, false
		}
		s = "/" + path
	}
	s, ok = strings.CutPrefix(s, "/")
	if _, selected := cutPrefixFold(s, ";uid="); selected {
		s = "/" + s // relative to the selected mailbox
	} else if !ok {
		return u, false
	}
	box, rest, ok := cutFold(s, "/;uid=")
	if !ok {
		return u, false
	}
	if name, v, has := cutFold(box, ";uidvalidity="); has {
		if box, u.validity, ok = name, nz(v), nz(v) > 0; !ok {
			return u, false
		}
	}
	if strings.Contains(box, ";") {
		return u, false
	}
	if u.mailbox, ok = unescape(box); !ok || u.mailbox == "" && u.validity > 0 {
		return u, false
	}
	if strings.EqualFold(u.mailbox, inbox) {
		u.mailbox = inbox
	}
	number, rest, more := strings.Cut(rest, "/;")
	if u.uid = store.UID(nz(number)); u.uid == 0 {
		return u, false
	}
	u.section = &imap.FetchItemBodySection{}
	if !more {
		return u, true
	}
	var partial *imap.SectionPartial
	if p, found := cutPrefixFold(rest, "partial="); found {
		partial, ok = urlPartial(p)
		return u.withPartial(partial), ok
	}
	section, found := cutPrefixFold(rest, "section=")
	if !found {
		return u, false
	}
	if name, p, has := cutFold(section, "/;partial="); has {
		section = name
		if partial, ok = urlPartial(p); !ok {
			return u, false
		}
	}
	if section, ok = unescape(section); !ok {
		return u, false
	}
	p := &parser{line: []byte("[" + section + "]")}
	u.section = p.section()
	return u.withPartial(partial), p.end() == nil
}

func (u messageURL) withPartial(p *imap.SectionPartial) messageURL {
	u.section.Partial = p
	return u
}

// urlPartial reads partial-range: an offset, and perhaps a size after a dot.
func urlPartial(s string) (*imap.SectionPartial, bool) {
	from, size, has := strings.Cut(s, ".")
	p := &imap.SectionPartial{Size: 1<<63 - 1}
	n, err := strconv.ParseUint(from, 10, 63)
	if p.Offset = int64(n); err != nil {
		return nil, false
	}
	if has {
		p.Size = int64(nz(size))
	}
	return p, p.Size > 0
}

// nz reads an nz-number, or returns zero.
func nz(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func unescape(s string) (string, bool) {
	s, err := url.PathUnescape(s)
	return s, err == nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// cutFold is strings.Cut for a separator of ASCII letters in any case.
func cutFold(s, sep string) (before, after string, found bool) {
	for i := 0; i+len(sep) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sep)], sep) {
			return s[:i], s[i+len(sep):], true
		}
	}
	return s, "", false
}
