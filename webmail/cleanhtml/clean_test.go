package cleanhtml

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"text", `a < b & c`, `a &lt; b &amp; c`},
		{"formatting", `<B>x</b> <i class="a b">y</I>`, `<b>x</b> <i class="m-a m-b">y</i>`},
		{"unknown tags", `<o:p>x</o:p><blink>y</blink>`, `xy`},
		{"script", `a<script>alert(1)</script>b`, `ab`},
		{"handler", `<p onclick="x()" onmouseover=y>z</p>`, `<p>z</p>`},
		{"comment", `a<!-- <b>x</b> -->b<!--[if mso]><i>x</i><![endif]-->c<![if !mso]>d<![endif]>`, `abcd`},
		{"form", `<form action="http://x/"><input name=a><button>Go</button><select><option>x</select></form>`, `Go`},
		{"svg", `a<svg><script>x</script><a href="javascript:x"><text>t</text></a></svg>b`, `ab`},
		{"svg breakout", `a<svg><desc><p>b`, `a<p>b</p>`},
		{"link", `<a href=" HTTPS:\\Example.com/a b">x</a>`, `<a href="https://Example.com/a%20b" rel="noopener noreferrer nofollow" target="_blank">x</a>`},
		{"host", `<a href="http://bank.example@evil.example\b?c\d">x</a>`, `<a href="http://evil.example/b?c%5Cd" rel="noopener noreferrer nofollow" target="_blank">x</a>`},
		{"mailto", `<a href="mailto:a@b?subject=x">x</a>`, `<a href="mailto:a@b?subject=x" rel="noopener noreferrer nofollow" target="_blank">x</a>`},
		{"place", `<a href="#top">x</a><a name=top>y</a>`, `<a href="#m-top">x</a><a name="m-top">y</a>`},
		{"script link", "<a href=\"java\tscript:x\">x</a><a href=&#1;javascript:x>y</a><a href=vbscript:x>z</a>", `<a>x</a><a>y</a><a>z</a>`},
		{"relative link", `<a href="/x">x</a><a href="//y">y</a>`, `<a>x</a><a>y</a>`},
		{"remote image", `<img src="http://x/y.png" alt="An image" width=10 height="20px">`, `<img alt="An image" height="20" width="10"/>`},
		{"data image", `<img src="data:image/png;base64,iVBO Rw0=">`, `<img src="data:image/png;base64,iVBORw0="/>`},
		{"data svg", `<img src="data:image/svg+xml;base64,PHN2Zz4=">`, `<img/>`},
		{"cid", `<img src="cid:a%40b"><img src="cid:none">`, `<img src="/part/a"/><img/>`},
		{"style attribute", `<p style="COLOR: Red; position:fixed; background:url(http://x/) #fff; behavior:url(x); width:expression(x)">x`,
			`<p style="color:red;background:none #fff">x</p>`},
		{"style", `<style>@import "http://x/"; body, td.a > b { color:red } a[href^=x] { color:blue } @media (max-width:600px) { .a { width:100% !important } } @font-face{x:y}</style>x`,
			"<style>.m-body,td.m-a&gt;b{color:red}\n@media (max-width:600px){.m-a{width:100% !important}\n}\n</style>x"},
		{"body", `<html><body bgcolor=#eee style="margin:0"><p>x</body></html>`, `<div class="m-body" style="background-color:#eee;margin:0"><p>x</p></div>`},
		{"paragraphs", `<p>a<p>b<div>c`, `<p>a</p><p>b</p><div>c</div>`},
		{"formatting over paragraphs", `<p><b>a<p>b</b>c`, `<p><b>a</b></p><p><b>b</b>c</p>`},
		{"misnested", `<b>a<i>b</b>c</i>d`, `<b>a<i>b</i></b><i>c</i>d`},
		{"end tag in a block", `<b>a<div>b</b>c</div>d`, `<b>a<div>bc</div></b>d`},
		{"links in links", `<a name=a>x<a name=b>y`, `<a name="m-a">x</a><a name="m-b">y</a>`},
		{"table", `<table><tr><td>a<td>b<tr><th>c</table>d`, `<table><tbody><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></tbody></table>d`},
		{"text in a table", `<table>x<tr>y<td>z</table>`, `<table><tbody><tr><td>x</td></tr><tr><td>y</td><td>z</td></tr></tbody></table>`},
		{"blanks in a table", "<table>\n<font><tr>&nbsp;<td>z</table>", `<table><tbody><tr><td>z</td></tr></tbody></table>`},
		{"table in a paragraph", `<p>a<table><td>b`, `<p>a</p><table><tbody><tr><td>b</td></tr></tbody></table>`},
		{"lists", `<ul><li>a<li>b<ul><li>c</ul></ul>`, `<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>`},
		{"headings", `<h1>a<h2>b</h2>`, `<h1>a</h1><h2>b</h2>`},
		{"pre", "<pre>\n\n x</pre><xmp><b></xmp><plaintext></p>", "<pre>\n\n x</pre><pre>&lt;b&gt;</pre><pre>&lt;/p&gt;</pre>"},
		{"title and noscript", `<title>a</title><noscript><img src=x></noscript><textarea><b></textarea>b`, `b`},
		{"control characters", "a\x00b\x01c&#13;d\x7f", "abc\nd"},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb"},
		{"many attributes", `<p` + many(300) + ` title=x>a<script` + many(300) + `>b<i></script>c<b` + many(300) + `>d`, `<p title="x">ac<b>d</b></p>`},
		{"old styles", `<style>[class=x],*[id="y"]{color:red}</style>`, "<style>.m-x,*#m-y{color:red}\n</style>"},
	} {
		r := Clean(tt.in, Options{CID: func(id string) string {
			if id == "a@b" {
				return "/part/a"
			}
			return ""
		}})
		want := strings.ReplaceAll(tt.want, "td.m-a&gt;b", "td.m-a>b")
		if r.HTML != want {
			t.Errorf("%s: %q\n got %s\nwant %s", tt.name, tt.in, r.HTML, want)
		}
	}
}

