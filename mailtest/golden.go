package mailtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mailkeel/mailkeel/internal/message"
)

// GoldenEnv is the environment variable that has Golden write its files: run
// MAILTEST_UPDATE=1 go test, and read the diff before you commit it.
const GoldenEnv = "MAILTEST_UPDATE"

// Golden compares a message with a file, as Normal shows it, and fails the test with
// the lines that differ. With MAILTEST_UPDATE=1 it writes the file.
func (m *Message) Golden(tb TB, file string) {
	tb.Helper()
	got := m.Normal()
	if os.Getenv(GoldenEnv) != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatalf("mailtest: %v", err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			tb.Fatalf("mailtest: %v", err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatalf("mailtest: %v (%s=1 go test writes it)", err, GoldenEnv)
	}
	if want := strings.ReplaceAll(string(b), "\r\n", "\n"); got != want {
		tb.Errorf("mailtest: not as in %s (%s=1 go test writes it anew):\n%s", file, GoldenEnv, differ(want, got))
	}
}

// Fields that differ with each sending. Those that a server on the way adds are
// left out, the others get a fixed value.
var (
	leftOut = []string{"Return-Path", "Delivered-To", "Received", "X-Original-To", "Authentication-Results", "DKIM-Signature", "ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"}
	fixed   = map[string]string{"date": "Thu, 01 Jan 1970 00:00:00 +0000", "message-id": "<id@golden>"}
)

// Normal returns the message without what differs each time it is sent: trace fields
// and signatures are left out, Date and Message-ID are fixed, boundaries are
// and content IDs are numbered, lines end with LF.
func (m *Message) Normal() string {
	raw := m.Raw
	h := m.parse().header
	var b strings.Builder
	if h != nil {
	fields:
		for f := range h.Fields() {
			for _, name := range leftOut {
				if f.Is(name) {
					continue fields
				}
			}
			if v, ok := fixed[strings.ToLower(f.Name())]; ok {
				fmt.Fprintf(&b, "%s: %s\n", f.Name(), v)
				continue
			}
			b.Write(f.Raw())
		}
	}
	b.WriteByte('\n')
	b.Write(raw[m.parse().root.BodyStart:])
	out := strings.ReplaceAll(b.String(), "\r\n", "\n")
	boundaries, ids := 0, 0
	var number func(p *message.Part)
	number = func(p *message.Part) {
		if s := param(p.Params, "boundary"); s != "" && p.Type == "multipart" {
			boundaries++
			q := regexp.QuoteMeta(s)
			out = regexp.MustCompile(`(?im)^--`+q+`(--)?[ \t]*$|boundary=("`+q+`"|`+q+`\b)`).ReplaceAllStringFunc(out, func(found string) string {
				if strings.HasPrefix(found, "--") {
					return strings.Replace(found, s, fmt.Sprintf("boundary-%d", boundaries), 1)
				}
				return fmt.Sprintf("boundary=\"boundary-%d\"", boundaries)
			})
		}
		if s := strings.Trim(p.ID, "<>"); s != "" {
			ids++
			to := fmt.Sprintf("cid-%d", ids)
			out = strings.NewReplacer("<"+s+">", "<"+to+">", "cid:"+s, "cid:"+to).Replace(out)
		}
		for i := range p.Parts {
			number(&p.Parts[i])
		}
	}
	number(&m.parse().root)
	return out
}

// differ shows the lines around the first difference.
func differ(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < len(w) && i < len(g) && w[i] == g[i] {
		i++
	}
	j := 0
	for j < len(w)-i && j < len(g)-i && w[len(w)-1-j] == g[len(g)-1-j] {
		j++
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "line %d:\n", i+1)
	show := func(sign string, lines []string) {
		for k, l := range lines {
			if k == 20 {
				fmt.Fprintf(&b, "%s ... %d lines more\n", sign, len(lines)-k)
				break
			}
			fmt.Fprintf(&b, "%s %s\n", sign, l)
		}
	}
	show("-", w[i:len(w)-j])
	show("+", g[i:len(g)-j])
	return b.String()
}
