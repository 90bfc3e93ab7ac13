package message

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// hostile makes messages of about n bytes that cost a careless parser more than
// their size.
var hostile = map[string]func(n int) string{
	"nested multiparts": func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
		}
		return b.String()
	},
	"nested multiparts with boundaries that begin alike": func(n int) string {
		var b strings.Builder
		for i := 0; i < 99; i++ {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\n\n--%[1]s\n", strings.Repeat("a", i+1))
		}
		b.WriteByte('\n')
		for b.Len() < n {
			b.WriteString("--" + strings.Repeat("a", 120) + "\n")
		}
		return b.String()
	},
	"nested messages":       func(n int) string { return strings.Repeat("Content-Type: message/rfc822\n\n", n/30) },
	"many parts":            func(n int) string { return mixed + strings.Repeat("--A\n\nx\n", n/7) },
	"many empty parts":      func(n int) string { return mixed + strings.Repeat("--A\n", n/4) },
	"many parts with types": func(n int) string { return mixed + strings.Repeat("--A\nContent-Type: a/b; c=d\n\n", n/29) },
	"boundary closed often": func(n int) string { return mixed + strings.Repeat("--A--\n", n/6) },
	"almost delimiters":     func(n int) string { return mixed + "--A\n\n" + strings.Repeat("--A-\n--\n", n/8) },
	"almost delimiters, long": func(n int) string {
		return mixed + "--A\n\n" + strings.Repeat("--"+strings.Repeat("A", 30_000)+"\n", n/30_003)
	},
	"spaces after a delimiter":        func(n int) string { return mixed + strings.Repeat("--A"+strings.Repeat(" ", 20_000)+"x\n", n/20_005) },
	"one line":                        func(n int) string { return "Subject: x\n\n" + strings.Repeat("x", n) },
	"one line in the preamble":        func(n int) string { return mixed + strings.Repeat("-", n) },
	"one line in the header":          func(n int) string { return "Subject: " + strings.Repeat("x", n) },
	"empty lines":                     func(n int) string { return "Subject: x\n\n" + strings.Repeat("\n", n) },
	"CRs":                             func(n int) string { return strings.Repeat("\r", n) },
	"many fields":                     func(n int) string { return strings.Repeat("To: a@b\n", n/8) },
	"folded field":                    func(n int) string { return "Subject: x\n" + strings.Repeat(" x\n", n/3) },
	"folded field of nothing":         func(n int) string { return "To:\n" + strings.Repeat(" \n", n/2) },
	"many addresses":                  func(n int) string { return "To: " + strings.Repeat("a@b,", n/4) + "\n" },
	"many commas":                     func(n int) string { return "To: " + strings.Repeat(",", n) + "\n" },
	"many groups":                     func(n int) string { return "To: " + strings.Repeat("a:;", n/3) + "\n" },
	"many colons":                     func(n int) string { return "To: " + strings.Repeat("a:", n/2) + "\n" },
	"address with many words":         func(n int) string { return "To: " + strings.Repeat("a ", n/2) + "<b@c>\n" },
	"address with many ats":           func(n int) string { return "To: " + strings.Repeat("@", n) + "\n" },
	"address with dots":               func(n int) string { return "To: " + strings.Repeat("a. ", n/3) + "@b\n" },
	"comments that do not end":        func(n int) string { return "To: " + strings.Repeat("(", n) + "\n" },
	"comments, nested":                func(n int) string { return "To: " + strings.Repeat("(", n/2) + strings.Repeat(")", n/2-1) + "\n" },
	"comments, many":                  func(n int) string { return "To: " + strings.Repeat("(a)", n/3) + "\n" },
	"quotes that do not end":          func(n int) string { return "To: " + strings.Repeat("\"a\\", n/3) + "\n" },
	"quotes, many":                    func(n int) string { return "To: " + strings.Repeat("\"a\" ", n/4) + "\n" },
	"angles that do not end":          func(n int) string { return "To: " + strings.Repeat("<a", n/2) + "\n" },
	"angles that begin late":          func(n int) string { return "To: " + strings.Repeat("<", n) + ">\n" },
	"angles, closed":                  func(n int) string { return "To: " + strings.Repeat("<a@b>", n/5) + "\n" },
	"routes":                          func(n int) string { return "To: " + strings.Repeat("<@", n/2) + ">\n" },
	"domain literals that do not end": func(n int) string { return "To: " + strings.Repeat("[@", n/2) + "\n" },
	"domain literals":                 func(n int) string { return "To: a@" + strings.Repeat("[", n) + "\n" },
	"parameters":                      func(n int) string { return "Content-Type: a/b" + strings.Repeat(";a=b", n/4) + "\n" },
	"parameters without values":       func(n int) string { return "Content-Type: a/b; " + strings.Repeat("a ", n/2) + "\n" },
	"parameters without semicolons": func(n int) string {
		return "Content-Type: a/b; " + strings.Repeat("a=b ", n/4) + "\n"
	},
	"parameter of words":               func(n int) string { return "Content-Type: a/b; a=" + strings.Repeat("a ", n/2) + "\n" },
	"parameter of specials":            func(n int) string { return "Content-Type: a/b; a=" + strings.Repeat(" =", n/2) + "\n" },
	"parameter with comments":          func(n int) string { return "Content-Type: a/b; a=" + strings.Repeat(" (", n/2) + "\n" },
	"parameter with comments that end": func(n int) string { return "Content-Type: a/b; a=" + strings.Repeat(" (x)y", n/5) + "\n" },
	"RFC 2231 pieces": func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: a/b")
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "; a*%d*=%%41", i)
		}
		return b.String()
	},
	"RFC 2231 pieces from the last": func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Disposition: a")
		for i := n / 12; i > 0; i-- {
			fmt.Fprintf(&b, "; a*%d=x", i)
		}
		return b.String()
	},
	"references":            func(n int) string { return "References: " + strings.Repeat("<a> ", n/4) + "\n" },
	"references, not ended": func(n int) string { return "References: " + strings.Repeat("<", n) + "\n" },
	"languages":             func(n int) string { return "Content-Language: " + strings.Repeat("a,", n/2) + "\n" },
	"tags": func(n int) string {
		return "Content-Type: text/html\n\n" + strings.Repeat("<!--<a b=\"", n/10)
	},
}

