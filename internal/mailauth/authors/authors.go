// Package authors has messages whose author is hard to tell, for tests that ask whether
// what DMARC judges, what IMAP shows and what people see is the same.
package authors

import (
	"bytes"
	"crypto/ed25519"
	_ "embed"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

//go:embed authors.txt
var table string

// A Shape is one message.
type Shape struct {
	Name string
	// Judged is the domain of the author, in A-labels; or "nobody", or "refused".
	Judged string
	Result string // of DMARC for that domain: "pass", "fail", "none"; "fail" for nobody
	// From is the reverse-path and Helo the name with which it comes.
	From, Helo string
	Text       string
}

// Shapes returns them all.
func Shapes(t testing.TB) []Shape {
	t.Helper()
	_, rest, ok := strings.Cut(table, "\n=== ")
	if !ok {
		t.Fatal("authors: no table")
	}
	var all []Shape
	for one := range strings.SplitSeq(rest, "\n=== ") {
		all = append(all, read(t, one))
	}
	return all
}

func read(t testing.TB, one string) Shape {
	head, text, _ := strings.Cut(one, "\n")
	name, judged, _ := strings.Cut(head, " | ")
	s := Shape{Name: name, From: "eve@evil.example", Helo: "mail.evil.example", Result: "fail"}
	s.Judged, s.Result, _ = strings.Cut(judged, " ")
	if s.Judged == "nobody" {
		s.Result = "fail"
	}
	var before, sign string
	for strings.HasPrefix(text, "% ") {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		word, value, _ := strings.Cut(line[2:], " ")
		switch word {
		case "from":
			s.From = value
		case "helo":
			s.Helo = value
		case "sign":
			sign = value
		case "before":
			before += value + "\n"
		default:
			t.Fatalf("authors: %s: %q", name, line)
		}
	}
	s.Text = bytesOf(strings.TrimSuffix(text, "\n") + "\n\nHello.\n")
	if sign != "" {
		s.Text = signed(t, s.Text, sign)
	}
	s.Text = bytesOf(before) + s.Text
	return s
}

// bytesOf puts in line ends and the bytes between ‹ and ›.
func bytesOf(text string) string {
	var b strings.Builder
	text = strings.ReplaceAll(text, "\n", "\r\n")
	for {
		plain, rest, ok := strings.Cut(text, "‹")
		b.WriteString(plain)
		if !ok {
			return b.String()
		}
		code, after, _ := strings.Cut(rest, "›")
		switch code {
		case "*":
			b.WriteString(strings.Repeat("a long name of many words\r\n ", 1000))
		case "+":
			b.WriteString(strings.Repeat("eve@evil.example,\r\n ", 1000))
		default:
			n, err := strconv.ParseUint(code, 16, 8)
			if err != nil {
				panic("authors: " + code)
			}
			b.WriteByte(byte(n))
		}
		text = after
	}
}

// key signs for everybody.
func key() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func signed(t testing.TB, text, domain string) string {
	var b strings.Builder
	err := dkim.Sign(&b, strings.NewReader(text), &dkim.SignOptions{Domain: domain, Selector: "key", Signer: key(), HeaderKeys: []string{"From"},
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TXT are the records that make the messages come to what is expected of them, when
// they come from client.
func TXT(client string) map[string][]string {
	pub := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key().Public().(ed25519.PublicKey))
	txt := map[string][]string{
		"bank.example":               {"v=spf1 -all"},
		"key._domainkey.example":     {pub},
		"_dmarc.bank.example":        {"v=DMARC1; p=reject"},
		"_dmarc.own.example":         {"v=DMARC1; p=reject"},
		"_dmarc.xn--caf-dma.example": {"v=DMARC1; p=reject"},
	}
	for _, d := range []string{"evil.example", "mail.evil.example", "own.example", "mail.own.example"} {
		txt[d] = []string{"v=spf1 ip4:" + client + " -all"}
		txt["key._domainkey."+d] = []string{pub}
	}
	return txt
}
