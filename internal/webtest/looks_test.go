package webtest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/mailkeel/mailkeel/webmail"
)

// faults are what a page of 360 pixels must not have: parts that are wider than it, and
// what is clicked smaller than a thumb (44 pixels) where it does not stand in a sentence.
const faults = `(() => {
	const out = [], w = innerWidth, root = document.documentElement
	if (root.scrollWidth > w) {
		out.push('the page is ' + root.scrollWidth + ' wide')
		for (const e of document.querySelectorAll('body *')) {
			const r = e.getBoundingClientRect()
			if (r.width && (r.right > w + 1 || r.left < -1) && !e.closest('.hidden,.skip')) out.push(e.localName + '.' + e.className + ' reaches from ' + r.left + ' to ' + r.right)
		}
	}
	if (w < 700) for (const e of document.querySelectorAll('a,button,input:not([type=hidden]),select,summary,textarea')) {
		const r = (e.closest('label') || e).getBoundingClientRect()
		if (!r.width || !e.checkVisibility({visibilityProperty: true}) || e.closest('.hidden,.skip,.text,.bar span')) continue
		if (r.height < 43.5 || r.width < 43.5) out.push(e.localName + ' "' + (e.textContent.trim() || e.name) + '" is ' + r.width + 'x' + r.height)
	}
	return out.slice(0, 10).join('\n')
})()`

func (tb *tab) size(width, height int64) {
	tb.t.Helper()
	tb.do(chromedp.EmulateViewport(width, height))
}