// steps counts what parsing costs: bytes and lines looked at.
func steps(t testing.TB, content string) int64 {
	t.Helper()
	p := newParser(strings.NewReader(content))
	m := p.parse()
	if p.err != nil {
		t.Fatal(p.err)
	}
	wellFormed(t, m, int64(len(content)))
	return p.steps
}

func TestCostGrowsAsTheSizeDoes(t *testing.T) {
	for name, gen := range hostile {
		t.Run(name, func(t *testing.T) {
			const n = 60_000 // 4n is within the limits of a list
			var last float64
			for _, size := range []int{n, 2 * n, 4 * n} {
				content := gen(size)
				s := steps(t, content)
				if most := 12*int64(len(content)) + 1000; s > most {
					t.Errorf("%d steps for %d bytes", s, len(content))
				}
				each := float64(s) / float64(len(content))
				if last > 0 && each > 1.2*last {
					t.Errorf("%.2f steps a byte for %d bytes, %.2f for half", each, len(content), last)
				}
				last = each
			}
		})
	}
}

func TestHugeMessagesStayBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("parses 70 MB")
	}
	for name, gen := range hostile {
		t.Run(name, func(t *testing.T) {
			content := gen(1500 << 10)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := parse(t, content)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
				t.Errorf("%d MB were allocated", n>>20)
			}
			wellFormed(t, m, int64(len(content)))
			if kept := len(EncodePart(&m.Root)) + len(EncodeEnvelope(&m.Envelope, m.Usual)); kept > 5<<20 {
				t.Errorf("%d bytes to keep", kept)
			}
		})
	}
}

func TestDepthIsBounded(t *testing.T) {
	content := hostile["nested multiparts"](20_000)
	m := parse(t, content)
	depth := 0
	p := &m.Root
	for ; len(p.Parts) > 0; p = &p.Parts[0] {
		depth++
	}
	if depth != MaxDepth || p.Type != "application" || p.Subtype != "octet-stream" || p.End != int64(len(content)) {
		t.Errorf("%d deep, then %+v", depth, p)
	}
}

func TestPartsAreBounded(t *testing.T) {
	content := mixed + strings.Repeat("--A\n\nx\n", 2*MaxParts)
	m := parse(t, content)
	n := len(m.Root.Parts)
	last := m.Root.Parts[n-1]
	if n != MaxParts-1 || last.Type != "application" || last.End != int64(len(content)) {
		t.Errorf("%d parts, the last %+v", n, last)
	}
	// The messages inside count too, and what is open when it is enough ends well.
	content = strings.Repeat(mixed+"--A\n"+rfc, 20) + strings.Repeat(mixed+"--A\n\nx\n--A\n"+rfc, 30) + strings.Repeat("--A\n\nx\n", 2*MaxParts)
	wellFormed(t, parse(t, content), int64(len(content)))
}
