package webmail

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed all:templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// maxAsset is how large a file of a Brand may be, and maxAssets how many there are.
const (
	maxAsset  = 8 << 20
	maxAssets = 1000
)

// looks are what pages are made of: texts, templates and files.
type looks struct {
	h      *Handler
	langs  []string // "en" first, then by name
	words  map[string]*words
	assets map[string]*asset // by name and by name with hash
	sheets []string          // style sheets in order
	source map[string]string // templates by file name

	mu    sync.Mutex
	views map[string]*template.Template // by language and view, made when first shown
}

// An asset is a file that is the same for everybody.
type asset struct {
	name, hashed, kind string
	data               []byte
}

// kinds are the files that may be served, and as what.
var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
	".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon", ".woff2": "font/woff2",
	".txt": "text/plain; charset=utf-8", ".webmanifest": "application/manifest+json",
}

func newLooks(h *Handler) (*looks, error) {
	l := &looks{h: h, words: map[string]*words{}, assets: map[string]*asset{}, source: map[string]string{}, views: map[string]*template.Template{}}
	if err := errors.Join(l.readTexts(), l.readTemplates(), l.readAssets()); err != nil {
		return nil, err
	}
	// What a template says wrong shows at the start.
	for _, name := range viewNames(l.source) {
		if _, err := l.view(l.langs[0], name); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *looks) readTexts() error {
	if err := readWords(textFiles, l.words); err != nil {
		return err
	}
	if f := l.h.Brand.Files; f != nil {
		if err := readWords(f, l.words); err != nil {
			return err
		}
	}
	for lang, texts := range l.h.Brand.Texts {
		w := l.words[lang]
		if w == nil {
			w = &words{lang: lang, text: map[string]string{}}
			l.words[lang] = w
		}
		maps.Copy(w.text, texts)
	}
	for lang, w := range l.words {
		if lang != "en" {
			w.base = l.words["en"]
		}
	}
	l.langs = slices.Sorted(maps.Keys(l.words))
	slices.SortStableFunc(l.langs, func(a, b string) int {
		if (a == "en") == (b == "en") {
			return 0
		} else if a == "en" {
			return -1
		}
		return 1
	})
	return nil
}

func (l *looks) wordsOf(lang string) *words { return l.words[lang] }

func (l *looks) wordsFor(accept string) *words {
	if w := l.words[negotiate(accept, l.langs)]; w != nil {
		return w
	}
	return l.words["en"]
}

// readTemplates reads those of ours, and over them those of the Brand: a file of the
// same name takes a view's place, and another is parsed with each.
func (l *looks) readTemplates() error {
	sources := []fs.FS{templateFiles}
	if f := l.h.Brand.Files; f != nil {
		sources = append(sources, f)
	}
	for _, fsys := range sources {
		names, err := fs.Glob(fsys, "templates/*.html")
		if err != nil {
			return err
		}
		for _, name := range names {
			b, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			l.source[path.Base(name)] = string(b)
		}
	}
	return nil
}

// A view is a file that does not begin with an underscore; the others are parsed with
// each of them, and _layout.html is the whole page.
func viewNames(source map[string]string) (names []string) {
	for name := range source {
		if name[0] != '_' {
			names = append(names, strings.TrimSuffix(name, ".html"))
		}
	}
	slices.Sort(names)
	return names
}

// view returns a view in a language.
func (l *looks) view(lang, name string) (*template.Template, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := lang + "/" + name
	if t := l.views[key]; t != nil {
		return t, nil
	}
	t := template.New(name).Funcs(l.funcs(l.words[lang]))
	for _, file := range slices.Sorted(maps.Keys(l.source)) {
		if file[0] == '_' {
			if _, err := t.New(file).Parse(l.source[file]); err != nil {
				return nil, fmt.Errorf("webmail: %w", err)
			}
		}
	}
	if _, err := t.New(name + ".html").Parse(l.source[name+".html"]); err != nil {
		return nil, fmt.Errorf("webmail: %w", err)
	}
	if b := l.h.Brand.Templates; b != nil { // blocks of the brand win
		for _, block := range b.Templates() {
			if block.Tree != nil {
				if _, err := t.AddParseTree(block.Name(), block.Tree.Copy()); err != nil {
					return nil, fmt.Errorf("webmail: Brand.Templates: %w", err)
				}
			}
		}
	}
	l.views[key] = t
	return t, nil
}

// readAssets reads the files that pages need, ours and those in static/ of the Brand.
func (l *looks) readAssets() error {
	sources := []fs.FS{staticFiles}
	if f := l.h.Brand.Files; f != nil {
		sources = append(sources, f)
	}
	for _, fsys := range sources {
		if _, err := fs.Stat(fsys, "static"); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := fs.WalkDir(fsys, "static", func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			kind := kinds[strings.ToLower(path.Ext(file))]
			if kind == "" {
				return nil
			}
			if fi, err := d.Info(); err != nil {
				return err
			} else if fi.Size() > maxAsset {
				return fmt.Errorf("webmail: %s is larger than %d bytes", file, maxAsset)
			}
			b, err := fs.ReadFile(fsys, file)
			if err != nil {
				return err
			}
			if len(l.assets) >= maxAssets {
				return errors.New("webmail: too many files in static/")
			}
			l.addAsset(strings.TrimPrefix(file, "static/"), kind, b)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if l.assets["style.css"] == nil {
		return errors.New("webmail: static/style.css is missing")
	}
	css, err := l.h.Brand.css()
	if err != nil {
		return err
	}
	l.addAsset("style.css", kinds[".css"], append([]byte(css), l.assets["style.css"].data...))
	for _, name := range slices.Sorted(maps.Keys(l.assets)) {
		if path.Ext(name) == ".css" {
			l.addAsset(name, kinds[".css"], l.hashURLs(l.assets[name].data))
		}
	}
	for _, name := range []string{"style.css", "brand.css"} { // later ones win
		if l.assets[name] != nil {
			l.sheets = append(l.sheets, name)
		}
	}
	for _, name := range []string{l.h.Brand.Logo, l.h.Brand.Icon} {
		if name != "" && l.assets[name] == nil {
			return fmt.Errorf("webmail: Brand.Files has no static/%s", name)
		}
	}
	byHash := map[string]*asset{}
	for _, a := range l.assets {
		byHash[a.hashed] = a
	}
	maps.Copy(l.assets, byHash)
	return nil
}

var cssURL = regexp.MustCompile(`url\(["']?([a-zA-Z0-9._/-]+)["']?\)`)

// hashURLs lets a style sheet name other files in static/ by what they hold, so that they
// are kept as long as it is. They lie beside it.
func (l *looks) hashURLs(css []byte) []byte {
	return cssURL.ReplaceAllFunc(css, func(m []byte) []byte {
		if a := l.assets[string(cssURL.FindSubmatch(m)[1])]; a != nil && path.Ext(a.name) != ".css" && !strings.Contains(a.name, "/") {
			return []byte("url(" + a.hashed + ")")
		}
		return m
	})
}

func (l *looks) addAsset(name, kind string, data []byte) {
	sum := sha256.Sum256(data)
	ext := path.Ext(name)
	l.assets[name] = &asset{name: name, hashed: strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext, kind: kind, data: data}
}

// static serves a file: for a year under the name with its hash, which changes with it.
func (rq *request) static() error {
	file := rq.r.PathValue("file")
	a := rq.h.look.assets[file]
	if a == nil {
		return status(http.StatusNotFound)
	}
	h := rq.w.Header()
	if file == a.hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "public, max-age=300")
	}
	h.Set("Content-Type", a.kind)
	h.Set("Cross-Origin-Resource-Policy", "same-site")
	http.ServeContent(rq.w, rq.r, "", time.Time{}, bytes.NewReader(a.data))
	return nil
}
