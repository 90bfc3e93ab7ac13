package webmail

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/mailkeel/mailkeel/internal/mailview"
)

// evil is a payload for what is quoted in HTML, in attributes and in scripts. It breaks out
// of all, if it is not escaped.
const evil = `x"'></title></textarea></script><script>evil()</script><img src=x onerror=evil()><a href="javascript:evil()">`

// encoded is evil as an encoded word.
var encoded = "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(evil)) + "?="

// TestStoredMarkup: markup in all that mail and people can store is text on every page.
func TestStoredMarkup(t *testing.T) {
	rg := newRig(t, func(h *Handler) {
		h.Brand = Brand{Name: "Brand " + evil, Links: []Link{{"Link " + evil, "/app?" + evil}}}
	})
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(evil)
	rg.deliver("a-ann", "From: "+encoded+" <carol@example.org>\nTo: \""+quoted+"\" <ann@example.test>\nCc: "+encoded+" <x@example.org>\nReply-To: "+encoded+" <y@example.org>\nSender: "+encoded+" <z@example.org>\n"+
		"Subject: First "+encoded+"\nMessage-ID: <\""+evil+"\"@example.org>\nIn-Reply-To: <"+evil+">\nReferences: <"+evil+">\nList-Id: "+evil+"\nList-Post: <mailto:"+evil+">\nX-Other: "+evil+"\nAuthentication-Results: mail.example.test; spf="+evil+"\n"+
		"Date: "+evil+"\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"+
		"--b\nContent-Type: text/plain; charset=\""+quoted+"\"\n\nBody "+evil+" https://example.org/?"+evil+"\n> "+evil+"\n"+
		"--b\nContent-Type: text/x\"><script>evil()</script>; name=\""+quoted+"\"\nContent-ID: <"+evil+">\nContent-Disposition: attachment; filename*=utf-8''%22%3E%3Cscript%3Eevil()%3C%2Fscript%3E\n\nx\n"+
		"--b\nContent-Type: image/png; name=\""+quoted+"\"\nContent-Disposition: inline; filename=\""+quoted+"\"\n\nx\n"+
		"--b\nContent-Type: message/rfc822\n\nFrom: "+encoded+" <in@example.org>\nSubject: "+encoded+"\nTo: "+encoded+" <in@example.org>\n\nInner "+evil+"\n"+
		"--b--\n")
	rg.deliver("a-ann", "Subject: Second "+encoded+"\nFrom: a@example.org\nContent-Type: text/html\n\n<p>"+evil+"</p>\n")
	ctx := context.Background()
	box := rg.h.mail.Of("a-ann", "ann@example.test")
	if err := box.SetSettings(ctx, mailview.Settings{Name: "Ann " + evil[:60], Signature: "Sign " + evil}); err != nil {
		t.Fatal(err)
	}
	if _, err := box.CreateFolder(ctx, 0, `Folder "'><script>evil()<img src=x onerror=evil()>`); err != nil {
		t.Fatal(err)
	}
	if _, err := box.SaveDraft(ctx, mailview.Draft{To: evil, Cc: evil, Bcc: evil, Subject: "Third " + evil, Text: evil}, nil,
		mailview.Upload{Name: evil, Type: "text/html", Open: open(evil), Size: int64(len(evil))}); err != nil {
		t.Fatal(err)
	}
	ann := rg.as("ann")
	seen := map[string]bool{}
	pages, shown := 0, map[string]bool{}
	queue := []string{"/", "/?done=sent&n=%22%3E%3Cscript%3Eevil()", "/search?q=" + "%22%3E%3Cscript%3Eevil()", "/compose?to=%22%3E%3Cscript%3Eevil()&subject=%22%3E%3Cscript%3Eevil()", "/nothing/%22%3E%3Cscript%3Eevil()"}
	for len(queue) > 0 && pages < 300 {
		to := queue[0]
		queue = queue[1:]
		if key, _, _ := strings.Cut(to, "#"); seen[key] || strings.HasPrefix(to, "/app") || strings.Contains(to, "://") {
			continue
		} else {
			seen[key] = true
		}
		ann.get(to)
		if ann.doc == nil {
			continue
		}
		pages++
		frame := strings.Contains(ann.at.Path, "/frame/")
		if !frame {
			checkPage(t, ann.at.String(), ann.body)
		}
		for n := range ann.doc.Descendants() {
			if n.Type == html.TextNode && strings.Contains(n.Data, "evil()") {
				shown[strings.Fields(n.Data)[0]] = true
			}
			if n.Type == html.ElementNode && (n.Data == "a" || n.Data == "iframe") {
				for _, key := range []string{"href", "src"} {
					if u := attr(n, key); strings.HasPrefix(u, "/") && !frame {
						queue = append(queue, u)
					}
				}
			}
			if n.Type == html.ElementNode && (n.Data == "script" || has(n, "onerror")) {
				t.Errorf("%s: <%s>", ann.at, n.Data)
			}
		}
		// All forms lead here.
		for n := range ann.doc.Descendants() {
			if n.Data == "form" && !strings.HasPrefix(attr(n, "action"), "/") {
				t.Errorf("%s: a form leads to %q", ann.at, attr(n, "action"))
			}
		}
	}
	for _, what := range []string{"Brand", "Link", "First", "Second", "Body", "Inner", "Folder", "Third"} {
		if !shown[what] {
			t.Errorf("%s was not shown on any of %d pages", what, pages)
		}
	}
	t.Logf("%d pages", pages)
}
