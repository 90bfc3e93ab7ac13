package webmail

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// date is short, for lists: the time of today's, the day of this year's.
func (w *words) date(t, now time.Time, loc *time.Location) string {
	if t.IsZero() {
		return ""
	}
	t, now = t.In(loc), now.In(loc)
	y, m, d := t.Date()
	ny, nm, nd := now.Date()
	switch {
	case y == ny && m == nm && d == nd:
		return t.Format("15:04")
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
	return w.t("date.time", w.t("date.year", t.Day(), w.month(t.Month()), t.Year()), t.Format("15:04"))
}

func (w *words) month(m time.Month) string {
	names := strings.Fields(w.t("date.months"))
	if len(names) != 12 {
		return strconv.Itoa(int(m))
	}
	return names[m-1]
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
