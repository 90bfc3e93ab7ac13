package cleanhtml

// kind says how an element is written.
type kind uint16

const (
	inline    kind = 1 << iota // stands in a line
	format                     // in the list of formatting elements (HTML 13.2.4.3): opened again where it was closed by a block
	block                      // ends an open paragraph
	void                       // has no content and no end tag
	structure                  // part of a table
	special                    // ends the search of li, dd and dt for their kind (HTML 13.2.4.2)
	boundary                   // end tags do not reach across
	skip                       // dropped with its content
	raw                        // its content is text, shown as it is
)

// elements are those that are known. Others are dropped, their content stays.
var elements = map[string]kind{
	"a": inline | format, "b": inline | format, "big": inline | format, "code": inline | format, "em": inline | format,
	"font": inline | format, "i": inline | format, "s": inline | format, "small": inline | format, "strike": inline | format,
	"strong": inline | format, "tt": inline | format, "u": inline | format,

	"abbr": inline, "acronym": inline, "bdi": inline, "cite": inline, "del": inline, "dfn": inline, "ins": inline, "kbd": inline,
	"map": inline, "mark": inline, "q": inline, "samp": inline, "span": inline, "sub": inline, "sup": inline, "time": inline, "var": inline,

	"area": inline | void, "br": inline | void, "img": inline | void, "wbr": inline | void, "hr": block | special | void,

	"address": block, "div": block, "p": block, // special too, but li, dd and dt look through them
	"article": block | special, "aside": block | special, "blockquote": block | special, "center": block | special,
	"details": block | special, "dl": block | special, "figcaption": block | special, "figure": block | special,
	"footer": block | special, "h1": block | special, "h2": block | special, "h3": block | special, "h4": block | special,
	"h5": block | special, "h6": block | special, "header": block | special, "hgroup": block | special, "main": block | special,
	"nav": block | special, "ol": block | special, "pre": block | special, "section": block | special,
	"summary": block | special, "ul": block | special, "li": block | special, "dd": block | special, "dt": block | special,
	"xmp": block | special | raw, "plaintext": block | special | raw, // both become pre

	"table": block | special | boundary, "caption": structure | special | boundary, "colgroup": structure | special,
	"col": structure | special | void, "tbody": structure | special, "thead": structure | special, "tfoot": structure | special,
	"tr": structure | special, "td": structure | special | boundary, "th": structure | special | boundary,

	"script": skip, "style": skip, "title": skip, "textarea": skip, "iframe": skip, "noembed": skip, "noframes": skip,
	"noscript": skip, "template": skip, "select": skip, "datalist": skip, "svg": skip, "math": skip, "applet": skip, "frameset": skip,
}

// renamed are elements that are written as others.
var renamed = map[string]string{"image": "img", "listing": "pre", "dir": "ul", "menu": "ul", "xmp": "pre", "plaintext": "pre"}

// inRow reports whether an element of a table may hold nothing but other parts of it.
func inRow(name string) bool {
	switch name {
	case "table", "colgroup", "tbody", "thead", "tfoot", "tr":
		return true
	}
	return false
}

func heading(name string) bool {
	return len(name) == 2 && name[0] == 'h' && '1' <= name[1] && name[1] <= '6'
}
