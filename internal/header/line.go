package header

// maxName is where the colon of a field stands at the latest.
const maxName = 998

// Colon returns the index of the colon in a line that begins a field, or -1 if
// the line does not. Every part of this module that asks where a header ends asks
// this function, so that all agree: a header ends at an empty line, or before the
// first line that is neither a field, nor folded onto one, nor a "From " line at
// the very start.
//
// The colon is among the first 998 bytes, the most that a line may have (RFC 5322,
// 2.1.1): more is not asked for, so that readers with buffers of different sizes
// agree. A name is of printable ASCII without spaces (RFC 5322, 3.6.8); spaces between
// it and the colon are let pass (RFC 5322, 4.5).
func Colon(line []byte) int {
	line = line[:min(len(line), maxName)]
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] < 127 && line[n] != ':' {
		n++
	}
	if n == 0 {
		return -1
	}
	i := n
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i < len(line) && line[i] == ':' {
		return i
	}
	return -1
}

// Blank reports whether a line ends a header: nothing but its line end, of which
// CR CR LF is one too.
func Blank(line []byte) bool {
	n := len(line)
	if n == 0 || line[n-1] != '\n' {
		return false
	}
	for _, c := range line[:n-1] {
		if c != '\r' {
			return false
		}
	}
	return true
}

// Folded reports whether a line continues the field before it (RFC 5322, 2.2.3).
func Folded(line []byte) bool {
	return len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
}

// Mbox reports whether a line is the separator of a mailbox file. As the first
// line of a header it is passed over.
func Mbox(line []byte) bool {
	if len(line) > 0 && line[0] == '>' {
		line = line[1:]
	}
	return len(line) >= 5 && string(line[:5]) == "From "
}
