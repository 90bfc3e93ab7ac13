package webtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// tooSlow is why a test is not run under the race detector: hundreds of pages, of which the
// other tests open some of each kind.
const tooSlow = "without the race detector only"

// One browser serves all tests; each has a context of its own, with its own cookies.
var shared struct {
	sync.Mutex
	ctx    context.Context
	cancel func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cancel != nil {
		shared.cancel()
	}
	os.Exit(code)
}

// browser returns the browser, started on first use. Names below example lead to the listener of fake; there are
// no others, for those whom the browser asks by itself.
func browser(t *testing.T) context.Context {
	t.Helper()
	peers.Need(t, "chromium")
	shared.Lock()
	defer shared.Unlock()
	if shared.ctx != nil {
		return shared.ctx
	}
	path, err := peers.Find("chromium")
	if err != nil {
		t.Fatal(err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.WindowSize(1280, 900),
		chromedp.Flag("host-resolver-rules", "MAP *.localhost 127.0.0.1, MAP *.example 127.0.0.1:"+remotePort()+", MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		// All frames in one process, so that a function that the browser adds to a tab is there in each of them.
		chromedp.Flag("disable-site-isolation-trials", true),
		chromedp.Flag("disable-features", "Translate,IsolateOrigins,site-per-process,IsolateSandboxedIframes,HttpsUpgrades,OptimizationHints,MediaRouter,SpareRendererForSitePerProcess,BackForwardCache"),
		chromedp.Flag("renderer-process-limit", "3"),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("mute-audio", true), chromedp.Flag("hide-scrollbars", true),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		stop()
		peers.Missing(t, fmt.Sprint("chromium does not start: ", err))
	}
	shared.ctx, shared.cancel = ctx, func() { cancel(); stop() }
	return ctx
}

// limit is the longest that one step may take; no test waits for it unless the browser hangs.
const limit = 30 * time.Second

// tab is one tab of the browser.
type tab struct {
	t     *testing.T
	ctx   context.Context
	mu    sync.Mutex
	calls []string // of ran, anywhere in the tab: the origins of where it was called, and of what is around that
}

// visitor is a tab with cookies of its own.
func visitor(t *testing.T) *tab {
	t.Helper()
	return newTab(t, browser(t), chromedp.WithNewBrowserContext())
}

// again is another tab with the same cookies.
func (tb *tab) again() *tab { return newTab(tb.t, tb.ctx) }

func newTab(t *testing.T, parent context.Context, opts ...chromedp.ContextOption) *tab {
	t.Helper()
	tb := &tab{t: t}
	opts = append(opts, chromedp.WithListener(func(ev any) {
		if e, ok := ev.(*runtime.EventBindingCalled); ok && e.Name == "report" {
			tb.mu.Lock()
			tb.calls = append(tb.calls, e.Payload)
			tb.mu.Unlock()
		}
	}))
	ctx, cancel := chromedp.NewContext(parent, opts...)
	t.Cleanup(cancel)
	tb.ctx = ctx
	tb.do(chromedp.Func(func(ctx context.Context, s *chromedp.Target) error {
		if _, err := cdp.Call(ctx, s, runtime.AddBinding, runtime.AddBindingParams{Name: "report"}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, s, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: `{ const r = report, where = [location.href, ...(location.ancestorOrigins || [])].join(' '); Object.defineProperty(window, 'ran', {value: () => r(where)}) }`,
		})
		return err
	}))
	return tb
}

// do runs steps; a browser that hangs ends the test.
func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if err := tb.try(limit, steps...); err != nil {
		tb.t.Fatal(err)
	}
}

