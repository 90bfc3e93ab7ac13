package mailauth_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/mailkeel/mailkeel/internal/mailauth"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// FuzzSPF has any record, and any sender.
func FuzzSPF(f *testing.F) {
	for _, r := range []string{"v=spf1", "v=spf1 -all", "V=SPF1 +a/24//64 ?mx:%{d} ~ptr:%{h2r-} ip4:192.0.2.0/24 ip6:2001:db8::/32 exists:%{ir}.%{v}._spf.%{d2} redirect=%{o}",
		"v=spf1 include:example.com", "v=spf1 a:foo:bar/baz.example.com exp=%{L/}.example.com x=%%%_%-", "v=spf1 a:%{p}.example.com", "v=spf1 redirect=a.example redirect=b.example",
		"v=spf1 exists:%{s99999999999999999999}.example.com", "v=spf1 a:\x00.example.com", "v=spf1 ip4:192.0.2.1/33 -all", "v=spf1 %{", "v=spf1 mx:" + strings.Repeat("a.", 200) + "com", "v=spf1 " + strings.Repeat("a ", 50) + "-all"} {
		f.Add(r, "ann", "mail.example.com")
	}
	f.Add("v=spf1 exists:%{l}.%{o}.%{h}", `a@b/c%{d}`, "[192.0.2.1]")
	f.Fuzz(func(t *testing.T, record, local, helo string) {
		d := &testdns.Table{
			TXT: map[string][]string{"example.com": {record}},
			MX:  map[string][]string{"example.com": {"mail.example.com"}},
			IP:  map[string][]string{"mail.example.com": {"192.0.2.9"}, "example.com": {"2001:db8::9"}},
			PTR: map[string][]string{"192.0.2.1": {"mail.example.com."}},
		}
		for _, ip := range []string{"192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"} {
			d.Forget()
			got := mailauth.SPFMailFrom(t.Context(), d, netip.MustParseAddr(ip), helo, local+"@example.com")
			asked := d.Asked()
			if got.Domain != "example.com" || len(asked) > 50 || got.Result == mailauth.TempError {
				t.Fatalf("%q: %+v after %q", record, got, asked)
			}
			for _, q := range asked {
				if _, name, _ := strings.Cut(q, " "); len(name) > 253 || strings.ContainsAny(name, "\r\n\x00\x01\x02\x03") {
					t.Fatalf("%q: asked for %q", record, name)
				}
			}
			switch got.Result {
			case mailauth.Pass, mailauth.Fail, mailauth.SoftFail, mailauth.Neutral, mailauth.None, mailauth.PermError:
			default:
				t.Fatalf("%q: %q", record, got.Result)
			}
		}
	})
}

// FuzzDMARC has any records, and any domain.
func FuzzDMARC(f *testing.F) {
	for _, r := range []string{"v=DMARC1; p=none", "v=DMARC1;p=reject;sp=quarantine;adkim=s;aspf=s;pct=50;rua=mailto:a@b.example", "v=DMARC1; p=what; rua=mailto:x@y", "v=DMARC1", "v=DMARC2; p=none", "v=DMARC1; p",
		"v = DMARC1 ; p = Reject ; pct = 101", "v=DMARC1; p=none; p=reject", " v=DMARC1; p=none", "v=DMARC1; p=reject; pct=-1; adkim=x; fo=9"} {
		f.Add(r, "", "sub.example.com")
		f.Add(r, r, "example.co.uk")
	}
	f.Add("v=DMARC1; p=none", "", "com")
	f.Add("v=DMARC1; p=none", "", "[192.0.2.1]")
	f.Fuzz(func(t *testing.T, one, two, domain string) {
		d := &testdns.Table{TXT: map[string][]string{"_dmarc." + strings.ToLower(strings.TrimSuffix(domain, ".")): {one}, "_dmarc." + mailauth.Organization(domain): {one, two}}}
		p, err := mailauth.FindPolicy(t.Context(), d, domain)
		if n := len(d.Asked()); n > 2 {
			t.Fatalf("%d questions", n)
		}
		if err != nil {
			return
		}
		if p.Percent < 0 || p.Percent > 100 || p.Wish != "none" && p.Wish != "quarantine" && p.Wish != "reject" {
			t.Fatalf("%q: %+v", one, p)
		}
		for n := range 100 {
			if w := p.Sampled(n); w != p.Wish && (n < p.Percent || w == "reject") {
				t.Fatalf("%+v of %d is %q", p, n, w)
			}
		}
	})
}

