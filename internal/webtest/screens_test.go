package webtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// newsletter looks like what shops send: tables in tables, styles for small screens, images.
const newsletter = `<html><head><style>body{margin:0;font-family:'Helvetica Neue',Arial,sans-serif}.btn{background:#0a5;color:#fff;padding:12px 24px;border-radius:6px;text-decoration:none}
@media (max-width:480px){.col{display:block;width:100%!important}}</style></head><body bgcolor="#eef2f5"><table width="100%" cellpadding="0" cellspacing="0"><tr><td align="center">
<table width="600" style="max-width:600px;background:#ffffff" cellpadding="24"><tr><td><img src="https://shop.example/logo.png" width="160" height="40" alt="The Garden Shop"><h1 style="color:#175e3a;margin:16px 0 8px">Spring is here</h1>
<p style="font-size:16px;line-height:24px">Dear Ann, the first seeds are in. Order until Friday and we send them on Monday.</p><p><a class="btn" href="https://shop.example/spring">See what is new</a></p></td></tr>
<tr><td><table width="100%"><tr><td class="col" width="50%" style="background-color:#f4faf6;padding:12px"><b>Tomatoes</b><br>6 kinds, from 2.40</td><td class="col" width="50%" style="background-color:#fdf6ec;padding:12px"><b>Pumpkins</b><br>3 kinds, from 3.10</td></tr></table></td></tr>
<tr><td style="font-size:12px;color:#777"><a href="https://shop.example/leave">Unsubscribe</a></td></tr></table></td></tr></table></body></html>`

// fill puts mail of many kinds into the account.
func populate(t *testing.T, o *office) {
	t.Helper()
	mixed := func(kind, text, file string) []byte {
		return []byte("--b\r\nContent-Type: " + kind + "; charset=utf-8\r\n\r\n" + text + "\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''" + file + "\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--b\r\nContent-Type: image/gif\r\nContent-Disposition: attachment; filename=photo.gif\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs=\r\n--b--\r\n")
	}
	for i, s := range []string{"Lunch on Thursday?", "Minutes of the meeting", "A rather long subject that goes on and on until nobody remembers how it began, and then some more", "=?utf-8?Q?=D7=A9=D7=9C=D7=95=D7=9D_=D7=A2=D7=95=D7=9C=D7=9D?=", "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_M=C3=BCnchen?="} {
		o.send(t, ann, letter(s, "text/plain; charset=utf-8", []byte(fmt.Sprintf("Hi Ann,\r\n\r\nthis is number %d. See https://example.org/minutes?page=2 for more.\r\n\r\n> What did you say?\r\n> > Nothing.\r\n\r\n-- \r\nZoe\r\n", i))))
	}
	o.send(t, ann, letter("Your invoice", `multipart/mixed; boundary="b"`, mixed("text/plain", "Please find the invoice attached.", "Rechnung%20M%C3%A4rz%202026.pdf")))
	o.send(t, ann, letter("Spring is here", "text/html; charset=utf-8", []byte(newsletter)))
	o.send(t, ann, []byte("From: =?utf-8?Q?p=D0=B0ypal=40example=2Ecom?= <x@evil.example>\r\nTo: "+ann+"\r\nSubject: Your account\r\nDate: Mon, 02 Mar 2026 11:00:00 +0000\r\nMessage-ID: <phish@evil.example>\r\n\r\nClick here.\r\n"))
}

// screen is a page and how to get there.
type screen struct {
	name string
	open func(tb *tab)
}

