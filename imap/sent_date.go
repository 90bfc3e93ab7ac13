package imap

import (
	"strings"
	"time"
)

// sentDate is the date and time in a Date field (RFC 5256, 2.2): a time zone that is
// none is UTC, a time that is none is midnight. It reports false if there is no date.
func sentDate(field string) (time.Time, bool) {
	words := dateWords(field)
	if len(words) > 0 && !isDigit(words[0][0]) {
		words = words[1:] // the day of the week
	}
	if len(words) < 3 {
		return time.Time{}, false
	}
	day, ok := digits(words[0], 1, 2)
	month := monthOf(words[1])
	year, isYear := digits(words[2], 2, 4)
	if !ok || !isYear || month == 0 {
		return time.Time{}, false
	}
	switch len(words[2]) { // RFC 5322, 4.3
	case 2:
		year += 1900
		if year < 1950 {
			year += 100
		}
	case 3:
		year += 1900
	}
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	if t.Day() != day {
		return time.Time{}, false // 30 February
	}
	if len(words) < 4 {
		return t, true
	}
	clock, ok := clockOf(words[3])
	if t = t.Add(clock); ok && len(words) > 4 {
		t = t.Add(-zoneOf(words[4]))
	}
	return t, true
}

// dateWords returns up to six words of a date, without its comments and commas.
func dateWords(s string) (words []string) {
	depth := 0
	from := -1
	for i := 0; i <= len(s) && len(words) < 6; i++ {
		c := byte(' ')
		if i < len(s) {
			c = s[i]
		}
		if depth == 0 && c > ' ' && c != '(' && c != ')' && c != ',' {
			if from < 0 {
				from = i
			}
			continue
		}
		if from >= 0 {
			words = append(words, s[from:i])
			from = -1
		}
		switch {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		}
	}
	// "Mon,1-Jan-2024" and the like.
	for i, w := range words {
		if i <= 1 && strings.Count(w, "-") == 2 {
			words = append(append(words[:i:i], strings.Split(w, "-")...), words[i+1:]...)
			break
		}
	}
	for _, w := range words {
		if w == "" {
			return nil
		}
	}
	return words
}

// digits reads a number of min to max digits.
func digits(s string, min, max int) (n int, ok bool) {
	if len(s) < min || len(s) > max {
		return 0, false
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func monthOf(s string) time.Month {
	const names = "janfebmaraprmayjunjulaugsepoctnovdec"
	if len(s) < 3 {
		return 0
	}
	i := strings.Index(names, strings.ToLower(s[:3]))
	if i < 0 || i%3 != 0 {
		return 0
	}
	return time.Month(i/3 + 1)
}

// clockOf reads hh:mm or hh:mm:ss.
func clockOf(s string) (d time.Duration, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	limit, unit := 23, time.Hour
	for _, p := range parts {
		n, ok := digits(p, 1, 2)
		if !ok || n > limit {
			return 0, false
		}
		d += time.Duration(n) * unit
		unit /= 60
		if limit = 59; unit == time.Second {
			limit = 60 // a leap second
		}
	}
	return d, true
}

// zoneOf is how far a time zone is ahead of UTC; zero if it is none.
func zoneOf(s string) time.Duration {
	switch strings.ToUpper(s) { // RFC 5322, 4.3; other letters say nothing
	case "EDT":
		return -4 * time.Hour
	case "EST", "CDT":
		return -5 * time.Hour
	case "CST", "MDT":
		return -6 * time.Hour
	case "MST", "PDT":
		return -7 * time.Hour
	case "PST":
		return -8 * time.Hour
	}
	if len(s) != 5 || s[0] != '+' && s[0] != '-' {
		return 0
	}
	n, ok := digits(s[1:], 4, 4)
	if !ok || n%100 > 59 {
		return 0
	}
	d := time.Duration(n/100)*time.Hour + time.Duration(n%100)*time.Minute
	if s[0] == '-' {
		d = -d
	}
	return d
}
