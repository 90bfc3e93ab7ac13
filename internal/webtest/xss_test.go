package webtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mailkeel/mailkeel/webmail/cleanhtml"
)

// controlPage is a payload without any protection. What is no HTML stands where a page would show it.
func controlPage(p *payload) (contentType, text string) {
	if p.class != "plain" && p.class != "metadata" {
		return p.kind(), string(p.body)
	}
	v := string(p.body)
	return "text/html; charset=utf-8", `<title>` + v + `</title><p>` + v + `</p><input value="` + v + `"><a title='` + v + `'>x</a><textarea>` + v + `</textarea>`
}

// perPage is how many payloads are opened at once, each in a frame.
const perPage = 40

// TestPayloadsRunUnprotected shows that the payloads do run, and are counted, where nothing holds them.
func TestPayloadsRunUnprotected(t *testing.T) {
	if raceEnabled {
		t.Skip(tooSlow)
	}
	all := payloads(t, "xss")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		switch {
		case err != nil || n >= len(all):
			http.NotFound(w, r)
		case strings.HasPrefix(r.Host, "all"):
			_, port, _ := strings.Cut(r.Host, ":")
			for i := n * perPage; i < min((n+1)*perPage, len(all)); i++ {
				fmt.Fprintf(w, `<iframe src="http://p%d.localhost:%s/%d"></iframe>`, i, port, i)
			}
		default:
			kind, text := controlPage(all[n])
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, text)
		}
	}))
	defer srv.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	var mu sync.Mutex
	fired := map[int]bool{}
	place := regexp.MustCompile(`http://p(\d+)\.localhost`)
	inTabs(t, visitor(t), 2, (len(all)+perPage-1)/perPage, func(tb *tab, i int) {
		if err := tb.try(10*time.Second, chromedp.Navigate(fmt.Sprintf("http://all.localhost:%s/%d", port, i))); err != nil {
			t.Logf("page %d: %v", i, err)
		}
		tb.poke(true)
		eval[chromedp.Void](tb, `new Promise(r => setTimeout(r, 100))`) // some run a little later
		mu.Lock()
		defer mu.Unlock()
		for _, where := range tb.ran() {
			if m := place.FindStringSubmatch(where); m != nil {
				n, _ := strconv.Atoi(m[1])
				fired[n] = true
			}
		}
	})
	classes := map[string][2]int{}
	for i, p := range all {
		c := classes[p.class]
		c[1]++
		if fired[i] {
			c[0]++
		} else {
			t.Logf("does not run here: %v", p)
		}
		classes[p.class] = c
	}
	for class, c := range classes {
		t.Logf("%-12s %3d of %3d", class, c[0], c[1])
	}
	t.Logf("%d of %d payloads run without protection", len(fired), len(all))
	if len(all) < 300 || len(fired) < 150 {
		t.Errorf("%d payloads, of which %d run without protection; want 300 and 150", len(all), len(fired))
	}
}

// TestCleanedPayloads opens what the sanitiser makes of the payloads without any other protection.
func TestCleanedPayloads(t *testing.T) {
	if raceEnabled {
		t.Skip(tooSlow)
	}
	all := payloads(t, "xss")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html><body>")
		for _, p := range all[n*perPage : min((n+1)*perPage, len(all))] {
			fmt.Fprint(w, cleanhtml.Clean(string(p.body), cleanhtml.Options{}).HTML, "\n")
		}
	}))
	defer srv.Close()
	inTabs(t, visitor(t), 2, (len(all)+perPage-1)/perPage, func(tb *tab, i int) {
		tb.open(fmt.Sprintf("%s/%d", srv.URL, i))
		found, _ := tb.poke(true)
		if ran := tb.ran(); len(ran) > 0 || found > 0 {
			t.Errorf("page %d, from %v: %d ran, %d found", i, all[i*perPage], len(ran), found)
		}
	})
}

// inTabs calls fn for 0 to n-1 in several tabs.
func inTabs(t *testing.T, first *tab, tabs, n int, fn func(tb *tab, i int)) {
	t.Helper()
	work := make(chan int, n)
	var wg sync.WaitGroup
	for k := range tabs {
		tb := first
		if k > 0 {
			tb = first.again()
		}
		wg.Go(func() {
			for i := range work {
				if !t.Failed() {
					fn(tb, i)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
}
