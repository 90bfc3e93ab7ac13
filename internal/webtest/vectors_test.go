package webtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// vectors are what loads something, each from a host of its own.
func vectors(t *testing.T) []*payload {
	all := payloads(t, "remote")
	for i, p := range all {
		p.body = []byte(strings.ReplaceAll(string(p.body), "REMOTE", fmt.Sprintf("r%d.remote.example", i)))
	}
	return all
}

var vectorHost = regexp.MustCompile(`^r(\d+)\.remote\.example`)

// hosts are the vectors that asked for something.
func hosts(asked []*http.Request) map[int]*http.Request {
	all := map[int]*http.Request{}
	for _, r := range asked {
		if m := vectorHost.FindStringSubmatch(r.Host); m != nil {
			n, _ := strconv.Atoi(m[1])
			all[n] = r
		}
	}
	return all
}

// calm gives the browser a moment to ask for what it still wants.
func (tb *tab) calm() {
	tb.t.Helper()
	eval[chromedp.Void](tb, `new Promise(r => setTimeout(r, 150))`)
}

// TestVectorsLoadUnprotected shows that the vectors reach the listener where nothing holds them.
func TestVectorsLoadUnprotected(t *testing.T) {
	if raceEnabled {
		t.Skip(tooSlow)
	}
	all := vectors(t)
	own := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch {
		case err != nil || n >= len(all):
			http.NotFound(w, r)
		case strings.HasPrefix(r.Host, "all"):
			for i := n * perPage; i < min((n+1)*perPage, len(all)); i++ {
				fmt.Fprintf(w, `<iframe width=200 height=100 src="%s/%d"></iframe>`, own, i)
			}
		default:
			w.Write(all[n].body)
		}
	}))
	defer srv.Close()
	own = srv.URL
	tb := visitor(t)
	fake().take()
	reached := map[int]bool{}
	for i := range (len(all) + perPage - 1) / perPage {
		page := strings.Replace(fmt.Sprintf("%s/%d", srv.URL, i), "127.0.0.1", "all.localhost", 1)
		if err := tb.try(10*time.Second, chromedp.Navigate(page)); err != nil {
			t.Log(err)
		}
		tb.calm()
	}
	accepted, asked := fake().take()
	for n := range hosts(asked) {
		reached[n] = true
	}
	t.Logf("%d of %d vectors reach the listener without protection; %d connections", len(reached), len(all), accepted)
	if len(all) < 60 || len(reached) < 60 {
		t.Errorf("%d vectors, of which %d load something; want 60", len(all), len(reached))
	}
}

// TestNothingRemoteLoads opens mail that wants to load something, in every view: nobody connects to anybody. Asked
// to, the browser loads images, and only those, and says neither who asks nor from where.
func TestNothingRemoteLoads(t *testing.T) {
	if raceEnabled {
		t.Skip(tooSlow)
	}
	all := vectors(t)
	tb := visitor(t)
	o := newOffice(t)
	for i := 0; i < len(all); i += perMail {
		o.send(t, ann, carrier(i/perMail, all[i:min(i+perMail, len(all))]))
	}
	cookie := o.cookie(t, ann)
	tb.signIn(o, ann)
	fake().take()
	messages := o.messages(t, cookie)
	var pages, frames []string
	for _, m := range messages {
		p, f := o.views(t, cookie, m)
		pages = append(append(pages, p...), f...)
		frames = append(frames, f...)
	}
	if len(frames) != len(all) {
		t.Errorf("%d frames for %d vectors", len(frames), len(all))
	}
	inTabs(t, tb, 2, len(pages), func(tb *tab, i int) {
		tb.open(o.web.URL + pages[i]) // until everything is loaded
	})
	tb.open(o.url + "/settings") // timers stand still where scripts are off
	tb.calm()
	accepted, asked := fake().take()
	for n, r := range hosts(asked) {
		t.Errorf("%v: %s %s", all[n], r.Method, r.URL)
	}
	if accepted > 0 {
		t.Errorf("%d connections with images off: %.300q", accepted, fake().first)
	}
	t.Logf("%d vectors in %d messages, %d pages: %d connections", len(all), len(messages), len(pages), accepted)

	for round := range 2 {
		// The second time there are cookies that could be sent: she was there herself meanwhile.
		for n, p := range all {
			if _, ok := p.opts["image"]; ok && round > 0 {
				tb.open(fmt.Sprintf("https://r%d.remote.example/", n))
			}
		}
		fake().take()
		for _, m := range messages {
			show := o.links(t, cookie, m, m+`\?remote=[^"]*`)
			if len(show) == 0 {
				continue // no images in it
			}
			tb.open(o.web.URL + show[0])
			tb.calm()
		}
		_, asked = fake().take()
		loaded := hosts(asked)
		images := 0
		for n, p := range all {
			r := loaded[n]
			if _, ok := p.opts["image"]; ok {
				if images++; r == nil {
					t.Errorf("%v: the image is not shown", p)
				}
			} else if r != nil {
				t.Errorf("%v: %s %s, which is no image", p, r.Method, r.URL)
			}
			if r == nil {
				continue
			}
			if r.Referer() != "" || len(r.Cookies()) > 0 || r.Header.Get("Authorization") != "" || r.Header.Get("Origin") != "" || !strings.HasPrefix(r.Header.Get("Accept"), "image/") {
				t.Errorf("%v: asks with %v", p, r.Header)
			}
		}
		if t.Failed() {
			return
		}
		t.Logf("with images on: %d of %d images load, nothing else; no referrer, no cookies", len(loaded), images)
	}
}
