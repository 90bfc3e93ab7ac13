package message

import (
	"io"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/internal/charset"
)

// ParseNames is Parse for who asks what a part may be called. For each part, before
// those inside it, it calls found with all names that a program may find for it, and all
// types, in lower case. The name that Part gives as a parameter, which we show, is among
// them; the others are of further forms, fields and parameters that contradict it, and
// readings of what is not well formed. found may not keep part.
//
// whole is false if there was more than is looked at: parts beyond the limits, or a
// field that is too long.
func ParseNames(r io.Reader, found func(part *Part, names, types []string)) (m *Message, whole bool, err error) {
	p := newParser(r)
	p.found, p.all = found, true
	m, err = p.run()
	return m, !p.beyond, err
}

// tell calls found for the part whose header is at hand.
func (p *parser) tell(part *Part) {
	types := []string{part.Type + "/" + part.Subtype}
	var names []string
	for _, id := range [...]field{contentType, typeAgain, contentDisposition, dispositionAgain} {
		if !p.seen[id] && len(p.value[id]) == 0 {
			continue
		}
		p.beyond = p.beyond || len(p.value[id]) >= maxField
		for line := range strings.SplitSeq(p.get(id), "\n") {
			if line == "" {
				continue
			}
			token, params, _ := strings.Cut(line, ";")
			if id == contentType || id == typeAgain {
				if t, s, _, ok := parseType(line, &p.steps); ok {
					types = append(types, t+"/"+s)
				} else {
					types = append(types, strings.ToLower(strings.Trim(token, " \t")))
				}
			}
			pieces := parsePieces(params, &p.steps)
			p.beyond = p.beyond || len(pieces) >= maxParams
			names = candidates(names, pieces)
			// As it is parsed otherwise: a type without a semicolon after it.
			if _, _, rest, ok := parseType(line, &p.steps); ok && !strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";") {
				names = candidates(names, parsePieces(rest, &p.steps))
			} else if _, rest := parseToken(line, &p.steps); !strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";") {
				names = candidates(names, parsePieces(rest, &p.steps))
			}
		}
	}
	for _, params := range [...][]Param{part.Params, part.DispositionParams} {
		for _, a := range params {
			if a.Name == "name" || a.Name == "filename" {
				names = append(names, a.Value)
			}
		}
	}
	p.found(part, names, types)
}

// candidates appends the values of name and filename in every form that there is: each
// plain one, each encoded whole, the pieces together, and the first alone.
func candidates(names []string, pieces []piece) []string {
	add := func(s string) {
		if s != "" {
			names = append(names, clean(charset.Decode("", []byte(s))))
			if strings.Contains(s, "=?") {
				names = append(names, DecodeHeader(s))
			}
		}
	}
	for _, name := range []string{"name", "filename"} {
		var parts []piece
		for _, p := range pieces {
			switch {
			case p.name != name:
			case p.index >= 0:
				parts = append(parts, p)
			case p.encoded:
				add(decodeParts([]piece{p}))
				add(p.value) // for those who know no encoding
			default:
				add(p.value)
			}
		}
		if len(parts) == 0 {
			continue
		}
		add(decodeParts(slices.Clone(parts)))
		add(decodeParts(slices.Clone(parts[:1])))
		var plain, written strings.Builder // without decoding, and in the order in which they stand
		for _, p := range parts {
			written.WriteString(string(unpercent(p.value)))
		}
		slices.SortStableFunc(parts, func(a, b piece) int { return a.index - b.index })
		for _, p := range parts {
			plain.WriteString(p.value)
		}
		add(plain.String())
		add(written.String())
	}
	return names
}
