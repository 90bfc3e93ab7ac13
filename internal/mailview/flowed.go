package mailview

import (
	"strings"
	"unicode/utf8"
)

// unflow puts the lines of format=flowed text together again (RFC 3676, 4). Quotes keep
// one "> " for each level. delSp takes away the space that ends a line that goes on.
func unflow(s string, delSp bool) string {
	var b strings.Builder
	b.Grow(len(s))
	going, depth := false, 0 // the paragraph that goes on
	for ln := range strings.Lines(s) {
		ln = strings.TrimSuffix(ln, "\n")
		quotes := 0
		for quotes < len(ln) && ln[quotes] == '>' {
			quotes++
		}
		text := strings.TrimPrefix(ln[quotes:], " ") // space-stuffing (4.4)
		sig := text == "-- "
		if going && (quotes != depth || sig) { // which no sender should do (4.5)
			b.WriteByte('\n')
			going = false
		}
		if !going {
			for range min(quotes, 100) {
				b.WriteByte('>')
			}
			if quotes > 0 && text != "" {
				b.WriteByte(' ')
			}
		}
		going = strings.HasSuffix(text, " ") && !sig
		depth = quotes
		if going && delSp {
			text = text[:len(text)-1]
		}
		b.WriteString(text)
		if !going {
			b.WriteByte('\n')
		}
	}
	if going {
		b.WriteByte('\n')
	}
	return b.String()
}

// settled is a text as unflow reads it once flow has written it, without line ends at its
// end.
func settled(s string) string {
	return strings.TrimRight(unflow(strings.ReplaceAll(flow(s), "\r\n", "\n"), false), "\n")
}

// flowWidth is how long the lines of flowed text are, in characters (RFC 3676, 4.2).
const flowWidth = 72

// flow writes text, with LF, as format=flowed with CRLF: no line is longer than 998 bytes,
// unless it is one word. unflow gives the same text, but for spaces that end lines.
func flow(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/40)
	for ln := range strings.Lines(s) {
		ln = strings.TrimSuffix(ln, "\n")
		if ln != "-- " { // the line before a signature (4.3)
			ln = strings.TrimRight(ln, " ")
		}
		quotes := 0
		for rest := ln; strings.HasPrefix(rest, ">"); rest = ln[quotes:] {
			if quotes++; strings.HasPrefix(ln[quotes:], " >") { // "> >" is two levels, too
				ln = ln[:quotes] + ln[quotes+1:]
			}
		}
		prefix := ln[:quotes]
		text := strings.TrimPrefix(ln[quotes:], " ")
		if quotes == 0 {
			text = ln
		}
		for first := true; first || text != ""; first = false {
			var piece string
			piece, text = flowPiece(text, flowWidth-quotes-1)
			b.WriteString(prefix)
			if quotes > 0 && piece != "" || stuffed(piece) {
				b.WriteByte(' ')
			}
			b.WriteString(piece)
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

// stuffed reports whether a line must begin with a space so that it is read as it is
// (RFC 3676, 4.4). A "From " would be changed by mailbox files.
func stuffed(s string) bool {
	return strings.HasPrefix(s, " ") || strings.HasPrefix(s, ">") || strings.HasPrefix(s, "From ")
}

// flowPiece cuts text behind a space, at about width characters.
func flowPiece(text string, width int) (piece, rest string) {
	width = max(width, 20)
	if text == "-- " || utf8.RuneCountInString(text) <= width {
		return text, ""
	}
	n, cut := 0, -1
	for i, r := range text {
		if r == ' ' && i+1 < len(text) && text[i+1] != ' ' {
			if (n < width || cut < 0) && text[:i+1] != "-- " { // which would end the text
				cut = i + 1
			}
		}
		if n++; n > width && cut > 0 {
			break
		}
	}
	if cut < 0 {
		return text, ""
	}
	return text[:cut], text[cut:]
}
