package message

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestNamesCostGrowsAsTheSizeDoes is T24 for who asks for all names.
func TestNamesCostGrowsAsTheSizeDoes(t *testing.T) {
	generators := map[string]func(int) string{
		"names": func(n int) string { return "Content-Type: a/b" + strings.Repeat(";name=b", n/7) + "\n" },
		"names in pieces": func(n int) string {
			return "Content-Type: a/b" + strings.Repeat(";name*0=b;name*1*=c", n/19) + "\n"
		},
		"types":        func(n int) string { return strings.Repeat("Content-Type: a/b; name=x\n", n/26) },
		"empty types":  func(n int) string { return strings.Repeat("Content-Type:\n", n/14) },
		"dispositions": func(n int) string { return strings.Repeat("Content-Disposition: a; filename*=b'c'd\n", n/41) },
		"types in parts": func(n int) string {
			return mixed + strings.Repeat("--A\nContent-Type: a; name==?utf-8?Q?x?=\n\n", n/45)
		},
		"encoded words": func(n int) string {
			return "Content-Type: a/b; name=\"" + strings.Repeat("=?utf-8?Q?x?= ", n/14) + "\"\n"
		},
		"words not ended": func(n int) string { return "Content-Type: a/b; name=\"" + strings.Repeat("=?", n/2) + "\"\n" },
		"percent signs":   func(n int) string { return "Content-Type: a/b; name*=utf-8''" + strings.Repeat("%", n) + "\n" },
	}
	for name, gen := range hostile {
		generators[name] = gen
	}
	for name, gen := range generators {
		t.Run(name, func(t *testing.T) {
			var last float64
			for _, size := range []int{15_000, 30_000, 60_000} { // within the limit of a field
				content := gen(size)
				p := newParser(strings.NewReader(content))
				var told int
				p.all, p.found = true, func(_ *Part, names, types []string) {
					for _, s := range slices.Concat(names, types) {
						told += len(s) + 1
					}
				}
				if _, err := p.run(); err != nil {
					t.Fatal(err)
				}
				each := (float64(p.steps) + float64(told)) / float64(len(content))
				if each > 40 || last > 0 && each > 1.25*last+0.1 {
					t.Errorf("%.2f steps a byte for %d bytes, %.2f for half", each, len(content), last)
				}
				last = each
			}
		})
	}
}

// TestNamesSeesWhatParseSees checks that asking for names changes nothing.
func TestNamesSeesWhatParseSees(t *testing.T) {
	for name, gen := range hostile {
		content := gen(5000)
		m, _, err := ParseNames(strings.NewReader(content), func(*Part, []string, []string) {})
		if err != nil || !reflect.DeepEqual(m, parse(t, content)) {
			t.Errorf("%s: another message, %v", name, err)
		}
	}
}

func TestWhatIsBeyondIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		content string
		whole   bool
	}{
		"nothing":             {"", true},
		"a part":              {mixed + "--A\nContent-Type: a/b; name=x\n\nx\n--A--\n", true},
		"parts too deep":      {hostile["nested multiparts"](20_000), false},
		"messages too deep":   {hostile["nested messages"](20_000), false},
		"too many parts":      {mixed + strings.Repeat("--A\n\nx\n", MaxParts), false},
		"a type too long":     {"Content-Type: a/b; x=\"" + strings.Repeat("x", 70_000) + "\"; name=x.exe\n", false},
		"too many parameters": {"Content-Type: a/b" + strings.Repeat("; a=b", 300) + "; name=x.exe\n", false},
		"a header too large":  {strings.Repeat("X: y\n", 250_000) + "Content-Type: a/b; name=x.exe\n", false},
	} {
		if _, whole, err := ParseNames(strings.NewReader(tt.content), func(*Part, []string, []string) {}); whole != tt.whole || err != nil {
			t.Errorf("%s: whole %v, %v", name, whole, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a/b; name=x.exe", "attachment; filename*0*=utf-8''x; filename*1=.exe")
	f.Add("a/b name*=''%41", "=?utf-8?Q?x?=")
	f.Fuzz(func(t *testing.T, typ, disposition string) {
		content := fmt.Sprintf("Content-Type: %s\nContent-Disposition: %s\n\nx\n", typ, disposition)
		var names []string
		m, _, err := ParseNames(strings.NewReader(content), func(p *Part, n, types []string) {
			names = append(names, n...)
			if len(types) == 0 {
				t.Error("a part has no type")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, params := range [][]Param{m.Root.Params, m.Root.DispositionParams} {
			for _, p := range params {
				if (p.Name == "name" || p.Name == "filename") && !slices.Contains(names, p.Value) && !strings.Contains(content, "\n--") {
					t.Errorf("%q is not among %q", p.Value, names)
				}
			}
		}
	})
}
