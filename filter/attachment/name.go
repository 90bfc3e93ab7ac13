package attachment

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// judge says whether a name is bad, and why. exts are in lower case.
func judge(name string, exts []string) (why string, bad bool) {
	if len(exts) == 0 || name == "" {
		return "", false
	}
	if strings.ContainsAny(name, "\u202d\u202e") {
		return "has a name that runs backwards", true
	}
	// Of a path the last part counts, and of that what stands before and after a colon:
	// it may be a drive or a stream. Some letters are taken for others.
	for _, path := range []string{name, norm.NFKC.String(name)} {
		parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
		if len(parts) == 0 {
			continue
		}
		for part := range strings.SplitSeq(parts[len(parts)-1], ":") {
			ext, ok := extension(part)
			if ok && (has(exts, ext) || strings.HasPrefix(ext, "{") && strings.HasSuffix(ext, "}")) {
				return "is a program (." + ext + ")", true
			}
		}
	}
	return "", false
}

// extension returns the last extension of a name, in lower case, without what is not
// seen and what Windows drops from the end.
func extension(name string) (string, bool) {
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) || r == '\ufffd' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	name = strings.TrimRightFunc(name, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`."'>;?`, r) })
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", false
	}
	return strings.TrimSpace(name[i+1:]), true
}

func has(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}
