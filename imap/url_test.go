package imap

import (
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		in      string
		user    string
		mailbox string
		valid   uint32
		uid     uint32
		section string // as FETCH has it
	}{
		{"/Drafts/;UID=20", "", "Drafts", 0, 20, "[]"},
		{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", "", "Drafts", 385759045, 20, "[HEADER]"},
		{"/a%2fb/c%20d/;uid=1/;Section=1.2.MIME/;Partial=0.1024", "", "a/b/c d", 0, 1, "[1.2.MIME]<0>"},
		{"/inBox/;UID=4294967295/;PARTIAL=7", "", "INBOX", 0, 4294967295, "[]<7>"},
		{"/%C3%BC%3B/;UID=1/;SECTION=HEADER.FIELDS%20(DATE%20%22SUBJECT%22)", "", "\u00fc;", 0, 1, "[HEADER.FIELDS (DATE SUBJECT)]"},
		{";UID=3", "", "", 0, 3, "[]"},
		{"/;UID=3/;SECTION=TEXT", "", "", 0, 3, "[TEXT]"},
		{"imap://mail.example.org/INBOX/;UID=1", "", "INBOX", 0, 1, "[]"},
		{"IMAP://ann;AUTH=*@MAIL.example.org:143/x/;UID=1", "ann", "x", 0, 1, "[]"},
		{"imap://j%40x@mail.example.org/x/;UID=1", "j@x", "x", 0, 1, "[]"},
	} {
		u, ok := parseURL(tt.in, "mail.example.org")
		if !ok {
			t.Errorf("%s is refused", tt.in)
			continue
		}
		var w writer
		w.W = new(strings.Builder)
		w.sectionName(u.section, "BODY")
		if got := strings.TrimPrefix(string(w.Buf), "BODY"); u.user != tt.user || u.mailbox != tt.mailbox || u.validity != tt.valid || uint32(u.uid) != tt.uid || got != tt.section {
			t.Errorf("%s is %+v, %s", tt.in, u, got)
		}
	}
	for _, bad := range []string{
		"", "x", "/", "/x", "/x/;UID=", "/x/;UID=0", "/x/;UID=+1", "/x/;UID=4294967296", "/x/;UID=1x", "/x;UID=1", "x/;UID=1",
		"/x;UIDVALIDITY=0/;UID=1", "/x;UIDVALIDITY=/;UID=1", ";UIDVALIDITY=1/;UID=1", "/x;y/;UID=1", "/%zz/;UID=1", "/x/;UID=1/;SECTION=",
		"/x/;UID=1/;SECTION=MIME", "/x/;UID=1/;SECTION=%", "/x/;UID=1/;SECTION=TEXT]x[", "/x/;UID=1/;SECTION=TEXT/;PARTIAL=", "/x/;UID=1/;PARTIAL=-1",
		"/x/;UID=1/;PARTIAL=0.0", "/x/;UID=1/;SECTION=HEADER.FIELDS%20({1}", "/x/;UID=1;URLAUTH=anonymous", "/x/;UID=1/;x=y",
		"imap://other.example.org/x/;UID=1", "imap://mail.example.org", "imap://mail.example.org:1143/x/;UID=1", "imap://@mail.example.org/x/;UID=1",
		"imaps://mail.example.org/x/;UID=1", "http://mail.example.org/x/;UID=1", "//mail.example.org/x;UID=1",
	} {
		if u, ok := parseURL(bad, "mail.example.org"); ok && !(bad == "/x/;UID=1/;SECTION=" && u.section.Specifier == imap.PartSpecifierNone) {
			t.Errorf("%q is taken for %+v", bad, u)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"/Drafts;UIDVALIDITY=1/;UID=20/;section=1.MIME/;partial=1.2", "imap://a@b/%C3%BC/;UID=1", ";UID=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, ok := parseURL(s, "b"); ok && (u.uid == 0 || u.section == nil) {
			t.Errorf("%q is %+v", s, u)
		}
		for _, c := range []byte(plainURL(s)) {
			if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
				t.Fatalf("%q is told as %q", s, plainURL(s))
			}
		}
	})
}
