package imap

import (
	"strings"

	"github.com/mailkeel/mailkeel/store"
)

const (
	inbox     = "INBOX"
	delimiter = store.Separator
)

// systemFlags are those of RFC 9051, 2.3.2, in the order in which they are told.
var systemFlags = [...]string{store.FlagAnswered, store.FlagFlagged, store.FlagDeleted, store.FlagSeen, store.FlagDraft}

// usualKeywords are told as available everywhere, so that clients use them.
var usualKeywords = [...]string{"$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Important"}

// specialUses are the roles of RFC 6154 and RFC 8457 with their attributes.
var specialUses = [...]struct{ role, attr string }{
	{"all", `\All`}, {"archive", `\Archive`}, {"drafts", `\Drafts`}, {"flagged", `\Flagged`},
	{"junk", `\Junk`}, {"sent", `\Sent`}, {"trash", `\Trash`}, {"important", `\Important`},
}

// useAttr is the attribute of a role, or empty.
func useAttr(role string) string {
	for _, u := range specialUses {
		if u.role == role {
			return u.attr
		}
	}
	return ""
}

// useRole is the role of an attribute, or empty.
func useRole(attr string) string {
	for _, u := range specialUses {
		if strings.EqualFold(u.attr, attr) {
			return u.role
		}
	}
	return ""
}

// parentName is the name above name, empty at the top.
func parentName(name string) string {
	return name[:max(0, strings.LastIndex(name, delimiter))]
}