func (tb *tab) try(limit time.Duration, steps ...chromedp.Action[chromedp.Void]) error {
	// The first run of a context must not have a deadline: it is that of the tab.
	if chromedp.FromContext(tb.ctx).Target == nil {
		if err := chromedp.Do(tb.ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

func eval[T any](tb *tab, expr string) T {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

func (tb *tab) open(url string) {
	tb.t.Helper()
	if err := tb.try(60*time.Second, chromedp.Navigate(url)); err != nil {
		tb.t.Fatalf("%s: %v", url, err)
	}
}

// ran returns where that was called since it was asked.
func (tb *tab) ran() []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	calls := tb.calls
	tb.calls = nil
	return calls
}

// signIn signs in with the form.
func (tb *tab) signIn(o *office, who string) {
	tb.t.Helper()
	tb.open(o.url + "/signin")
	tb.do(
		chromedp.SendKeys(chromedp.CSS("#login"), who),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
	)
	tb.click(`main button[value="signin"]`)
	if at := tb.at(); !strings.Contains(at, prefix+"/mail/") {
		tb.t.Fatalf("signed in, and at %s", at)
	}
}

// click clicks an element and waits for the page that follows.
func (tb *tab) click(selector string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		tb.t.Fatalf("click %s: %v", selector, err)
	}
}

func (tb *tab) at() string {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, limit)
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		tb.t.Fatal(err)
	}
	return at
}

// pokes sends the events that a handler in the page waits for, and clicks what would run a script. What
// leads elsewhere is left alone.
const pokes = `(() => {
	let n = 0
	const attrs = Object.getOwnPropertyDescriptor(Element.prototype, 'attributes').get
	for (const el of Array.from(document.querySelectorAll('*'))) try {
		let a
		for (a of Array.from(attrs.call(el))) {
			if (/^on/i.test(a.name)) { n++; EventTarget.prototype.dispatchEvent.call(el, new Event(a.name.slice(2), {bubbles: false, cancelable: true})) }
			if (/^(href|xlink:href|action|formaction|src|data)$/i.test(a.name) && /^[\s\x00-\x1f]*(j\s*a\s*v\s*a|data:(?!image\/(png|jpe?g|gif|webp|avif|bmp);)|vb|blob:)/i.test(a.value)) n++
		}
		if (/^(a|area)$/i.test(el.localName)) {
			let href = el.getAttribute('href') || el.getAttributeNS('http://www.w3.org/1999/xlink', 'href') || ''
			if (!/^\s*(https?:|mailto:|\/)/i.test(href)) EventTarget.prototype.dispatchEvent.call(el, new MouseEvent('click', {bubbles: true, cancelable: true}))
		} else if (/^(button|summary|label)$/i.test(el.localName) || el.localName == 'input' && /^(submit|image|reset|button)$/i.test(el.type)) {
			if (CONTROL) HTMLElement.prototype.click.call(el)
		}
	} catch (e) {}
	return n
})()`

// poke sends events in all frames of the page, with scripts of the test that no policy holds back. It
// returns how many things that could run were found.
func (tb *tab) poke(control bool) (found int, frames int) {
	tb.t.Helper()
	script := strings.Replace(pokes, "CONTROL", fmt.Sprint(control), 1)
	tb.do(chromedp.Func(func(ctx context.Context, s *chromedp.Target) error {
		tree, err := cdp.Call(ctx, s, page.GetFrameTree, struct{}{})
		if err != nil {
			return err
		}
		var walk func(*page.FrameTree) error
		walk = func(f *page.FrameTree) error {
			w, err := cdp.Call(ctx, s, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: f.Frame.ID})
			if err != nil {
				if control {
					return nil // it went elsewhere meanwhile
				}
				return fmt.Errorf("frame %s: %w", f.Frame.URL, err)
			}
			r, err := cdp.Call(ctx, s, runtime.Evaluate, runtime.EvaluateParams{Expression: script, ContextID: w.ExecutionContextID, ReturnByValue: new(true)})
			if err != nil && !control {
				return fmt.Errorf("frame %s: %w", f.Frame.URL, err)
			}
			n := 0
			fmt.Sscan(string(r.Result.Value), &n)
			found += n
			frames++
			for _, c := range f.ChildFrames {
				if err := walk(c); err != nil {
					return err
				}
			}
			return nil
		}
		return walk(tree.FrameTree)
	}))
	return found, frames
}
