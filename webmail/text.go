package webmail

import (
	"bufio"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed text
var textFiles embed.FS

// words are the texts of one language. A catalog is a file text/LANG.txt of lines
//
//	key = text with {1} and {2}
//
// in UTF-8; a line that begins with # is a comment. A key that ends in ".one" and
// ".other" is for a number. Texts are plain, never HTML.
type words struct {
	lang string // as in <html lang>
	text map[string]string
	base *words // has what this one lacks; nil for English
}

func parseWords(lang, file string) (*words, error) {
	w := &words{lang: lang, text: map[string]string{}}
	sc := bufio.NewScanner(strings.NewReader(file))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, text, ok := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, fmt.Errorf("webmail: text/%s.txt, line %d: not key = text", lang, n)
		}
		w.text[key] = strings.TrimSpace(text)
	}
	return w, sc.Err()
}

// readWords reads all catalogs below text/ in fsys over those in all.
func readWords(fsys fs.FS, all map[string]*words) error {
	names, err := fs.Glob(fsys, "text/*.txt")
	if err != nil {
		return err
	}
	for _, name := range names {
		lang := strings.TrimSuffix(path.Base(name), ".txt")
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		w, err := parseWords(lang, string(b))
		if err != nil {
			return err
		}
		if have := all[lang]; have != nil {
			for k, t := range w.text {
				have.text[k] = t
			}
		} else {
			all[lang] = w
		}
	}
	return nil
}

func (w *words) find(key string) (string, bool) {
	for ; w != nil; w = w.base {
		if t, ok := w.text[key]; ok {
			return t, true
		}
	}
	return "", false
}

// t is a text with its places filled in. What is missing everywhere shows its key.
func (w *words) t(key string, args ...any) string {
	text, ok := w.find(key)
	if !ok {
		return key
	}
	if len(args) == 0 {
		return text
	}
	pairs := make([]string, 0, 2*len(args))
	for i, a := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i+1)+"}", fmt.Sprint(a))
	}
	return strings.NewReplacer(pairs...).Replace(text) // once: no place in what was filled in
}

// tn is a text for a number, which is {1}.
func (w *words) tn(key string, n int, args ...any) string {
	form := ".other"
	if n == 1 {
		form = ".one"
	}
	return w.t(key+form, append([]any{n}, args...)...)
}

func (w *words) orElse(key, otherwise string) string {
	if t, ok := w.find(key); ok {
		return t
	}
	return w.t(otherwise)
}

// rtl are the languages that are written from right to left.
var rtl = []string{"ar", "fa", "he", "ur", "yi", "ps", "dv", "ckb"}

func (w *words) dir() string {
	if slices.Contains(rtl, base(w.lang)) {
		return "rtl"
	}
	return "ltr"
}

// base is the language of a tag, "pt" of "pt-BR".
func base(tag string) string {
	b, _, _ := strings.Cut(tag, "-")
	return strings.ToLower(b)
}

// negotiate chooses one of langs by an Accept-Language field (RFC 9110, 12.5.4), or
// returns "".
func negotiate(accept string, langs []string) string {
	best, bestQ := "", 0.0
	for i, item := range strings.SplitN(accept[:min(len(accept), 1000)], ",", 33) {
		if i == 32 {
			break
		}
		tag, param, _ := strings.Cut(item, ";")
		tag = strings.TrimSpace(tag)
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
		}
		if q <= bestQ {
			continue
		}
		found := ""
		for _, l := range langs {
			if strings.EqualFold(l, tag) {
				found = l
				break
			}
			if found == "" && base(l) == base(tag) {
				found = l
			}
		}
		if found != "" {
			best, bestQ = found, q
		}
	}
	return best
}
