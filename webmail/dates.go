package webmail

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// date is short, for lists: the time of today's, "Yesterday", the day of the week of the
// last six days, the day of this year's.
func (w *words) date(t, now time.Time, loc *time.Location) string {
	if t.IsZero() {
		return ""
	}
	t, now = t.In(loc), now.In(loc)
	y, m, d := t.Date()
	ny, nm, nd := now.Date()
	// Days of the calendar, not of 24 hours: clocks change.
	days := int(time.Date(ny, nm, nd, 0, 0, 0, 0, time.UTC).Sub(time.Date(y, m, d, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
	switch {
	case days == 0:
		return t.Format("15:04")
	case days == 1:
		return w.t("date.yesterday")
	case days > 1 && days < 7:
		return w.weekday(t.Weekday())
	case y == ny:
		return w.t("date.day", d, w.month(m))
	}
	return w.t("date.year", d, w.month(m), y)
}

// datetime is whole.
func (w *words) datetime(t time.Time, loc *time.Location) string {
	if t.IsZero() {
		return ""
	}
	t = t.In(loc)
	return w.t("date.time", w.t("date.year", t.Day(), w.month(t.Month()), t.Year()), t.Format("15:04"), w.weekday(t.Weekday()))
}

// ago is how long ago it was, up to a week; before that, people count in dates.
func (w *words) ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero(), d < -time.Minute, d >= 7*24*time.Hour:
		return ""
	case d < time.Minute:
		return w.t("ago.now")
	case d < time.Hour:
		return w.tn("ago.minutes", int(d/time.Minute))
	case d < 24*time.Hour:
		return w.tn("ago.hours", int(d/time.Hour))
	default:
		return w.tn("ago.days", int(d/(24*time.Hour)))
	}
}

func (w *words) month(m time.Month) string {
	names := strings.Fields(w.t("date.months"))
	if len(names) != 12 {
		return strconv.Itoa(int(m))
	}
	return names[m-1]
}

// weekday begins with Sunday.
func (w *words) weekday(d time.Weekday) string {
	names := strings.Fields(w.t("date.days"))
	if len(names) != 7 {
		return ""
	}
	return names[d]
}

// size is about how many bytes.
func (w *words) size(n int64) string {
	switch {
	case n < 1000:
		return w.tn("size.bytes", int(n))
	case n < 1_000_000:
		return w.t("size.kb", (n+500)/1000)
	}
	return w.t("size.mb", strings.Replace(fmt.Sprintf("%.1f", float64(n)/1e6), ".", w.t("decimal"), 1))
}
