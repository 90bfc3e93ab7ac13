package mailauth_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/mailauth"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// keys are those of the tests.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	all := map[string]crypto.Signer{}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	all["ed25519"] = ed
	for _, bits := range []int{1024, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		all[fmt.Sprintf("rsa%d", bits)] = key
	}
	return all
})

// record is the key record of a key, with more tags.
func record(key crypto.Signer, more string) string {
	if pub, ok := key.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; " + more + "p=" + base64.StdEncoding.EncodeToString(pub)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return "v=DKIM1; k=rsa; " + more + "p=" + base64.StdEncoding.EncodeToString(der)
}

// dns has the keys of example.com.
func dns() *testdns.Table {
	d := &testdns.Table{TXT: map[string][]string{}, Fail: map[string]error{}}
	for name, key := range keys() {
		d.TXT[name+"._domainkey.example.com"] = []string{record(key, "")}
		d.TXT[name+"-test._domainkey.example.com"] = []string{record(key, "t=y; ")}
		d.TXT[name+"-strict._domainkey.example.com"] = []string{record(key, "t=s; ")}
	}
	return d
}

const mail = "From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: a  folded\r\n\tsubject \r\nX-Empty:\r\n\r\nHello  Bob, \t\r\n\r\n \r\nbye\r\n\r\n\r\n"

