package webmail

import (
	"path"
	"strings"
	"unicode"

	"github.com/mailkeel/mailkeel/internal/mailview"
)

// What small things on pages say at a glance: icons, letters, kinds of files. The names
// of icons are those of classes in style.css.

// folderIcon is the icon of a folder.
func folderIcon(f mailview.Folder) string {
	switch f.Role {
	case "inbox", "drafts", "sent", "archive", "junk", "trash":
		if f.Owner == "" {
			return f.Role
		}
	case "flagged":
		return "flag"
	}
	return "folder"
}

// emptyText says what an empty folder is for, or nothing.
func emptyText(w *words, f mailview.Folder) string {
	if f.Owner != "" {
		return ""
	}
	t, _ := w.find("empty." + f.Role)
	return t
}

// who is whom a row of a list names.
func who(w *words, row mailview.Row, outgoing bool) string {
	if outgoing {
		if s := names(row.To); s != "" {
			return s
		}
		return w.t("norecipient")
	}
	if s := names(row.From); s != "" {
		return s
	}
	return w.t("nobody")
}

// initial is the first letter or digit of a name.
func initial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "?"
}

func fileIcon(kind string) string {
	if strings.HasPrefix(kind, "image/") {
		return "image"
	}
	return "file"
}

// fileKind is what a file is, in a word: its extension, or the second half of its type.
func fileKind(name, kind string) string {
	ext := strings.TrimPrefix(path.Ext(name), ".")
	if ext == "" || len(ext) > 5 || strings.TrimFunc(ext, func(r rune) bool { return r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) }) != "" {
		_, ext, _ = strings.Cut(kind, "/")
		if ext = strings.TrimPrefix(ext, "x-"); len(ext) > 16 {
			ext = ext[:16]
		}
	}
	return strings.ToUpper(ext)
}

// checked is what results such as "spf=pass dmarc=fail" say of who sent a message: only
// DMARC is about the address that people see (RFC 7489, 3.1).
func checked(authentic string) string {
	for word := range strings.FieldsSeq(authentic) {
		switch word {
		case "dmarc=pass":
			return "pass"
		case "dmarc=fail":
			return "fail"
		}
	}
	return ""
}

// frameHeight is about how high HTML is, in pixels, if it is a few lines of text as
// people write them. What is designed gets as much as the window has: zero. The frame
// has no scripts that could tell, and scrolls if this is too little.
func frameHeight(html string) int {
	if len(html) > 20<<10 {
		return 0
	}
	lower := strings.ToLower(html)
	if strings.Contains(lower, "<table") || strings.Contains(lower, "<img") || strings.Contains(lower, "height") || strings.Contains(lower, "background") {
		return 0
	}
	lines, text := 0, 0
	for i := 0; i < len(lower); i++ {
		if lower[i] != '<' {
			text++
			continue
		}
		end := strings.IndexByte(lower[i:], '>')
		if end < 0 {
			break
		}
		switch tag, _, _ := strings.Cut(lower[i+1:i+end], " "); tag {
		case "p", "h1", "h2", "h3", "h4", "ul", "ol", "blockquote", "hr", "pre":
			lines += 2
			fallthrough
		case "br", "br/", "div", "li", "dt", "dd":
			lines += 1 + text/60
			text = 0
		}
		i += end
	}
	lines += 2 + text/60
	if height := 40 + 23*lines; height < 900 {
		return max(height, 120)
	}
	return 0
}