// FuzzDKIM has any signature, any key record and any message.
func FuzzDKIM(f *testing.F) {
	good := sign(f, mail, "ed25519", nil)
	head, rest, _ := strings.Cut(good, "\r\nFrom:")
	f.Add(head, "From:"+rest, record(keys()["ed25519"], ""))
	f.Add(strings.Replace(head, "v=1", "v=1; l=1; x=9; i=@a.example.com", 1), mail, record(keys()["rsa1024"], "t=y:s; s=*; h=sha1:sha256; "))
	for _, key := range []string{"rsa1024", "ed25519-test", "ed25519-strict"} {
		other := sign(f, mail, key, func(o *dkim.SignOptions) { o.BodyCanonicalization, o.HeaderCanonicalization = "simple", "simple" })
		head, rest, _ := strings.Cut(strings.ReplaceAll(other, "s="+key, "s=ed25519"), "\r\nFrom:")
		f.Add(head, "From:"+rest, record(keys()["rsa1024"], ""))
		f.Add(head, "From:"+rest+"x", record(keys()["ed25519"], "t=y:s; "))
	}
	for _, bad := range []string{"v=2", "a=rsa-sha1", "a=x-sha256", "c=x", "q=x", "d=[192.0.2.1]", "d=a b", "s=\x01", "i=a@b.example", "i=@a.example.com", "t=x", "x=1; t=2", "x=1", "l=1", "bh=!", "b=!", "h=to"} {
		tag, _, _ := strings.Cut(bad, "=")
		before, after, ok := strings.Cut(head, " "+tag+"=")
		_, after, _ = strings.Cut(after, ";")
		if !ok {
			before, after = head+"; ", ""
		}
		f.Add(before+" "+bad+";"+after, "From:"+rest, record(keys()["ed25519"], ""))
	}
	for _, bad := range []string{"v=DKIM2; p=AA==", "p=AA==; p=", "k=rsa; p=AA==", "k=ed25519; p=AA==", "k=x; p=AA==", "p=!", "p=", "h=sha1; p=", "s=x; p=", "x", "k=rsa; p=" + strings.TrimPrefix(record(keys()["ed25519"], ""), "v=DKIM1; k=ed25519; p=")} {
		f.Add(head, "From:"+rest, bad)
	}
	f.Add("dkim-signature : v=1;;=;a=b", "\r\n", "p=")
	f.Add("DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=ed25519; h=from:from:dkim-signature; b=AAAA; bh=AAAA; b", "From: x\nfoo\n", "k=rsa; p=AAAA")
	f.Fuzz(func(t *testing.T, signature, msg, key string) {
		d := &testdns.Table{TXT: map[string][]string{"ed25519._domainkey.example.com": {key}}}
		text := strings.TrimRight(signature, "\r\n") + "\r\n" + msg
		all, err := mailauth.VerifyDKIM(t.Context(), d, strings.NewReader(text), start)
		if err != nil {
			t.Skip() // a large header
		}
		if len(all) > mailauth.MaxSignatures || len(d.Asked()) > len(all) {
			t.Fatalf("%d signatures, %d questions", len(all), len(d.Asked()))
		}
		for _, s := range all {
			if s.Result == mailauth.Pass && s.Domain != "example.com" {
				t.Fatalf("%+v", s)
			}
			if strings.ContainsFunc(s.Domain+s.Selector, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Fatalf("%+v", s)
			}
		}
	})
}

// FuzzAgree holds what we verify against go-msgauth: both say the same of what was
// signed, and of what was changed then.
func FuzzAgree(f *testing.F) {
	f.Add("subject", "value", "Hello  Bob\n\n \nbye\n\n", uint8(3), uint16(80), byte(1))
	f.Add("a \n b", " ", "", uint8(0), uint16(0), byte(0))
	f.Add("x", "b=1; d=2", "\n\n\n", uint8(1), uint16(500), byte('\n'))
	f.Add("x", "y", " \t \n", uint8(2), uint16(300), byte(' '))
	d := dns()
	f.Fuzz(func(t *testing.T, subject, other, body string, form uint8, at uint16, flip byte) {
		clean := func(s string) string { // as it comes over SMTP
			return strings.ReplaceAll(strings.NewReplacer("\r", "", "\x00", "").Replace(s), "\n", "\r\n")
		}
		field := func(s string) string {
			return strings.Trim(strings.Join(strings.FieldsFunc(clean(s), func(r rune) bool { return r == '\n' || r == '\r' }), "\r\n "), " \r\n\t")
		}
		if !utf8.ValidString(subject + other) {
			t.Skip() // go-msgauth has other ideas of what is a space
		}
		subject, other = field(subject), field(other)
		for _, v := range []string{subject, other} {
			for line := range strings.Lines(v) {
				if strings.TrimSpace(line) == "" {
					t.Skip() // a field of empty lines
				}
			}
		}
		msg := fmt.Sprintf("From: ann@example.com\r\nSubject: %s\r\nX-Other: %s\r\n\r\n%s", subject, other, clean(body))
		form %= 4
		cans := []dkim.Canonicalization{"simple", "relaxed"}
		signed := sign(t, msg, "ed25519", func(o *dkim.SignOptions) {
			o.HeaderCanonicalization, o.BodyCanonicalization = cans[form&1], cans[form>>1]
		})
		if got := verify(t, d, signed); got != "pass" {
			t.Fatalf("%s of\n%q", got, signed)
		}
		if flip == 0 || flip == '\r' || flip >= 0x80 || len(signed) == 0 {
			return
		}
		b := []byte(signed)
		i := strings.Index(signed, "From:") + int(at)
		if i >= len(b) || b[i] == '\r' || b[i] == '\n' || b[i] >= 0x80 || flip == '\n' || b[i] == ':' {
			return
		}
		b[i] = flip
		changed := string(b)
		ours := verify(t, d, changed)
		theirs, err := dkim.VerifyWithOptions(strings.NewReader(changed), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return d.LookupTXT(t.Context(), name) }})
		if err != nil || len(theirs) != 1 {
			t.Skip()
		}
		if (ours == "pass") != (theirs[0].Err == nil) {
			t.Fatalf("we say %s, they %v, of\n%q", ours, theirs[0].Err, changed)
		}
	})
}
