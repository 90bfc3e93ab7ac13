package webmail

import (
	"bytes"
	"compress/gzip"
	"html/template"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/net/html"

	"github.com/mailkeel/mailkeel/internal/mailview"
)

// TestContrast: what is written on what can be read (WCAG 2.2 AA), in both themes.
func TestContrast(t *testing.T) {
	light, dark, err := new(Brand).themes()
	if err != nil {
		t.Fatal(err)
	}
	for name := range light {
		if _, ok := dark[name]; !ok {
			t.Errorf("the dark theme has no %s", name)
		}
	}
	for _, tt := range []struct {
		a, b string
		want float64
	}{{"#000", "#ffffff", 21}, {"#777777", "#fff", 4.48}, {"#0000ff", "#fff", 8.59}, {"#123456", "#123456", 1}} {
		a, _ := parseColor(tt.a)
		b, _ := parseColor(tt.b)
		if got := contrast(a, b); got < tt.want-0.01 || got > tt.want+0.01 {
			t.Errorf("contrast of %s and %s is %.3f, want %.2f", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestBrandColors: a vendor names one colour, and gets two themes that can be read, or
// is told why not.
func TestBrandColors(t *testing.T) {
	for _, tt := range []struct {
		colors, dark map[string]string
		err          string
	}{
		{map[string]string{"accent": "#0b6e4f"}, nil, ""},
		{map[string]string{"accent": "#7a1fa2"}, nil, ""},
		{map[string]string{"accent": "#c01"}, nil, ""},
		{map[string]string{"accent": "#000000"}, nil, ""},
		{map[string]string{"accent": "#0b6e4f"}, map[string]string{"accent": "#8fe0c0", "ground": "#101010"}, ""},
		{map[string]string{"accent": "#ffd400"}, nil, "Brand.Colors: accent (#ffd400) on ground (#ffffff) has a contrast of 1.43: people need 4.5"},
		{nil, map[string]string{"text": "#555555"}, "Brand.Dark: text"},
		{map[string]string{"acent": "#0b6e4f"}, nil, `there is no colour "acent"`},
		{map[string]string{"accent": "red;} body{display:none"}, nil, "is no colour"},
		{map[string]string{"accent": "#12345g"}, nil, "is no colour"},
		{map[string]string{"accent": "#+12345"}, nil, "is no colour"},
	} {
		b := Brand{Colors: tt.colors, Dark: tt.dark}
		css, err := b.css()
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%v %v: %v, want %q", tt.colors, tt.dark, err, tt.err)
		}
		if err == nil && tt.colors["accent"] == "#0b6e4f" && !strings.Contains(css, "--accent:#0b6e4f") {
			t.Errorf("not in the style sheet:\n%s", css)
		}
	}
}

// TestStyle: small, of our own origin, without a colour that is not of the theme, and
// ready to be turned round.
func TestStyle(t *testing.T) {
	h := plain(t)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	sheet := h.look.assets["style.css"].data
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	w.Write(sheet)
	w.Close()
	t.Logf("style.css: %d bytes, %d with gzip; icons.svg: %d", len(sheet), z.Len(), len(h.look.assets["icons.svg"].data))
	if z.Len() > 12<<10 {
		t.Errorf("style.css has %d bytes with gzip, want at most 12 KiB", z.Len())
	}
	own, _ := os.ReadFile("static/style.css")
	for _, bad := range []string{`@import`, `@font-face`, `//`, `url\((?!icons)`, `#[0-9a-f]{3,8}\b`, `(margin|padding|border|inset)-(left|right)\b`, `\b(left|right):`, `text-align:(left|right)`, `float:`} {
		if bad == `url\((?!icons)` {
			if n := strings.Count(string(own), "url(") - strings.Count(string(own), "url(icons.svg)"); n != 0 {
				t.Errorf("style.css names %d other files", n)
			}
			continue
		}
		for _, m := range regexp.MustCompile(bad).FindAllString(string(own), -1) {
			if m != "#fff" && m != "#000" && m != "#333" { // paper, and what others designed
				t.Errorf("style.css has %q", m)
			}
		}
	}
	if !bytes.Contains(sheet, []byte("url("+h.look.assets["icons.svg"].hashed+")")) {
		t.Error("icons are not named by what they hold")
	}
	// Every variable has a value, and every icon that a page shows is there.
	for _, m := range regexp.MustCompile(`var\(--([a-z-]+)`).FindAllStringSubmatch(string(sheet), -1) {
		if !strings.Contains(string(sheet), "--"+m[1]+":") {
			t.Errorf("--%s has no value", m[1])
		}
	}
	for file, source := range h.look.source {
		for _, m := range regexp.MustCompile(`template "icon" "([a-z]+)"|class="i i-([a-z]+)`).FindAllStringSubmatch(source, -1) {
			if name := m[1] + m[2]; name != "inbox" && !strings.Contains(string(sheet), ".i-"+name+"{") {
				t.Errorf("%s: there is no icon %q", file, name)
			}
		}
	}
	for _, role := range []string{"inbox", "drafts", "sent", "archive", "junk", "trash", "flagged", "", "other"} {
		if name := folderIcon(mailview.Folder{Role: role}); name != "inbox" && !strings.Contains(string(sheet), ".i-"+name+"{") {
			t.Errorf("there is no icon %q", name)
		}
	}
}

// TestCatalogs: all of ours have the same keys and the same places, and no text was
// left in English.
func TestCatalogs(t *testing.T) {
	h := plain(t)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h.look.langs, []string{"en", "de"}) {
		t.Errorf("languages: %v", h.look.langs)
	}
	en := h.look.words["en"].text
	places := regexp.MustCompile(`\{\d\}`)
	// Words that are the same in both.
	same := map[string]bool{"size.kb": true, "size.mb": true, "size.bytes.one": true, "folders.name": true, "date.year": true}
	for lang, w := range h.look.words {
		if lang == "en" {
			continue
		}
		if a, b := slices.Sorted(maps.Keys(en)), slices.Sorted(maps.Keys(w.text)); !slices.Equal(a, b) {
			t.Errorf("%s.txt has other keys", lang)
		}
		for key, text := range w.text {
			p, q := places.FindAllString(en[key], -1), places.FindAllString(text, -1)
			slices.Sort(p)
			slices.Sort(q)
			if !slices.Equal(p, q) && !strings.HasPrefix(key, "date.") {
				t.Errorf("%s.txt: %s has places %v, want %v", lang, key, q, p)
			}
			if text == en[key] && !same[key] {
				t.Errorf("%s.txt: %s is in English: %s", lang, key, text)
			}
		}
	}
}

// TestNoEnglishLeft: German pages say nothing that is not in the German catalog: no
// words stand in templates.
func TestNoEnglishLeft(t *testing.T) {
	h := plain(t)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	var english []string
	for key, text := range h.look.words["en"].text {
		if key != "language" && len(text) > 3 && text != h.look.words["de"].text[key] && !strings.Contains(text, "{") {
			english = append(english, text)
		}
	}
	for name, pages := range samples() {
		for _, is := range pages {
			doc, err := html.Parse(strings.NewReader(execute(t, h, "de", name, is)))
			if err != nil {
				t.Fatal(err)
			}
			for n := range doc.Descendants() {
				said := []string{}
				if n.Type == html.TextNode {
					said = append(said, n.Data)
				}
				for _, a := range n.Attr {
					if slices.Contains([]string{"title", "aria-label", "placeholder", "alt"}, a.Key) {
						said = append(said, a.Val)
					}
				}
				for _, s := range said {
					if slices.Contains(english, strings.TrimSpace(s)) {
						t.Errorf("%s says %q in German", name, strings.TrimSpace(s))
					}
				}
			}
		}
	}
	// Nor in the templates themselves.
	word := regexp.MustCompile(`[A-Za-z]{3,}`)
	for file, source := range h.look.source {
		bare := regexp.MustCompile(`(?s)\{\{.*?\}\}`).ReplaceAllString(source, "")
		doc, _ := html.Parse(strings.NewReader(bare))
		for n := range doc.Descendants() {
			if n.Type == html.TextNode && word.MatchString(n.Data) {
				t.Errorf("%s says %q itself", file, strings.TrimSpace(n.Data))
			}
		}
	}
}

// execute makes the page of a view.
func execute(t *testing.T, h *Handler, lang, name string, is any) string {
	t.Helper()
	v, err := h.look.view(lang, name)
	if err != nil {
		t.Fatal(err)
	}
	p := page{Lang: lang, Dir: h.look.words[lang].dir(), Name: "Mail", User: "ann@example.test", SignOut: true, View: name, Folders: samples()["list"][0].(listView).Targets, Current: 1, Is: is}
	var b bytes.Buffer
	if err := v.ExecuteTemplate(&b, "_layout.html", p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSemantics: every page has one h1, a main, labels for what is filled in, names for
// what is clicked, and a first link that leads past the rest.
func TestSemantics(t *testing.T) {
	h := plain(t)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	for name, pages := range samples() {
		for _, is := range pages {
			text := execute(t, h, "en", name, is)
			doc, err := html.Parse(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			count, labels, first := map[string]int{}, map[string]bool{}, ""
			for n := range doc.Descendants() {
				if n.Data == "label" {
					labels[attr(n, "for")] = true
				}
			}
			for n := range doc.Descendants() {
				if n.Type != html.ElementNode {
					continue
				}
				count[n.Data]++
				says := strings.TrimSpace(wordsIn(n)) + attr(n, "aria-label")
				switch n.Data {
				case "a":
					if first == "" {
						first = attr(n, "href")
					}
					if says == "" {
						t.Errorf("%s: a link to %s says nothing", name, attr(n, "href"))
					}
				case "button", "summary", "option":
					if says == "" {
						t.Errorf("%s: a %s %s says nothing", name, n.Data, attr(n, "value"))
					}
				case "input", "select", "textarea":
					in := n.Parent
					for in != nil && in.Data != "label" {
						in = in.Parent
					}
					if kind := attr(n, "type"); kind != "hidden" && attr(n, "aria-hidden") == "" && in == nil && attr(n, "aria-label") == "" && !labels[attr(n, "id")] {
						t.Errorf("%s: %s %s has no label", name, n.Data, attr(n, "name"))
					}
				case "iframe":
					if attr(n, "title") == "" {
						t.Errorf("%s: a frame has no title", name)
					}
				case "img":
					if !strings.Contains(text, `alt="`) {
						t.Errorf("%s: an image has no alt", name)
					}
				case "time":
					if _, err := time.Parse(time.RFC3339, attr(n, "datetime")); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				if at := attr(n, "aria-describedby"); at != "" && !strings.Contains(text, `id="`+at+`"`) {
					t.Errorf("%s: nothing has the id %s", name, at)
				}
			}
			if count["h1"] != 1 || count["main"] != 1 || first != "#main" {
				t.Errorf("%s: %d h1, %d main, and the first link leads to %s", name, count["h1"], count["main"], first)
			}
		}
	}
}

func wordsIn(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// TestBrand: each thing that a vendor can change is changed.
func TestBrand(t *testing.T) {
	h := plain(t)
	h.Brand = Brand{
		Name: "Acme & Co.", Logo: "logo.svg", Icon: "tab.png", Colors: map[string]string{"accent": "#0b6e4f"},
		Texts:     map[string]map[string]string{"en": {"signin.title": "Welcome to {1}"}, "ar": {"signin": "دخول", "language": "العربية"}},
		Templates: template.Must(template.New("").Parse(`{{define "footer"}}© Acme{{end}}{{define "signin-note"}}<p>Ask for help.</p>{{end}}{{define "head"}}<meta name="vendor" content="acme">{{end}}`)),
		Files: fstest.MapFS{
			"static/logo.svg": {Data: []byte("<svg xmlns='http://www.w3.org/2000/svg'/>")}, "static/tab.png": {Data: []byte("png")},
			"static/brand.css": {Data: []byte(".top{background:url(logo.svg)}")}, "static/evil.html": {Data: []byte("<script>")},
			"templates/insecure.html": {Data: []byte(`{{define "main"}}<h1>Acme needs HTTPS</h1>{{end}}`)},
			"text/fr.txt":             {Data: []byte("language = Français\nsignin = Se connecter\n")},
		},
	}
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	get := func(url, lang string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, url, nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Accept-Language", lang)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	body := get("http://localhost/signin", "en").Body.String()
	for _, want := range []string{"Welcome to Acme &amp; Co.", "© Acme", "<p>Ask for help.</p>", `<meta name="vendor" content="acme">`, h.look.assets["logo.svg"].hashed, h.look.assets["tab.png"].hashed, h.look.assets["brand.css"].hashed} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if body := get("http://mail.example.test/", "en").Body.String(); !strings.Contains(body, "Acme needs HTTPS") {
		t.Error("a template was not replaced")
	}
	if body := get("http://localhost/signin", "fr-CA, en;q=0.5").Body.String(); !strings.Contains(body, `lang="fr"`) || !strings.Contains(body, "Se connecter") || !strings.Contains(body, "Mail address") {
		t.Errorf("no French, or nothing for what it lacks:\n%s", body)
	}
	if body := get("http://localhost/signin", "ar").Body.String(); !strings.Contains(body, `lang="ar" dir="rtl"`) || !strings.Contains(body, "دخول") {
		t.Errorf("not from right to left:\n%s", body)
	}
	css := get("http://localhost/static/"+h.look.assets["brand.css"].hashed, "en")
	if want := "url(" + h.look.assets["logo.svg"].hashed + ")"; !strings.Contains(css.Body.String(), want) || !strings.Contains(css.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("brand.css is %s, %v", css.Body, css.Header())
	}
	if w := get("http://localhost/static/evil.html", "en"); w.Code != http.StatusNotFound {
		t.Errorf("evil.html: %d", w.Code)
	}

	for _, b := range []Brand{{Logo: "none.svg"}, {Icon: "none.png"}, {Colors: map[string]string{"accent": "#eee"}}, {Files: fstest.MapFS{"templates/list.html": {Data: []byte("{{nothing}}")}}}, {Files: fstest.MapFS{"text/en.txt": {Data: []byte("no key")}}}} {
		h := plain(t)
		if h.Brand = b; h.Check() == nil {
			t.Errorf("%+v is taken", b)
		}
	}
}

func TestDates(t *testing.T) {
	h := plain(t)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	now := time.Date(2026, 3, 30, 0, 30, 0, 0, berlin) // clocks changed yesterday
	for _, tt := range []struct {
		t            time.Time
		en, de, ago  string
		whole, ganze string
	}{
		{now.Add(-10 * time.Second), "00:29", "00:29", "just now", "Mon, 30 Mar 2026, 00:29", "Mo, 30. März 2026, 00:29 Uhr"},
		{now.Add(-40 * time.Minute), "Yesterday", "Gestern", "40 minutes ago", "Sun, 29 Mar 2026, 23:50", "So, 29. März 2026, 23:50 Uhr"},
		{now.Add(-23*time.Hour - 40*time.Minute), "Sat", "Sa", "23 hours ago", "Sat, 28 Mar 2026, 23:50", "Sa, 28. März 2026, 23:50 Uhr"},
		{now.AddDate(0, 0, -6), "Tue", "Di", "5 days ago", "Tue, 24 Mar 2026, 00:30", "Di, 24. März 2026, 00:30 Uhr"},
		{now.AddDate(0, 0, -7), "23 Mar", "23. März", "6 days ago", "Mon, 23 Mar 2026, 00:30", "Mo, 23. März 2026, 00:30 Uhr"},
		{now.AddDate(0, -3, 0), "30 Dec 2025", "30. Dez. 2025", "", "Tue, 30 Dec 2025, 00:30", "Di, 30. Dez. 2025, 00:30 Uhr"},
		{now.AddDate(0, 0, 2), "1 Apr", "1. Apr.", "", "Wed, 1 Apr 2026, 00:30", "Mi, 1. Apr. 2026, 00:30 Uhr"},
		{time.Time{}, "", "", "", "", ""},
	} {
		en, de := h.look.words["en"], h.look.words["de"]
		got := []string{en.date(tt.t, now, berlin), de.date(tt.t, now, berlin), en.ago(tt.t, now), en.datetime(tt.t, berlin), de.datetime(tt.t, berlin)}
		if want := []string{tt.en, tt.de, tt.ago, tt.whole, tt.ganze}; !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", tt.t, got, want)
		}
	}
}

func TestSigns(t *testing.T) {
	for in, want := range map[string]string{"dmarc=pass": "pass", "spf=fail dkim=none dmarc=fail": "fail", "spf=pass dkim=pass": "", "": "", "xdmarc=pass": ""} {
		if got := checked(in); got != want {
			t.Errorf("checked(%q) = %q, want %q", in, got, want)
		}
	}
	for _, tt := range [][3]string{{"a.pdf", "application/pdf", "PDF"}, {"a", "application/x-zip", "ZIP"}, {"a.verylong", "text/plain", "PLAIN"}, {"a.é", "image/png", "PNG"}, {"", "application/vnd.openxmlformats-officedocument", "VND.OPENXMLFORMA"}} {
		if got := fileKind(tt[0], tt[1]); got != tt[2] {
			t.Errorf("fileKind(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
	for in, want := range map[string]string{"ann": "A", "«Öl»": "Ö", "": "?", "…": "?"} {
		if got := initial(in); got != want {
			t.Errorf("initial(%q) = %q", in, got)
		}
	}
	for in, want := range map[string][2]int{
		"<p>Hi</p><p>there</p>": {150, 400}, "": {80, 150}, "<table><tr><td>x</td></tr></table>": {0, 0}, "<p>Hi<img src=x></p>": {0, 0},
		strings.Repeat("<p>word</p>", 200): {0, 0}, strings.Repeat("<", 5000): {80, 150}, "<p style=\"height:1000px\">": {0, 0},
	} {
		if got := frameHeight(in); got < want[0] || got > want[1] {
			t.Errorf("frameHeight(%.40q) = %d, want %v", in, got, want)
		}
	}
}
