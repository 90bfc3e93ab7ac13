package imap

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

// offer is how one may log in here.
func (c *conn) offer() sasl.Offer {
	o := sasl.Offer{Auth: c.srv.Auth, Insecure: c.srv.InsecureAuth}
	if t, ok := c.net.(*tls.Conn); ok {
		o.Channel = &sasl.Channel{State: t.ConnectionState(), Shown: c.low.Shown(), Unbound: !c.srv.ChannelBinding}
	}
	return o
}

// mayLogin reports whether passwords may be sent now.
func (c *conn) mayLogin() bool {
	return (c.tls || c.srv.InsecureAuth) && accounts.HasPasswords(c.srv.Auth)
}

// lateCapabilities are those after login that depend on nothing.
var lateCapabilities = [...]string{
	"IMAP4rev2",
	"IMAP4rev1",
	"LITERAL+",
	"BINARY",
	"CATENATE",
	"CHILDREN",
	"CONDSTORE",
	"CONTEXT=SEARCH",
	"CONTEXT=SORT",
	"CREATE-SPECIAL-USE",
	"ENABLE",
	"ESEARCH",
	"ESORT",
	"I18NLEVEL=1",
	"ID",
	"IDLE",
	"INPROGRESS",
	"LIST-EXTENDED",
	"LIST-METADATA",
	"LIST-STATUS",
	"METADATA",
	"MOVE",
	"MULTIAPPEND",
	"MULTISEARCH",
	"NAMESPACE",
	"NOTIFY",
	"OBJECTID",
	"PARTIAL",
	"PREVIEW",
	"QRESYNC",
	"QUOTA",
	"QUOTA=RES-MESSAGE",
	"QUOTA=RES-STORAGE",
	"REPLACE",
	"SAVEDATE",
	"SEARCH=FUZZY",
	"SEARCHRES",
	"SORT",
	"SORT=DISPLAY",
	"SPECIAL-USE",
	"STATUS=SIZE",
	"THREAD=ORDEREDSUBJECT",
	"THREAD=REFERENCES",
	"THREAD=REFS",
	"UIDONLY",
	"UIDPLUS",
	"UNAUTHENTICATE",
	"UNSELECT",
	"UTF8=ACCEPT",
	"WITHIN",
}

// sharing and administering are those of servers that have a Roster, and Quotas.
var (
	sharing       = [...]string{"ACL", "RIGHTS=kxte", "LIST-MYRIGHTS"}
	administering = [...]string{"QUOTASET"}
)

// capabilities lists what works in the state of the connection. Before login that
// is only what is of use there, with the small form of LITERAL+ (RFC 7888, 5).
func (c *conn) capabilities() string {
	if c.access == nil {
		caps := []string{"IMAP4rev2", "IMAP4rev1", "SASL-IR", "LITERAL-", "ENABLE", "ID"}
		if c.mayStartTLS() {
			caps = append(caps, "STARTTLS")
		}
		if !c.mayLogin() {
			caps = append(caps, "LOGINDISABLED")
		}
		for _, m := range c.offer().Mechanisms(c.tls) {
			caps = append(caps, "AUTH="+m)
		}
		return strings.Join(caps, " ")
	}
	caps := slices.Clone(lateCapabilities[:])
	if c.srv.Roster != nil {
		caps = append(caps, sharing[:]...)
	}
	if c.srv.Quotas != nil {
		caps = append(caps, administering[:]...)
	}
	switch {
	case c.compressed:
		caps = slices.DeleteFunc(caps, func(s string) bool { return s == "UNAUTHENTICATE" })
	case c.srv.Compress:
		caps = append(caps, "COMPRESS=DEFLATE")
	}
	caps = append(caps, "APPENDLIMIT="+strconv.FormatInt(c.srv.maxAppend(), 10))
	return strings.Join(caps, " ")
}

// capability is CAPABILITY (RFC 9051, 6.1.1).
func (c *conn) capability(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	c.w.linef("* CAPABILITY %s", c.capabilities())
	return nil
}
