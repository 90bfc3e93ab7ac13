package cleanhtml

import (
	"runtime"
	"strings"
	"testing"
)

// TestGrowth shows that memory grows no faster than the input, for texts made to be expensive, and that limits hold.
func TestGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("measures allocations")
	}
	attrs := func(n int) string {
		var s strings.Builder
		for i := range n {
			s.WriteString(" a" + strings.Repeat("x", 3) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) + string(rune('a'+i/17576%26)))
		}
		return "<p" + s.String() + ">" + strings.Repeat("<a b>", n)
	}
	repeat := func(s string) func(int) string { return func(n int) string { return strings.Repeat(s, n) } }
	for name, of := range map[string]func(int) string{
		"attributes": attrs,
		"formatting over blocks": func(n int) string {
			return strings.Repeat("<b a><i b><u c><font color=red>", 20) + strings.Repeat("<p>x", n)
		},
		"deep":          repeat("<div>"),
		"deep tables":   repeat("<table><tr><td>"),
		"misnested":     repeat("<b><i></b></i>"),
		"links":         repeat(`<a href="http://a.example/">x</a>`),
		"nested links":  repeat("<a><div>"),
		"open tag":      repeat("<a b='"),
		"open comment":  repeat("<!--"),
		"open raw text": repeat("<script></scrip"),
		"end tags":      repeat("</b></div></table>"),
		"entities":      repeat("&NotEqualTilde;&#x10ffff;"),
		"ampersands":    repeat("&&&&\"\"\"\""),
		"rules":         func(n int) string { return "<style>" + strings.Repeat("a{color:red}", n) },
		"selectors":     func(n int) string { return "<style>" + strings.Repeat("a,", n) + "b{c:d}" },
		"open braces":   func(n int) string { return "<style>" + strings.Repeat("{", n) },
		"open brackets": func(n int) string { return "<style>" + strings.Repeat("[class=x,(", n) },
		"at-rules":      func(n int) string { return "<style>" + strings.Repeat("@media a{", n) },
		"declarations":  func(n int) string { return "<p style='" + strings.Repeat("color:red;", n) + "'>" },
		"long value":    func(n int) string { return "<p style='font-family:" + strings.Repeat("a,", n) + "'>" },
		"css strings":   func(n int) string { return "<style>" + strings.Repeat(`a{b:"\"`, n) },
		"css escapes":   func(n int) string { return "<style>" + strings.Repeat(`\61`, n) },
		"important":     func(n int) string { return "<p style='color:" + strings.Repeat("! ", n) + "'>" },
		"classes":       func(n int) string { return "<p class='" + strings.Repeat("a ", n) + "'>" },
		"data image":    func(n int) string { return "<img src='data:image/png;base64," + strings.Repeat("AA", n) + "'>" },
	} {
		cost := func(n int) float64 {
			in := of(n)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := Clean(in, Options{})
			runtime.ReadMemStats(&after)
			if len(r.HTML) > 1<<20 {
				t.Errorf("%s: %d bytes", name, len(r.HTML))
			}
			return float64(after.TotalAlloc-before.TotalAlloc) / float64(len(in))
		}
		const n = 1000
		cost(10)
		one, eight := cost(n), cost(8*n)
		t.Logf("%-24s %6.0f bytes allocated per byte, %6.0f of eight times as much", name, one, eight)
		if eight > 2*one+20 || eight > 400 {
			t.Errorf("%s: %.0f bytes allocated per byte of input, %.0f of eight times as much", name, one, eight)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, in := range map[string]string{
		"elements": strings.Repeat("<br>", 100), "bytes": strings.Repeat("<p>&", 300), "input": strings.Repeat("x", 2000),
	} {
		r := Clean(in, Options{MaxBytes: 1000, MaxElements: 50})
		if !r.Cut || len(r.HTML) > 1000 || strings.Count(r.HTML, "<br") > 50 {
			t.Errorf("%s: cut %v, %d bytes", name, r.Cut, len(r.HTML))
		}
	}
	r := Clean(strings.Repeat("<div>", 1000)+"x", Options{})
	if r.Cut || strings.Count(r.HTML, "<div>") != 200 || !strings.Contains(r.HTML, "x") {
		t.Errorf("deep: cut %v, %d elements", r.Cut, strings.Count(r.HTML, "<div>"))
	}
	r = Clean(`<img src=http://a/><img src=//b/><td background=http://c/><table background="https://d/" style="background:url(http://e/)"><style>a{background-image:url("http://f/")}</style>`, Options{})
	if r.Remote != 5 {
		t.Errorf("%d remote images, want 5", r.Remote)
	}
}
