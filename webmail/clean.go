package webmail

import (
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/webmail/cleanhtml"
)

// clean makes HTML of a message safe. What is left out because it lies elsewhere is
// counted, if remote does not keep it.
func clean(s mailview.Segment, remote bool, cid func(string) string) cleanhtml.Result {
	return cleanhtml.Clean(s.Text, cleanhtml.Options{CID: cid, Remote: remote, MaxBytes: 2 * mailview.MaxText})
}
