package webmail

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Every colour of the pages has a name here, and style.css has no other. Each is
// "#rrggbb" or "#rgb", so that it can be told whether people can read what has it.

// lightColors and darkColors are those of the two themes. Brand.Colors and Brand.Dark
// replace them.
var lightColors = map[string]string{
	"accent":      "#2456c0", // links, the button that matters, what is unread
	"on-accent":   "#ffffff", // text on it
	"accent-soft": "#e6edfb", // behind what is chosen
	"ground":      "#ffffff", // behind everything
	"side":        "#f6f7f8", // behind folders and the bar at the top
	"raised":      "#eff0f2", // behind fields, bars and chips
	"hover":       "#f1f2f4", // behind what is pointed at
	"text":        "#1b1d21",
	"quiet":       "#595e68", // text that comes second
	"line":        "#dfe1e5", // between things
	"field":       "#858a94", // around what can be filled in
	"danger":      "#b0261c", // what is wrong
	"danger-soft": "#fdecea", // behind it
	"warn":        "#714600", // what to take care of
	"warn-soft":   "#fdf2d8", // behind it
	"good":        "#17602f", // what was done
	"good-soft":   "#e5f4e9", // behind it
	"flag":        "#b45309", // of a flagged message
}

var darkColors = map[string]string{
	"accent": "#8fb3ff", "on-accent": "#0c1930", "accent-soft": "#212e49",
	"ground": "#18191c", "side": "#121316", "raised": "#25272c", "hover": "#212328",
	"text": "#e4e6ea", "quiet": "#a3a8b2", "line": "#2e3138", "field": "#757b86",
	"danger": "#ffa198", "danger-soft": "#40201e", "warn": "#f1c876", "warn-soft": "#382c14", "good": "#92d6a4", "good-soft": "#1a3223",
	"flag": "#f0a54a",
}

// A pair is a colour that has to be told from what is behind it, and by what ratio
// (WCAG 2.2, 1.4.3 and 1.4.11).
type pair struct {
	front, back string
	ratio       float64
}

var pairs = []pair{
	{"text", "ground", 4.5}, {"text", "side", 4.5}, {"text", "raised", 4.5}, {"text", "hover", 4.5}, {"text", "accent-soft", 4.5},
	{"quiet", "ground", 4.5}, {"quiet", "side", 4.5}, {"quiet", "raised", 4.5}, {"quiet", "hover", 4.5}, {"quiet", "accent-soft", 4.5},
	{"accent", "ground", 4.5}, {"accent", "side", 4.5}, {"accent", "accent-soft", 4.5}, {"on-accent", "accent", 4.5},
	{"danger", "ground", 4.5}, {"danger", "hover", 4.5}, {"danger", "danger-soft", 4.5}, {"warn", "warn-soft", 4.5}, {"good", "good-soft", 4.5}, {"good", "ground", 4.5},
	{"field", "ground", 3}, {"flag", "ground", 3}, {"flag", "hover", 3}, {"flag", "accent-soft", 3},
}

// A rgb is a colour, each part from 0 to 255.
type rgb [3]float64

func parseColor(s string) (c rgb, err error) {
	hex, ok := strings.CutPrefix(s, "#")
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if !ok || len(hex) != 6 || err != nil {
		return c, fmt.Errorf(`%q is no colour such as "#2456c0"`, s)
	}
	return rgb{float64(n >> 16), float64(n >> 8 & 0xFF), float64(n & 0xFF)}, nil
}

func (c rgb) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0])), int(math.Round(c[1])), int(math.Round(c[2])))
}

// mix is c with a share of d, from 0 to 1.
func (c rgb) mix(d rgb, share float64) rgb {
	for i := range c {
		c[i] += (d[i] - c[i]) * share
	}
	return c
}

// luminance is how light a colour is, from 0 to 1 (WCAG 2.2, "relative luminance").
func (c rgb) luminance() float64 {
	l := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v := c[i] / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		l += weight * v
	}
	return l
}

// contrast is from 1 to 21.
func contrast(a, b rgb) float64 {
	la, lb := a.luminance(), b.luminance()
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

var black, white = rgb{}, rgb{255, 255, 255}

// theme is base with the colours of a brand. Who names an accent need not name what
// goes with it.
func theme(field string, base, brand map[string]string) (map[string]rgb, error) {
	out := map[string]rgb{}
	for name, value := range base {
		c, err := parseColor(value)
		if err != nil {
			return nil, err
		}
		out[name] = c
	}
	for name, value := range brand {
		c, err := parseColor(value)
		if err != nil {
			return nil, fmt.Errorf("webmail: %s: %s: %w", field, name, err)
		}
		if _, ok := out[name]; !ok {
			return nil, fmt.Errorf("webmail: %s: there is no colour %q; there are %s", field, name, strings.Join(slices.Sorted(maps.Keys(base)), ", "))
		}
		out[name] = c
	}
	if brand["accent"] != "" {
		accent := out["accent"]
		if brand["on-accent"] == "" {
			if out["on-accent"] = white; contrast(white, accent) < 4.5 {
				out["on-accent"] = black
			}
		}
		if brand["accent-soft"] == "" {
			for share := 0.18; share > 0.03; share -= 0.02 {
				soft := out["ground"].mix(accent, share)
				if out["accent-soft"] = soft; min(contrast(accent, soft), contrast(out["quiet"], soft)) >= 4.5 {
					break
				}
			}
		}
	}
	for _, p := range pairs {
		if got := contrast(out[p.front], out[p.back]); got < p.ratio {
			return nil, fmt.Errorf("webmail: %s: %s (%v) on %s (%v) has a contrast of %.2f: people need %.1f", field, p.front, out[p.front], p.back, out[p.back], got, p.ratio)
		}
	}
	return out, nil
}

// darkAccent is a colour as light as a dark page needs it.
func darkAccent(accent string) string {
	c, err := parseColor(accent)
	if err != nil {
		return accent // theme says so
	}
	ground, _ := parseColor(darkColors["ground"])
	for share := 0.0; share < 1; share += 0.05 {
		if m := c.mix(white, share); contrast(m, ground) >= 7 {
			return m.String()
		}
	}
	return white.String()
}

// themes are the colours of both themes.
func (b *Brand) themes() (light, dark map[string]rgb, err error) {
	if light, err = theme("Brand.Colors", lightColors, b.Colors); err != nil {
		return nil, nil, err
	}
	own := maps.Clone(b.Dark)
	if own == nil {
		own = map[string]string{}
	}
	if own["accent"] == "" && b.Colors["accent"] != "" {
		own["accent"] = darkAccent(b.Colors["accent"])
	}
	dark, err = theme("Brand.Dark", darkColors, own)
	return light, dark, err
}

// css are the colours as variables of a style sheet.
func (b *Brand) css() (string, error) {
	light, dark, err := b.themes()
	if err != nil {
		return "", err
	}
	var s strings.Builder
	block := func(open, scheme string, colors map[string]rgb, shut string) {
		s.WriteString(open + "{color-scheme:" + scheme)
		for _, name := range slices.Sorted(maps.Keys(colors)) {
			fmt.Fprintf(&s, ";--%s:%v", name, colors[name])
		}
		s.WriteString("}" + shut + "\n")
	}
	block(":root", "light", light, "")
	block(":root[data-theme=dark]", "dark", dark, "")
	block("@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light])", "dark", dark, "}")
	// Paper is white, whatever the theme.
	block("@media print{:root:root", "light", light, "}")
	return s.String(), nil
}