func screens(t *testing.T, o *office, cookie string) []screen {
	t.Helper()
	folders := o.links(t, cookie, prefix+"/settings", prefix+`/mail/\d+`)
	inbox, drafts := folders[0], folders[1]
	messages := o.links(t, cookie, inbox, inbox+`/\d+`)
	byURL := func(name, path string) screen {
		return screen{name, func(tb *tab) { tb.open(o.web.URL + path) }}
	}
	phish, html, files, text := messages[0], messages[1], messages[2], messages[len(messages)-1]
	compose := func(kind, message string) string {
		p := strings.Split(message, "/")
		return prefix + "/compose?kind=" + kind + "&folder=" + p[len(p)-2] + "&uid=" + p[len(p)-1]
	}
	return []screen{
		byURL("inbox", inbox), byURL("search", inbox+"?q=from%3Azoe"), byURL("search-nothing", inbox+"?q=xyzzy"), byURL("empty", folders[len(folders)-1]),
		byURL("read-text", text), byURL("read-html", html), byURL("read-html-as-text", html+"?as=text"), byURL("read-files", files), byURL("read-suspicious", phish), byURL("source", html+"/source"),
		{"read-html-images", func(tb *tab) {
			tb.open(o.web.URL + html)
			tb.follow(o, ".remote a.button")
		}},
		byURL("compose", prefix+"/compose"), byURL("reply", compose("reply", text)), byURL("forward", compose("forward", files)),
		{"compose-wrong", func(tb *tab) {
			tb.open(o.url + "/compose")
			tb.fill("#to", "nobody at all")
			tb.press(`button[value="send"]`)
		}},
		byURL("drafts", drafts), byURL("folders", prefix+"/folders"), byURL("settings", prefix+"/settings"), byURL("not-found", prefix+"/mail/999999"), byURL("frame", o.links(t, cookie, html, html+`/frame/[^"]*`)[0]),
		{"menus", func(tb *tab) {
			tb.open(o.web.URL + text)
			tb.do(chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll('details')) if (d.checkVisibility() && !d.closest('.drawer')) d.open = true`))
		}},
	}
}

// look sets the size of the screen, the theme, and the language.
func (tb *tab) look(width int64, dark bool) {
	scheme := map[bool]string{false: "light", true: "dark"}[dark]
	tb.do(chromedp.EmulateViewport(width, 900), chromedp.Func(func(ctx context.Context, s *chromedp.Target) error {
		_, err := cdp.Call(ctx, s, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	}))
}

// TestScreens opens every screen at 360 and 1280 pixels in both themes: nothing is wider than the
// screen, and axe finds no violation of accessibility.
func TestScreens(t *testing.T) {
	if raceEnabled {
		t.Skip(tooSlow)
	}
	modules := peers.NodeModules(t)
	axe, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	if err != nil {
		peers.Missing(t, err.Error())
	}
	o := newOffice(t)
	populate(t, o)
	tb, guest := visitor(t), visitor(t)
	cookie := o.cookie(t, ann)
	tb.signIn(o, ann)
	shots := os.Getenv("MAILKEEL_SHOTS")
	all := screens(t, o, cookie)
	guests := []screen{
		{"signin", func(tb *tab) { tb.open(o.url + "/signin") }},
		{"signin-wrong", func(tb *tab) {
			tb.open(o.url + "/signin")
			tb.fill("#login", ann)
			tb.fill("#password", "wrong")
			tb.press(`main button[value="signin"]`)
		}},
	}
	checked, violations, language := 0, 0, ""
	check := func(tb *tab, list []screen, width int64, dark bool) {
		tb.look(width, dark)
		for _, s := range list {
			s.open(tb)
			name := fmt.Sprintf("%s-%d-%s", s.name, width, map[bool]string{false: "light", true: "dark"}[dark]) + language
			if shots != "" {
				tb.shoot(filepath.Join(shots, name+".png"))
			}
			if s.name == "frame" {
				continue // the page of somebody else
			}
			if over := eval[int](tb, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				t.Errorf("%s is %d pixels too wide", name, over)
			}
			checked++
			for _, v := range tb.axe(string(axe)) {
				violations++
				t.Errorf("%s: %s", name, v)
			}
		}
	}
	// Who calls himself like somebody else is shown by his address.
	tb.open(o.web.URL + o.messages(t, cookie)[0])
	tb.wants(".sender", "x@evil.example")
	tb.wants(".bar.warn", "may not be who it seems")
	for _, width := range []int64{1280, 360} {
		for _, dark := range []bool{false, true} {
			check(guest, guests, width, dark)
			check(tb, all, width, dark)
		}
	}
	// German words are longer.
	for _, v := range []*tab{guest, tb} {
		v.do(chromedp.Func(func(ctx context.Context, s *chromedp.Target) error {
			_, err := cdp.Call(ctx, s, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": "de"}})
			return err
		}))
	}
	language = "-de"
	check(guest, guests, 360, false)
	check(tb, all, 360, false)
	if lang := eval[string](tb, `document.documentElement.lang`); lang != "de" {
		t.Errorf("pages for Germans are in %q", lang)
	}
	t.Logf("axe on %d screens, widths and themes: %d violations", checked, violations)
}

// axe runs axe-core on the page and returns what it objects to.
func (tb *tab) axe(source string) []string {
	tb.t.Helper()
	text := eval[string](tb, source+`; axe.run(document, {iframes: false, resultTypes: ['violations']}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.html + ' ' + n.failureSummary)}))))`)
	var found []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		tb.t.Fatal(err)
	}
	var all []string
	for _, v := range found {
		all = append(all, fmt.Sprintf("%s (%s): %s: %.400s", v.ID, v.Impact, v.Help, strings.Join(v.Nodes, " | ")))
	}
	return all
}

func (tb *tab) shoot(file string) {
	tb.t.Helper()
	tb.do(chromedp.Func(func(ctx context.Context, s *chromedp.Target) error {
		r, err := cdp.Call(ctx, s, page.CaptureScreenshot, page.CaptureScreenshotParams{})
		if err != nil {
			return err
		}
		return os.WriteFile(file, r.Data, 0o644)
	}))
}
