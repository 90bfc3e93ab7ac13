package webmail

import (
	"html/template"
	"strings"

	"github.com/mailkeel/mailkeel/internal/mailview"
)

// cleaned is HTML that is safe to show, and how much of it was left out because it
// lies elsewhere.
type cleaned struct {
	HTML   string
	Remote int
}

// clean makes HTML of a message safe.
func (rq *request) clean(s mailview.Segment, at messageAt, remote bool, cid func(string) string) cleaned {
	return cleaned{HTML: "<pre>" + template.HTMLEscapeString(strings.TrimSpace(plainOf(s))) + "</pre>"}
}