// sign signs as others do.
func sign(t testing.TB, msg, key string, edit func(*dkim.SignOptions)) string {
	t.Helper()
	o := &dkim.SignOptions{Domain: "example.com", Selector: key, Signer: keys()[strings.TrimSuffix(strings.TrimSuffix(key, "-test"), "-strict")],
		HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed"}
	if edit != nil {
		edit(o)
	}
	var b bytes.Buffer
	if err := dkim.Sign(&b, strings.NewReader(msg), o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// verify returns what came of each signature, as words.
func verify(t testing.TB, d *testdns.Table, msg string) string {
	t.Helper()
	all, err := mailauth.VerifyDKIM(t.Context(), d, strings.NewReader(msg), start)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range all {
		text := string(s.Result)
		if (s.Err == nil) != (s.Result == mailauth.Pass) {
			t.Errorf("%s with error %v", s.Result, s.Err)
		}
		if s.Err != nil {
			text += ": " + s.Err.Error()
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// TestVectors has the examples of RFC 6376, A.2 and RFC 8463, A.
func TestVectors(t *testing.T) {
	files, _ := filepath.Glob("testdata/rfc*.txt")
	if len(files) != 3 {
		t.Fatal(files)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		zone, msg, _ := strings.Cut(string(data), "\n\n")
		d := &testdns.Table{TXT: map[string][]string{}}
		for line := range strings.Lines(zone) {
			name, txt, _ := strings.Cut(strings.TrimSpace(line), " ")
			d.TXT[name] = []string{txt}
		}
		want := strings.TrimSuffix(strings.Repeat("pass; ", strings.Count(msg, "DKIM-Signature:")), "; ")
		for _, m := range []string{msg, strings.ReplaceAll(msg, "\n", "\r\n")} {
			if got := verify(t, d, m); got != want {
				t.Errorf("%s: %s, want %s", file, got, want)
			}
		}
		if got := verify(t, d, strings.Replace(msg, "lost", "won", 1)); strings.Contains(got, "pass") {
			t.Errorf("%s, changed: %s", file, got)
		}
	}
}

// TestWhatOthersSigned: signatures of go-msgauth in each form, and each change of what
// is signed breaks them.
func TestWhatOthersSigned(t *testing.T) {
	d := dns()
	for _, key := range []string{"ed25519", "rsa1024"} {
		for _, h := range []dkim.Canonicalization{"simple", "relaxed"} {
			for _, b := range []dkim.Canonicalization{"simple", "relaxed"} {
				for _, body := range []string{"", "\r\n", "\r\n\r\n", " \r\n", "x", "x\r\n", "\r\nx \r\n\r\n", "a\tb  c\r\n\r\n\r\nd", strings.Repeat("long ", 20_000), strings.Repeat("\r\n", 9999) + "x"} {
					msg := strings.SplitAfter(mail, "\r\n\r\n")[0] + body
					signed := sign(t, msg, key, func(o *dkim.SignOptions) { o.HeaderCanonicalization, o.BodyCanonicalization = h, b })
					if got := verify(t, d, signed); got != "pass" {
						t.Errorf("%s %s/%s %.40q: %s", key, h, b, body, got)
					}
					for _, bad := range []string{signed + "y", strings.Replace(signed, "Ann", "Eve", 1), strings.Replace(signed, "folded", "fo1ded", 1)} {
						if got := verify(t, d, bad); !strings.HasPrefix(got, "fail") {
							t.Errorf("%s %s/%s, changed: %s", key, h, b, got)
						}
					}
				}
			}
		}
	}
}

// TestSignatures has what else can be wrong (T29).
func TestSignatures(t *testing.T) {
	good := sign(t, mail, "ed25519", nil)
	tag := func(from, to string) string { // changes the signature itself
		if !strings.Contains(good, from) {
			t.Fatalf("no %q in %s", from, good)
		}
		return strings.Replace(good, from, to, 1)
	}
	with := func(key string, edit func(*dkim.SignOptions)) string { return sign(t, mail, key, edit) }
	for name, tt := range map[string]struct {
		msg  string
		edit func(*testdns.Table)
		want string
	}{
		"no signature":              {mail, nil, ""},
		"good":                      {good, nil, "pass"},
		"two":                       {sign(t, good, "rsa2048", nil), nil, "pass; pass"},
		"a second From":             {"From: eve@example.net\r\n" + good, nil, "pass"}, // DMARC looks at that
		"oversigned, a second From": {"From: eve@example.net\r\n" + with("ed25519", func(o *dkim.SignOptions) { o.HeaderKeys = []string{"From", "From"} }), nil, "fail: the signature does not match"},
		"a part of the body":        {tag("; v=1", "; l=5; v=1"), nil, "fail: only a part of the body is signed"},
		"all of the body, by l":     {tag("; v=1", "; l=99; v=1"), nil, "fail: only a part of the body is signed"},
		"over":                      {with("ed25519", func(o *dkim.SignOptions) { o.Expiration = start.Add(-time.Second) }), nil, "permerror: the signature is over before it begins"},
		"not over":                  {with("ed25519", func(o *dkim.SignOptions) { o.Expiration = time.Now().Add(99 * time.Hour) }), nil, "pass"},
		"over, without its time":    {tag("; v=1", "; x=1767323000; v=1"), nil, "permerror: the signature is over before it begins"},
		"no time":                   {tag("; v=1", "; x=soon; v=1"), nil, "permerror: the times of the signature cannot be read"},
		"SHA-1":                     {tag("a=ed25519-sha256", "a=rsa-sha1"), nil, "fail: SHA-1 is too weak"},
		"another algorithm":         {tag("a=ed25519-sha256", "a=rsa-sha512"), nil, "permerror: the algorithm is not known"},
		"another kind of key":       {tag("a=ed25519-sha256", "a=rsa-sha256"), nil, "permerror: the key is of another kind"},
		"another version":           {tag("; v=1", "; v=2"), nil, "permerror: the signature is of another version"},
		"no version":                {tag("; v=1", ""), nil, "permerror: the signature has no v"},
		"a tag twice":               {tag("; v=1", "; v=1; v=1"), nil, "permerror: the signature cannot be read: a tag is there twice"},
		"no tags":                   {tag("; v=1", "; v"), nil, "permerror: the signature cannot be read: it is no list of tags"},
		"From is not signed":        {tag("h=From:", "h=Form:"), nil, "permerror: From is not signed"},
		"a bad domain":              {tag("d=example.com", "d=example..com"), nil, "permerror: the signature has no domain"},
		"an address for domain":     {tag("d=example.com", "d=[192.0.2.1]"), nil, "permerror: the signature has no domain"},
		"i of another domain":       {tag("; v=1", "; i=@example.org; v=1"), nil, "permerror: i= is of another domain"},
		"i of a like domain":        {tag("; v=1", "; i=@badexample.com; v=1"), nil, "permerror: i= is of another domain"},
		"the key elsewhere":         {tag("; v=1", "; q=http; v=1"), nil, "permerror: the key is not in DNS"},
		"a canonicalization":        {tag("c=relaxed/relaxed", "c=nofws"), nil, "permerror: the canonicalization is not known"},
		"b is no base64":            {tag("b=", "b=!"), nil, "permerror: b= cannot be read"},
		"no selector":               {tag("s=ed25519", "s=ed 25519\x01"), nil, "permerror: the signature has no selector"},
		"a testing key":             {with("ed25519-test", nil), nil, "pass"},
		"a testing key, changed":    {with("ed25519-test", nil) + "x", nil, "neutral: the body was changed"},
		"a strict key":              {with("ed25519-strict", nil), nil, "pass"},
		"a strict key, subdomain":   {with("ed25519-strict", func(o *dkim.SignOptions) { o.Identifier = "@sub.example.com" }), nil, "permerror: the key is not for subdomains"},
		"of a subdomain":            {with("ed25519", func(o *dkim.SignOptions) { o.Identifier = "x@sub.example.com" }), nil, "pass"},
		"no key":                    {good, func(d *testdns.Table) { clear(d.TXT) }, "permerror: there is no key"},
		"DNS is away":               {good, func(d *testdns.Table) { d.Fail["ed25519._domainkey.example.com"] = testdns.Down }, "temperror: DNS does not answer for the key"},
		"DNS fails oddly":           {good, func(d *testdns.Table) { d.Fail["ed25519._domainkey.example.com"] = io.ErrUnexpectedEOF }, "temperror: DNS does not answer for the key"},
		"two keys": {good, func(d *testdns.Table) {
			k := "ed25519._domainkey.example.com"
			d.TXT[k] = append(d.TXT[k], d.TXT[k][0])
		}, "permerror: there are several keys"},
		"a key and a note":       {good, func(d *testdns.Table) { k := "ed25519._domainkey.example.com"; d.TXT[k] = append(d.TXT[k], "a note") }, "pass"},
		"a note":                 {good, func(d *testdns.Table) { d.TXT["ed25519._domainkey.example.com"] = []string{"a note"} }, "permerror: the record is no key"},
		"revoked":                {good, func(d *testdns.Table) { d.TXT["ed25519._domainkey.example.com"] = []string{"v=DKIM1; k=ed25519; p="} }, "permerror: the key was revoked"},
		"key of another version": {good, func(d *testdns.Table) { d.TXT["ed25519._domainkey.example.com"] = []string{"v=DKIM2; p=x"} }, "permerror: the key is of another version"},
		"key for another hash": {good, func(d *testdns.Table) {
			d.TXT["ed25519._domainkey.example.com"] = []string{record(keys()["ed25519"], "h=sha1; ")}
		}, "permerror: the key is for another hash"},
		"key for another service": {good, func(d *testdns.Table) {
			d.TXT["ed25519._domainkey.example.com"] = []string{record(keys()["ed25519"], "s=tlsrpt; ")}
		}, "permerror: the key is not for mail"},
		"short Ed25519": {good, func(d *testdns.Table) { d.TXT["ed25519._domainkey.example.com"] = []string{"k=ed25519; p=AAAA"} }, "permerror: the key cannot be read"},
		"another key": {good, func(d *testdns.Table) {
			d.TXT["ed25519._domainkey.example.com"] = []string{"k=ed25519; p=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
		}, "fail: the signature does not match"},
	} {
		d := dns()
		if tt.edit != nil {
			tt.edit(d)
		}
		if got := verify(t, d, tt.msg); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tt.want)
		}
	}
}

// TestWeakKeys: RSA keys that are too small are a failure, and so is one that would be
// too much work.
func TestWeakKeys(t *testing.T) {
	// A modulus is enough: nobody gets so far as to use it.
	for bits, want := range map[int]string{512: "fail: a key of 512 bits is too weak", 1023: "fail: a key of 1023 bits is too weak", 100_000: "fail: a key of 100000 bits is too large", 1024: "fail: the signature does not match"} {
		n := slices.Repeat([]byte{0xff}, (bits+7)/8)
		n[0] >>= (8 - bits%8) % 8
		key := &rsa.PublicKey{E: 65537}
		key.N = keys()["rsa1024"].Public().(*rsa.PublicKey).N
		if bits != 1024 {
			key.N = new(big.Int).SetBytes(n)
		}
		d := dns()
		d.TXT["rsa1024._domainkey.example.com"] = []string{"p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(key))}
		msg := sign(t, mail, "rsa1024", nil)
		if bits == 1024 {
			msg = strings.Replace(msg, "X-Empty:", "X-Empty: no", 1)
		}
		if got := verify(t, d, msg); got != want {
			t.Errorf("%d: %s", bits, got)
		}
	}
}

// TestExpires asks the clock that it is given.
func TestExpires(t *testing.T) {
	msg := strings.Replace(sign(t, mail, "ed25519", nil), "; v=1", "; x=9999999999; v=1", 1)
	for now, want := range map[int64]string{9999999999: "fail: the signature does not match", 10000000000: "fail: the signature is over"} {
		all, err := mailauth.VerifyDKIM(t.Context(), dns(), strings.NewReader(msg), time.Unix(now, 0))
		if err != nil || len(all) != 1 || string(all[0].Result)+": "+all[0].Err.Error() != want {
			t.Errorf("at %d: %+v, %v", now, all, err)
		}
	}
}

// TestManySignatures: the first eight are looked at (T24, T29).
func TestManySignatures(t *testing.T) {
	d := dns()
	msg := mail
	for i := range 100 {
		key := fmt.Sprintf("s%d", i)
		d.TXT[key+"._domainkey.example.com"] = []string{record(keys()["ed25519"], "")}
		msg = sign(t, msg, "ed25519", func(o *dkim.SignOptions) { o.Selector = key })
	}
	got := verify(t, d, msg)
	if got != strings.TrimSuffix(strings.Repeat("pass; ", 8), "; ") || len(d.Asked()) != 8 {
		t.Errorf("%s, %d questions", got, len(d.Asked()))
	}
	all, _ := mailauth.VerifyDKIM(t.Context(), d, strings.NewReader(msg), start)
	seen := map[string]bool{}
	for _, s := range all {
		if len(s.B) < 8 || seen[s.B] {
			t.Errorf("b of %q", s.B)
		}
		seen[s.B] = true
	}
	if all[0].Selector != "s99" {
		t.Errorf("not the topmost: %+v", all[0])
	}
	// What is hopeless asks nobody.
	d.Forget()
	verify(t, d, strings.ReplaceAll(msg, "; v=1", "; l=1; v=1"))
	if n := len(d.Asked()); n != 0 {
		t.Errorf("%d questions", n)
	}
}

// TestReadingFails: what cannot be read has no results, and nobody is left waiting.
func TestReadingFails(t *testing.T) {
	gone := errors.New("disk on fire")
	msg := sign(t, sign(t, mail, "ed25519", nil), "rsa1024", nil)
	for _, n := range []int{0, 100, len(msg) - 5} {
		r := io.MultiReader(strings.NewReader(msg[:n]), iotest.ErrReader(gone))
		if all, err := mailauth.VerifyDKIM(t.Context(), dns(), r, start); !errors.Is(err, gone) || all != nil {
			t.Errorf("after %d bytes: %v, %v", n, all, err)
		}
	}
	if _, err := mailauth.VerifyDKIM(t.Context(), dns(), strings.NewReader("DKIM-Signature: "+strings.Repeat("x", 2<<20)), start); !errors.Is(err, header.ErrTooLarge) {
		t.Errorf("a large header: %v", err)
	}
}

// TestHostileBodiesTakeNoMemory: empty lines, spaces and names without end (T24).
func TestHostileBodiesTakeNoMemory(t *testing.T) {
	head := sign(t, mail, "ed25519", nil)
	head = head[:strings.Index(head, "\r\n\r\n")+4]
	for name, text := range map[string]string{"empty lines": "\r\n", "spaces": " ", "bare CR": "\r", "lines of spaces": " \t\r\n", "text": "x"} {
		size := func(n int) uint64 {
			d := dns()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := mailauth.VerifyDKIM(t.Context(), d, io.MultiReader(strings.NewReader(head), &endless{text, n}), start); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		small, large := size(1<<16), size(4<<20)
		if large > small+256<<10 {
			t.Errorf("%s: %d bytes for 64 KB, %d for 1 MB", name, small, large)
		}
	}
}

// endless is text again and again, n bytes of it.
type endless struct {
	text string
	n    int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n+len(e.text) <= len(p) && n < e.n {
		n += copy(p[n:], e.text)
	}
	e.n -= n
	return n, nil
}