// many are attributes that differ.
func many(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, " a%d", i)
	}
	return s.String()
}

// holds checks what must be true of every result.
func holds(t *testing.T, in string, o Options) string {
	t.Helper()
	got := Clean(in, o)
	if limit := o.MaxBytes; len(got.HTML) > limit {
		t.Fatalf("%d bytes written, the limit is %d", len(got.HTML), limit)
	}
	if again := Clean(got.HTML, o); again.HTML != got.HTML || again.Remote != 0 {
		t.Fatalf("not the same when cleaned again:\n in %q\n got %q\nthen %q (%d remote)", in, got.HTML, again.HTML, again.Remote)
	}
	nodes, err := html.ParseFragment(strings.NewReader(got.HTML), &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body})
	if err != nil {
		t.Fatalf("%q: %v", got.HTML, err)
	}
	var s strings.Builder
	for _, n := range nodes {
		inspect(t, n, o)
		if err := html.Render(&s, n); err != nil {
			t.Fatal(err)
		}
	}
	if s.String() != got.HTML {
		t.Fatalf("a parser reads it differently:\n in %q\n got %q\nread %q", in, got.HTML, s.String())
	}
	return got.HTML
}

// inspect fails for an element, an attribute or an address that is not expected.
func inspect(t *testing.T, n *html.Node, o Options) {
	t.Helper()
	if n.Type == html.CommentNode || n.Type == html.DoctypeNode || n.Namespace != "" {
		t.Fatalf("a node of kind %d %q in namespace %q", n.Type, n.Data, n.Namespace)
	}
	if n.Type == html.ElementNode {
		if k, ok := elements[n.Data]; (!ok || k&(skip|raw) != 0) && n.Data != "style" {
			t.Fatalf("element %s", n.Data)
		}
		for _, a := range n.Attr {
			low := strings.ToLower(a.Val)
			switch {
			case !wanted[a.Key] && a.Key != "rel" && a.Key != "target" && a.Key != "referrerpolicy":
				t.Fatalf("attribute %s", a.Key)
			case a.Key == "href":
				if !strings.HasPrefix(low, "https://") && !strings.HasPrefix(low, "http://") && !strings.HasPrefix(low, "mailto:") && !strings.HasPrefix(low, "#m-") {
					t.Fatalf("link to %q", a.Val)
				}
			case a.Key == "src" || a.Key == "background":
				if !strings.HasPrefix(low, "data:image/") && !(o.Remote && remote(low)) {
					t.Fatalf("%s of %q", a.Key, a.Val)
				}
			case a.Key == "style":
				styled(t, a.Val, o)
			}
		}
		if n.Data == "style" {
			styled(t, n.FirstChild.Data, o)
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		inspect(t, c, o)
	}
}

func styled(t *testing.T, css string, o Options) {
	t.Helper()
	low := strings.ToLower(css)
	for _, bad := range []string{"expression(", "behavior", "binding", "@import", "@font-face", "position:fixed", "position:absolute", "position:sticky", "z-index:", "\\", "<", "/*"} {
		if strings.Contains(low, bad) {
			t.Fatalf("%s in style %q", bad, css)
		}
	}
	for rest := low; ; {
		i := strings.Index(rest, "url(")
		if i < 0 {
			return
		}
		if rest = rest[i+4:]; !strings.HasPrefix(rest, "'data:image/") && !(o.Remote && strings.HasPrefix(rest, "'http")) {
			t.Fatalf("an address in style %q", css)
		}
	}
}
