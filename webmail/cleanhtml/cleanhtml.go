// Package cleanhtml makes HTML of strangers safe to show.
//
// Clean reads HTML as it came in a message and writes a fragment that holds nothing which runs, loads,
// sends or covers: no scripts, forms, frames, plug-ins or foreign elements, no references to other hosts
// unless they are asked for, and styles of which only what newsletters need is left.
//
// Nothing of the input is copied. Its tags are read one by one (golang.org/x/net/html), those on a list are
// written anew in a form that every HTML parser reads in one way only: end tags in order, the elements of tables where
// they belong, no paragraph around a block. So a browser cannot understand the result differently
// from this package, which is how most sanitisers were broken ("mutation XSS"). What was written
// then passes a policy of bluemonday, which knows nothing of the first step and would find its mistakes.
//
// The cost is linear in the size of the input, and both input and output are bounded.
//
// The result belongs into a frame of its own with a sandbox and a Content-Security-Policy all the same.
package cleanhtml

import (
	"strings"
	"unicode/utf8"
)

// Options say what of a message may be shown. The zero value shows no images but those
// that stand in the text itself.
type Options struct {
	// CID returns the address under which the part with a Content-ID (without angle brackets) is served:
	// a path, without scheme and host. "" drops the image. Nil drops all.
	CID func(cid string) string
	// Remote keeps images of other hosts (http and https); false drops them.
	Remote bool
	// MaxBytes bounds both what is read and what is written; zero means 1 MiB, more than 10 MiB is 10 MiB.
	MaxBytes int
	// MaxElements bounds the elements of the result; zero means 30,000.
	MaxElements int
	// MaxDepth bounds how deep they are nested; zero means 200, more than 400 is 400. What is deeper is flattened.
	MaxDepth int
	// MaxData bounds the length of one image in a data: address; zero means 512 KiB.
	MaxData int
}

// Result is clean HTML.
type Result struct {
	// HTML is a fragment for the body of a document, at most MaxBytes long. A style element may come first.
	HTML string
	// Remote counts the images of other hosts that Options.Remote would have kept.
	Remote int
	// Cut is set if the message was larger than the limits: its end is missing.
	Cut bool
}

// Clean returns text without what is dangerous in it. Cleaning a result again changes nothing,
// but that addresses made by CID are dropped.
func Clean(text string, o Options) Result {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 20
	}
	o.MaxBytes = min(o.MaxBytes, 10<<20)
	if o.MaxElements <= 0 {
		o.MaxElements = 30000
	}
	if o.MaxDepth <= 0 {
		o.MaxDepth = 200
	}
	o.MaxDepth = min(o.MaxDepth, 400) // x/net/html refuses to parse what is deeper than 512
	if o.MaxData <= 0 {
		o.MaxData = 512 << 10
	}
	b := builder{o: o, open: map[string]int{}, ignored: map[string]int{}}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > o.MaxBytes {
		b.cut = true
		n := o.MaxBytes
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	b.read(text)
	b.popTo(0)
	body := policy(o.Remote).Sanitize(b.out.String())
	if css := string(b.sheet.css); css != "" && !strings.Contains(css, "<") {
		body = "<style>" + css + "</style>" + body
	}
	return Result{HTML: body, Remote: b.remote, Cut: b.cut}
}