// TestThumbs goes through the pages of a small screen.
func TestThumbs(t *testing.T) {
	o := newOffice(t)
	o.send(t, ann, letter("A rather long subject that goes on and on until nobody remembers how it began, and then some more", "text/plain; charset=utf-8", []byte("See https://example.org/"+strings.Repeat("x", 300)+"\r\n\r\n> What?\r\n")))
	o.send(t, ann, letter("Spring", "text/html; charset=utf-8", []byte(`<table width="600"><tr><td><img src="https://shop.example/x.png" width="600"><p>`+strings.Repeat("x", 200)+`</p></td></tr></table>`)))
	tb := visitor(t)
	tb.size(360, 740)
	tb.open(o.url + "/signin")
	check := func(name string) {
		t.Helper()
		if s := eval[string](tb, faults); s != "" {
			t.Errorf("%s: %s", name, s)
		}
	}
	check("signin")
	tb.signIn(o, ann)
	check("list")
	inbox := tb.at()
	tb.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('[name=uid]').click()`))
	check("chosen")
	tb.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.menu').open = true`))
	check("menu")
	for _, path := range []string{inbox + "/1", inbox + "/2", inbox + "?q=spring", inbox + "?q=nothing", o.url + "/compose", o.url + "/compose?kind=replyall&uid=1&folder=" + inbox[strings.LastIndex(inbox, "/")+1:], o.url + "/folders", o.url + "/settings", o.url + "/nothing", inbox + "/1/source"} {
		tb.open(path)
		check(path)
		tb.do(chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll('main details')) d.open = true`))
		check(path + " with all open")
	}
}

// TestKeyboard: the first key leads past the rest of a page, all that can be clicked is
// reached in the order in which it is seen, and can be seen to be reached.
func TestKeyboard(t *testing.T) {
	o := newOffice(t)
	o.send(t, ann, letter("Hello", "text/plain", []byte("Hi.\r\n")))
	tb := visitor(t)
	tb.signIn(o, ann)
	inbox := tb.at()
	for _, page := range []string{inbox, inbox + "/1", o.url + "/folders", o.url + "/settings"} {
		tb.open(page)
		want := eval[int](tb, `[...document.querySelectorAll('a,button,input:not([type=hidden]),select,summary,textarea,iframe,pre[tabindex]')].filter(e => e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true})).length`)
		type stop struct {
			What    string
			Outline bool
		}
		var stops []string
		for range want + 3 {
			tb.do(chromedp.KeyEvent("\t"))
			s := eval[stop](tb, `(() => { const e = document.activeElement, s = getComputedStyle(e); return {What: e == document.body ? '' : e.localName + ' ' + (e.textContent.trim() || e.name || e.className).slice(0, 30), Outline: s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 2 || s.boxShadow != 'none'} })()`)
			if s.What == "" || len(stops) > 0 && s.What == stops[0] {
				break
			}
			if !s.Outline {
				t.Errorf("%s: it cannot be seen that %s is reached", page, s.What)
			}
			stops = append(stops, s.What)
		}
		if len(stops) == 0 || !strings.HasPrefix(stops[0], "a Skip") || len(stops) < want-2 {
			t.Errorf("%s: of %d things %d are reached: %q", page, want, len(stops), stops)
		}
	}
	tb.open(inbox)
	tb.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	if at := eval[string](tb, `document.activeElement.id`); at != "main" {
		t.Errorf("the first link leads to %q", at)
	}
}

// TestRightToLeft: a language that is written from right to left turns pages round.
func TestRightToLeft(t *testing.T) {
	o := newOffice(t, func(h *webmail.Handler) {
		h.Brand.Texts = map[string]map[string]string{"ar": {"language": "العربية", "write": "رسالة جديدة"}}
	})
	o.send(t, ann, letter("Hello", "text/plain", []byte("Hi.\r\n")))
	tb := visitor(t)
	tb.signIn(o, ann)
	inbox := tb.at()
	tb.open(o.url + "/settings")
	tb.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#language').value = 'ar'`))
	tb.press(`button[value="save"]`)
	for _, width := range []int64{1280, 360} {
		tb.size(width, 800)
		for _, page := range []string{inbox, inbox + "/1", o.url + "/compose", o.url + "/folders", o.url + "/settings"} {
			tb.open(page)
			if s := eval[string](tb, faults); s != "" {
				t.Errorf("%s at %d: %s", page, width, s)
			}
			if dir := eval[string](tb, `document.documentElement.dir`); dir != "rtl" {
				t.Errorf("%s: dir is %q", page, dir)
			}
			if width == 1280 && !eval[bool](tb, `document.querySelector('.side').getBoundingClientRect().left >= document.querySelector('main').getBoundingClientRect().right - 1`) {
				t.Errorf("%s: the folders are not on the right", page)
			}
		}
	}
	tb.open(inbox + "/1")
	if s := eval[string](tb, `getComputedStyle(document.querySelector('.tools .i-back')).transform`); !regexp.MustCompile(`^matrix\(-1,`).MatchString(s) {
		t.Errorf("the way back points forward: %s", s)
	}
}

// TestThemes: the theme is that of the system, unless a person chose one; paper is white.
func TestThemes(t *testing.T) {
	o := newOffice(t)
	tb := visitor(t)
	tb.signIn(o, ann)
	ground := func(media, scheme string) string {
		t.Helper()
		tb.do(chromedp.Func(func(ctx context.Context, s *chromedp.Target) error {
			_, err := cdp.Call(ctx, s, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return err
		}))
		return eval[string](tb, `getComputedStyle(document.documentElement).backgroundColor`)
	}
	const white, dark = "rgb(255, 255, 255)", "rgb(24, 25, 28)"
	for _, theme := range []string{"", "light", "dark"} {
		tb.open(o.url + "/settings")
		tb.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector('#theme').value = %q`, theme)))
		tb.press(`button[value="save"]`)
		for _, system := range []string{"light", "dark"} {
			want := white
			if theme == "dark" || theme == "" && system == "dark" {
				want = dark
			}
			if got := ground("screen", system); got != want {
				t.Errorf("theme %q on a %s system is %s, want %s", theme, system, got, want)
			}
			if got := ground("print", system); got != white {
				t.Errorf("theme %q on a %s system is printed on %s", theme, system, got)
			}
		}
	}
}
