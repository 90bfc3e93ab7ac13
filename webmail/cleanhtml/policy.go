package cleanhtml

import (
	"regexp"
	"sync"

	"github.com/microcosm-cc/bluemonday"
)

// localImage is the form of addresses that CID may return.
var localImage = regexp.MustCompile(`^/?[A-Za-z0-9._~%?=&;@+-][A-Za-z0-9._~%/?=&;@+-]*$`)

// policy is the second opinion: what may be in the result at all, whatever the builder thinks.
func policy(remote bool) *bluemonday.Policy {
	if remote {
		return withRemote()
	}
	return withoutRemote()
}

var withRemote = sync.OnceValue(func() *bluemonday.Policy {
	return newPolicy(`^(?:https?://[^\s"'<>\\]+|data:image/[a-z]+;base64,[A-Za-z0-9+/=]+|/?[A-Za-z0-9._~%?=&;@+-][A-Za-z0-9._~%/?=&;@+-]*)$`)
})

var withoutRemote = sync.OnceValue(func() *bluemonday.Policy {
	return newPolicy(`^(?:data:image/[a-z]+;base64,[A-Za-z0-9+/=]+|/?[A-Za-z0-9._~%?=&;@+-][A-Za-z0-9._~%/?=&;@+-]*)$`)
})

func newPolicy(image string) *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	for name, k := range elements {
		if k&(skip|raw) == 0 {
			p.AllowNoAttrs().OnElements(name)
		}
	}
	p.AllowAttrs("title", "alt", "summary", "nowrap", "noshade", "reversed", "open").Globally()
	p.AllowAttrs("style").Matching(regexp.MustCompile(`^[^\\<>@{}[:cntrl:]]*$`)).Globally()
	p.AllowAttrs("class", "id", "name").Matching(regexp.MustCompile(`^m-[\w-]+(?: m-[\w-]+)*$`)).Globally()
	p.AllowAttrs("lang", "dir", "role", "aria-hidden", "align", "valign", "bgcolor", "color", "bordercolor", "width", "height", "border",
		"cellpadding", "cellspacing", "hspace", "vspace", "colspan", "rowspan", "span", "start", "value", "size", "type", "shape").
		Matching(regexp.MustCompile(`^[\w#%.+-]*$`)).Globally()
	p.AllowAttrs("coords").Matching(regexp.MustCompile(`^[0-9,. ]*$`)).OnElements("area")
	p.AllowAttrs("face").Matching(regexp.MustCompile(`^[^<>&"();:{}\\]+$`)).OnElements("font")
	p.AllowAttrs("usemap").Matching(regexp.MustCompile(`^#m-[\w-]+$`)).OnElements("img")
	p.AllowAttrs("href").Matching(regexp.MustCompile(`^(?:https?://[^\s"'<>\\]+|mailto:[^\s"'<>\\]+|#m-[\w-]+)$`)).OnElements("a", "area")
	p.AllowAttrs("rel").Matching(regexp.MustCompile(`^noopener noreferrer nofollow$`)).OnElements("a", "area")
	p.AllowAttrs("target").Matching(regexp.MustCompile(`^_blank$`)).OnElements("a", "area")
	p.AllowAttrs("referrerpolicy").Matching(regexp.MustCompile(`^no-referrer$`)).OnElements("img")
	src := regexp.MustCompile(image)
	p.AllowAttrs("src").Matching(src).OnElements("img")
	p.AllowAttrs("background").Matching(src).OnElements("table", "td", "th", "tr", "div")
	return p
}
