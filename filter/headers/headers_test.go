package headers_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/filtertest"
	"github.com/mailkeel/mailkeel/filter/headers"
)

// text is a message in memory. It counts what is read of it.
type text struct {
	s    string
	read *int64
}

func (c text) Size() int64 { return int64(len(c.s)) }
func (c text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(io.TeeReader(strings.NewReader(c.s), c)), nil
}
func (c text) Write(p []byte) (int, error) {
	if c.read != nil {
		*c.read += int64(len(p))
	}
	return len(p), nil
}

func judge(t testing.TB, f *headers.Filter, m string) filter.Verdict {
	t.Helper()
	v, err := f.FilterMessage(t.Context(), &filter.Transaction{Content: text{s: m}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const good = "From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: x\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\n"

func TestFaults(t *testing.T) {
	for _, tt := range []struct{ name, m, why string }{
		{"good", good + "\r\nx\r\n", ""},
		{"good, without a body", good + "\r\n", ""},
		{"good, without a blank line", good, ""},
		{"good, with fields of hops twice", "Received: a\r\nReceived: b\r\nDKIM-Signature: a\r\nDKIM-Signature: b\r\n" + good + "Comments: a\r\nComments: b\r\nKeywords: a\r\nKeywords: b\r\n\r\n", ""},
		{"good, in UTF-8", "From: J\u00f6rg <j@example.com>\r\nSubject: \u00fc\r\n\r\n", ""},
		{"good, folded", "From: Ann\r\n\t<ann@example.com>\r\nSubject: a\r\n  b\r\n \r\n c\r\n\r\n", ""},
		{"good, with NULs below", good + "\r\n\x00\r\n\n\r", ""},
		{"a line of 998", good + "X: " + strings.Repeat("x", 995) + "\r\n\r\n", ""},

		{"no author", "To: b@example.org\r\n\r\n", "no From field"},
		{"two From fields", good + "from: eve@example.com\r\n\r\n", "2 From fields"},
		{"two authors", "From: a@example.com, b@example.com\r\n\r\n", "2 addresses in From"},
		{"no address", "From: nobody\r\n\r\n", "no address in From"},
		{"an empty From", "From:\r\n\r\n", "nobody in From"},
		{"a group", "From: friends: a@example.com;\r\n\r\n", "a group in From"},

		{"two subjects", good + "SUBJECT: y\r\n\r\n", "2 subject fields"},
		{"two dates", good + "Date: y\r\n\r\n", "2 date fields"},
		{"two recipients", good + "To: y@example.org\r\n\r\n", "2 to fields"},
		{"two types", good + "Content-Type: a/b\r\nContent-Type: a/c\r\n\r\n", "2 content-type fields"},
		{"three IDs", good + strings.Repeat("Message-ID : <1@x>\r\n", 3) + "\r\n", "3 message-id fields"},

		{"too many fields", good + strings.Repeat("X: y\r\n", 1000) + "\r\n", "more than 1000 fields"},
		{"too many bytes", good + "X: " + strings.Repeat("y\r\n ", 100_000) + "\r\n\r\n", "more than 262144 bytes"},

		{"a NUL", good + "X: a\x00b\r\n\r\n", "NUL"},
		{"a CR alone", good + "X: a\rb\r\n\r\n", "CR or LF stands alone"},
		{"a CR before the line end", good + "X: a\r\r\n\r\n", "CR or LF stands alone"},
		{"an LF alone", good + "X: a\nY: b\r\n\r\n", "CR or LF stands alone"},
		{"an LF alone at the end", good + "\nx\r\n", "CR or LF stands alone"},
		{"a bell", good + "X: a\x07\r\n\r\n", "control character"},
		{"a DEL", good + "X: a\x7f\r\n\r\n", "control character"},
		{"a line of 999", good + "X: " + strings.Repeat("x", 996) + "\r\n\r\n", "more than 998 bytes"},
		{"Latin-1", good + "X: \xfc\r\n\r\n", "not UTF-8"},
		{"no blank line", good + "Hello Bob\r\n", "ends in a line that is no field"},
	} {
		f := &headers.Filter{}
		v := judge(t, f, tt.m)
		if !strings.Contains(v.Why, tt.why) || (v.Why == "") != (tt.why == "") || (v.Refuse == nil) != (tt.why == "") || v.Refuse == nil && v.Score != 0 {
			t.Errorf("%s: %+v, want %q", tt.name, v, tt.why)
		}
		if v.Refuse != nil && (v.Refuse.Code != 554 || v.Score < 2 || strings.Contains(v.Why, ",")) {
			t.Errorf("%s: %+v", tt.name, v)
		}
		marks := &headers.Filter{Author: filter.Mark, Repeated: filter.Mark, Size: filter.Mark, Syntax: filter.Mark, Score: 1.5}
		if v := judge(t, marks, tt.m); v.Refuse != nil || v.Junk || (v.Score == 1.5) != (tt.why != "") {
			t.Errorf("%s, mark: %+v", tt.name, v)
		}
		logs := &headers.Filter{Author: filter.Log, Repeated: filter.Log, Size: filter.Log, Syntax: filter.Log}
		if v := judge(t, logs, tt.m); v.Refuse != nil || v.Score != 0 || !strings.Contains(v.Why, tt.why) {
			t.Errorf("%s, log: %+v", tt.name, v)
		}
	}
}

func TestEachKindHasItsMode(t *testing.T) {
	all := "From: a@example.com, b@example.com\r\nTo: x@x\r\nTo: y@y\r\nX: \x00\r\n" + strings.Repeat("Y: z\r\n", 1000) + "\r\n"
	f := &headers.Filter{Author: filter.Log, Repeated: filter.Mark, Size: filter.Mark, Syntax: filter.Enforce}
	v := judge(t, f, all)
	if v.Score != 6 || v.Refuse == nil || !strings.Contains(v.Refuse.Message, "NUL") || strings.Count(v.Why, ",") != 3 {
		t.Errorf("%+v", v)
	}
	own := &headers.Filter{MaxFields: 4, MaxSize: 1000}
	if v := judge(t, own, good+"\r\n"); v.Why != "" {
		t.Errorf("%+v", v)
	}
	if v := judge(t, own, good+"X: y\r\n\r\n"); !strings.Contains(v.Why, "more than 4 fields") {
		t.Errorf("%+v", v)
	}
}

// TestCostIsThatOfTheHeader counts bytes and allocations: T24.
func TestCostIsThatOfTheHeader(t *testing.T) {
	for name, gen := range map[string]func(n int) string{
		"body":          func(n int) string { return good + "\r\n" + strings.Repeat("x", 50*n) },
		"fields":        func(n int) string { return good + strings.Repeat("X: y\r\n", n/6) + "\r\n" },
		"names":         func(n int) string { return good + strings.Repeat("x", n) + ": y\r\n\r\n" },
		"folds":         func(n int) string { return good + "X: y\r\n" + strings.Repeat(" z\r\n", n/4) + "\r\n" },
		"addresses":     func(n int) string { return "From: " + strings.Repeat("a@b.example,", n/12) + "\r\n\r\n" },
		"From fields":   func(n int) string { return strings.Repeat("From: a@b.example\r\n", n/19) + "\r\n" },
		"groups":        func(n int) string { return "From: " + strings.Repeat("a:;", n/3) + "\r\n\r\n" },
		"comments":      func(n int) string { return "From: " + strings.Repeat("(", n) + "\r\n\r\n" },
		"encoded words": func(n int) string { return "From: " + strings.Repeat("=?utf-8?Q?a?= ", n/14) + "<a@b.example>\r\n\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			var last float64
			for _, n := range []int{50_000, 100_000, 200_000} {
				var read int64
				m := text{gen(n), &read}
				allocs := testing.AllocsPerRun(1, func() {
					read = 0
					if _, err := (&headers.Filter{}).FilterMessage(t.Context(), &filter.Transaction{Content: m}); err != nil {
						t.Fatal(err)
					}
				})
				if read > int64(n)+300_000 {
					t.Errorf("%d bytes were read for a header of %d", read, n)
				}
				if last > 1000 && allocs > 2.5*last {
					t.Errorf("%.0f allocations for %d bytes, %.0f for half", allocs, n, last)
				}
				last = allocs
			}
		})
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(good + "\r\nx")
	f.Add("From: a@b\n\n")
	f.Add("\x00:\r\r\n")
	f.Fuzz(func(t *testing.T, m string) {
		v := judge(t, &headers.Filter{}, m)
		if (v.Refuse == nil) != (v.Why == "") || strings.ContainsAny(v.Why, "\r\n\x00") || len(v.Why) > 300 {
			t.Errorf("%+v", v)
		}
	})
}

func TestConformance(t *testing.T) {
	sample := func(m string) filtertest.Sample {
		return filtertest.Sample{From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: m}
	}
	filtertest.Run(t, func(*testing.T) filter.Filter { return &headers.Filter{} }, sample("From: a@b, c@d\r\nTo: x\r\nTo: y\r\n\x00\r\n"), sample("x"))
}

// Two authors are refused, and what old programs do is only marked.
func Example() {
	mx := &filter.Chain{Groups: [][]filter.Filter{{&headers.Filter{Syntax: filter.Mark}}}}
	for _, m := range []string{
		"From: ann@example.com\r\nFrom: boss@example.org\r\n\r\nPay this.\r\n",
		"From: ann@example.com\r\nSubject: Gr\xfc\xdfe\r\n\r\nHello.\r\n",
	} {
		v := mx.Run(context.Background(), filter.Message, &filter.Transaction{Env: &mailkeel.Envelope{ID: "m1"}, Content: text{s: m}})
		fmt.Println(v.Refuse, v.Score, v.Why)
	}
	// Output:
	// 554 5.6.0 message refused: 2 From fields 2 2 From fields
	// <nil> 2 bytes in the header are not UTF-8
}
