package mailview

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/mailkeel/mailkeel/internal/message"
)

// maxName is how many bytes the name of a file has: less than any file system takes, so
// that there is room for what programs put behind it.
const maxName = 180

// partName returns the name of a part as a file: what its writer says, or one made of
// its path and type.
func partName(p *message.Part, path string) string {
	for _, name := range []string{param(p.DispositionParams, "filename"), param(p.Params, "name")} {
		if name = safeName(name); name != "" {
			return name
		}
	}
	if p.Envelope != nil {
		if name := safeName(message.DecodeHeader(p.Envelope.Subject)); name != "" {
			return cutName(name+".eml", maxName)
		}
	}
	return "part-" + path + extension(p.Type+"/"+p.Subtype)
}

func param(params []message.Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// safeName makes a name that others gave fit for every file system: it is one component
// without characters that mean something there or are not seen, and no device. It is
// empty if nothing is left.
func safeName(s string) string {
	if len(s) > 10*maxName { // most of it goes anyway
		s = cutName(strings.ToValidUTF8(s, ""), 10*maxName)
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`/\:*?"<>|`, r), r == 0x2215, r == 0x2044, r == 0xff0f, r == 0xff3c: // and what looks like a slash
			return '_'
		case r == '\t', unicode.Is(unicode.Zs, r), r == 0x2028, r == 0x2029:
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError:
			return -1 // as filters do that look at names
		case deceiving(r):
			return '_'
		}
		return r
	}, s)
	s = norm.NFC.String(strings.Join(strings.Fields(s), " "))
	// Windows drops dots and spaces at the end, others hide what begins with a dot.
	s = strings.TrimRight(s, ". ")
	s = strings.TrimLeft(s, ". ")
	if strings.Trim(s, "_ .") == "" {
		return ""
	}
	if device(s) {
		s = "_" + s
	}
	return cutName(s, maxName)
}

// device reports whether Windows takes a name for one of its devices.
func device(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	base = strings.NewReplacer("¹", "1", "²", "2", "³", "3").Replace(base)
	return len(base) == 4 && (strings.HasPrefix(base, "COM") || strings.HasPrefix(base, "LPT")) && base[3] >= '0' && base[3] <= '9'
}

// cutName cuts a long name before its extension. A name without one, or whose extension is
// too long to be one, does not get another.
func cutName(name string, max int) string {
	if len(name) <= max {
		return name
	}
	ext := ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 20 {
		ext = name[i:]
	}
	n := max - len(ext)
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	base := strings.TrimRight(name[:n], ". ")
	if ext == "" {
		base = strings.ReplaceAll(base, ".", "_")
	}
	return base + ext
}

// extension is what a file of a type has at the end of its name. The table is our own,
// so that names do not depend on the machine.
func extension(typ string) string {
	if ext, ok := extensions[typ]; ok {
		return ext
	}
	if strings.HasPrefix(typ, "text/") {
		return ".txt"
	}
	return ".bin"
}

var extensions = map[string]string{
	"text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", "text/calendar": ".ics", "text/vcard": ".vcf",
	"text/x-vcard": ".vcf", "text/directory": ".vcf", "text/xml": ".xml", "text/markdown": ".md", "text/rtf": ".rtf",
	"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/avif": ".avif",
	"image/svg+xml": ".svg", "image/bmp": ".bmp", "image/tiff": ".tif", "image/heic": ".heic",
	"audio/mpeg": ".mp3", "audio/ogg": ".ogg", "audio/wav": ".wav", "audio/mp4": ".m4a",
	"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov",
	"application/pdf": ".pdf", "application/zip": ".zip", "application/gzip": ".gz", "application/json": ".json",
	"application/xml": ".xml", "application/rtf": ".rtf", "application/msword": ".doc", "application/vnd.ms-excel": ".xls",
	"application/vnd.ms-powerpoint": ".ppt", "application/ics": ".ics",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   ".docx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         ".xlsx",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
	"application/vnd.oasis.opendocument.text":                                   ".odt",
	"application/vnd.oasis.opendocument.spreadsheet":                            ".ods",
	"application/pgp-signature":                                                 ".asc", "application/pgp-encrypted": ".asc", "application/pgp-keys": ".asc",
	"application/pkcs7-signature": ".p7s", "application/x-pkcs7-signature": ".p7s",
	"application/pkcs7-mime": ".p7m", "application/x-pkcs7-mime": ".p7m",
	"message/rfc822": ".eml", "message/global": ".eml", "message/delivery-status": ".txt", "text/rfc822-headers": ".txt",
}
