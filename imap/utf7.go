package imap

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Modified UTF-7 is how IMAP4rev1 spells the names of mailboxes (RFC 3501, 5.1.3).
var utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// encodeUTF7 turns UTF-8 into modified UTF-7.
func encodeUTF7(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] <= '~' && s[i] != '&'
	}
	if plain {
		return s
	}
	var sb strings.Builder
	var run []byte // UTF-16BE of what cannot stand as it is
	flush := func() {
		if len(run) > 0 {
			sb.WriteByte('&')
			sb.WriteString(utf7Base64.EncodeToString(run))
			sb.WriteByte('-')
			run = run[:0]
		}
	}
	for _, r := range s {
		switch {
		case r == '&':
			flush()
			sb.WriteString("&-")
		case r >= ' ' && r <= '~':
			flush()
			sb.WriteByte(byte(r))
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				run = append(run, byte(u>>8), byte(u))
			}
		}
	}
	flush()
	return sb.String()
}

// decodeUTF7 turns modified UTF-7 into UTF-8. It refuses what no encoder writes,
// so that a name has one spelling, but lets UTF-8 pass, which some clients send.
func decodeUTF7(s string) (string, bool) {
	var sb strings.Builder
	joined := false // the last run ended here: two runs would have been one
	for s != "" {
		i := strings.IndexByte(s, '&')
		if i != 0 {
			if i < 0 {
				i = len(s)
			}
			sb.WriteString(s[:i])
			s, joined = s[i:], false
			continue
		}
		end := strings.IndexByte(s, '-')
		if end < 0 {
			return "", false
		}
		run := s[1:end]
		s = s[end+1:]
		if run == "" {
			sb.WriteByte('&')
			joined = false
			continue
		}
		if strings.ContainsAny(run, "\r\n") || joined {
			return "", false
		}
		b, err := utf7Base64.DecodeString(run)
		if err != nil || len(b)%2 != 0 {
			return "", false
		}
		for j := 0; j < len(b); j += 2 {
			r := rune(b[j])<<8 | rune(b[j+1])
			if utf16.IsSurrogate(r) {
				if j+3 >= len(b) {
					return "", false
				}
				j += 2
				if r = utf16.DecodeRune(r, rune(b[j])<<8|rune(b[j+1])); r == utf8.RuneError {
					return "", false
				}
			}
			if r >= ' ' && r <= '~' {
				return "", false // had to stand as it is
			}
			sb.WriteRune(r)
		}
		joined = true
	}
	return sb.String(), true
}
