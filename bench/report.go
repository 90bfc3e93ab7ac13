package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

// tables prints all works that were measured, for people.
func (r *results) tables() string {
	var b strings.Builder
	for _, w := range works() {
		if t := r.table(&w); t != "" {
			fmt.Fprintf(&b, "\n## %s\n\n%s", w.about, t)
		}
	}
	if t := r.verdict(); t != "" {
		fmt.Fprintf(&b, "\n## Against the targets\n\n%s", t)
	}
	return b.String()
}

// best is the reference with the best median of a figure, or "".
func (r *results) best(w *work, kase string, c column) (name string) {
	var med float64
	for _, ref := range w.references {
		s := r.spread(w.name, kase, ref, c.figure)
		if s.n > 0 && (name == "" || c.less && s.med < med || !c.less && s.med > med) {
			name, med = ref, s.med
		}
	}
	return name
}

// reference is the one that ratios of a case are taken of: the best in the first
// column.
func (r *results) reference(w *work, kase string) string { return r.best(w, kase, w.columns[0]) }

// table is that of a work in Markdown, or empty. Below each case stand the ratios of
// ours to the reference, of runs that followed each other.
func (r *results) table(w *work) string {
	if w.name == "imap" {
		return r.lines(w)
	}
	var b strings.Builder
	head := []string{"server"}
	if len(w.cases) > 1 {
		head = append([]string{"case"}, head...)
	}
	for _, c := range w.columns {
		head = append(head, c.title)
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	rows := 0
	row := func(kase string, cells ...string) {
		if len(w.cases) > 1 {
			cells = append([]string{kase}, cells...)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	for _, k := range w.cases {
		ref := r.reference(w, k.name)
		title := r.title(w, &k)
		for _, s := range k.servers {
			cells := []string{s.name(w.name)}
			n := 0
			for _, c := range w.columns {
				v := r.spread(w.name, k.name, cells[0], c.figure)
				n += v.n
				cells = append(cells, v.in(c.format))
			}
			if n > 0 {
				rows++
				row(title, cells...)
			}
		}
		for _, s := range k.servers {
			if _, ours := s.(*postoffice); !ours || ref == "" {
				continue
			}
			cells := []string{fmt.Sprintf("*%s : %s*", s.name(w.name), ref)}
			n := 0
			for _, c := range w.columns {
				cell := ""
				if c.ratio {
					v := r.ratio(w.name, k.name, s.name(w.name), ref, c.figure)
					n += v.n
					cell = "**" + v.in("%.2f") + "**"
				}
				cells = append(cells, cell)
			}
			if n > 0 {
				row(title, cells...)
			}
		}
	}
	if rows == 0 {
		return ""
	}
	return b.String()
}

// title is what a case is called in tables.
func (r *results) title(w *work, k *kase) string {
	switch {
	case w.name == "memory" && k.sessions < 0:
		return fmt.Sprintf("%s sessions", thousands(r.Setup.ManySessions))
	case w.name == "memory":
		return fmt.Sprintf("%d sessions", r.Setup.Sessions)
	case k.about != "":
		return strings.NewReplacer("{all}", thousands(r.Setup.Mailbox), "{list}", thousands(min(listed, r.Setup.Mailbox)),
			"{many}", thousands(r.Setup.ManySessions), "{clients}", thousands(imapClients)).Replace(k.about)
	case k.name == caseStored:
		return thousands(r.Setup.Stored) + " messages stored"
	}
	return k.name
}

// A target is a line of what is to be reached.
type target struct {
	text       string // with how many are stored, if that matters
	work, kase string
	figure     string
	// ratio compares with the reference; otherwise the figure itself counts. limit
	// is the least, or with atMost the most, and as is how it is printed.
	ratio, atMost bool
	limit         float64
	as            string
}

var targets = []target{
	{"accept, 50 sessions: 4 times Postfix", "accept", "50 sessions", rate, true, false, 4, "%.2f"},
	{"and a fifth of its CPU for each message", "accept", "50 sessions", cpu, true, true, 1.0 / 5, "%.3f"},
	{"accept, 10 sessions: twice Postfix", "accept", "10 sessions", rate, true, false, 2, "%.2f"},
	{"accept, one session: 1.5 times Postfix", "accept", "1 session", rate, true, false, 1.5, "%.2f"},
	{"file into 20 accounts, 20 sessions: 10 times Postfix + Dovecot", "file", "20 sessions", rate, true, false, 10, "%.2f"},
	{"and a fifteenth of their CPU", "file", "20 sessions", cpu, true, true, 1.0 / 15, "%.3f"},
	{"relay until all is delivered: 4 times Postfix", "relay", "20 sessions", rate, true, false, 4, "%.2f"},
	{"p99 of accept, 50 sessions: a quarter of Postfix's", "accept", "50 sessions", p99, true, true, 1.0 / 4, "%.3f"},
	{"memory of an active session: a fifteenth of Postfix's", "memory", "some sessions", session, true, true, 1.0 / 15, "%.3f"},
	{"start with %s messages stored: under 300 ms", "start", caseStored, ready, false, true, 300, "%.0f"},
	{"start with nothing stored: under 20 ms", "start", caseEmpty, ready, false, true, 20, "%.1f"},
	{"resident then: under 25 MiB", "start", caseEmpty, rss, false, true, 25, "%.1f"},
}

// verdict compares with the targets, or is empty.
func (r *results) verdict() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| target | %s | reached | %s | reached |\n|---|---|---|---|---|\n", filtersOff, filtersOn)
	rows := 0
	for _, t := range targets {
		text := t.text
		if t.kase == caseStored {
			text = fmt.Sprintf(text, thousands(r.Setup.Stored))
		}
		cells := []string{text}
		n := 0
		for _, server := range []string{filtersOff, filtersOn} {
			s := r.reach(t, server)
			n += s.n
			reached := "-"
			if s.n > 0 {
				reached = "yes"
				if t.atMost && s.med > t.limit || !t.atMost && s.med < t.limit {
					reached = "**no**"
				}
			}
			cells = append(cells, s.in(t.as), reached)
		}
		if n > 0 {
			rows++
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	if rows == 0 {
		return ""
	}
	return b.String()
}

// reach is what counts for a target.
func (r *results) reach(t target, server string) spread {
	if !t.ratio {
		return r.spread(t.work, t.kase, server, t.figure)
	}
	for _, w := range works() {
		if w.name == t.work {
			return r.ratio(t.work, t.kase, server, r.reference(&w, t.kase), t.figure)
		}
	}
	return spread{}
}

// noise is how much of the processors others used, in a sentence.
func (r *results) noise() string {
	var v []float64
	for _, s := range r.Samples {
		if f, ok := s.Figures[others]; ok {
			v = append(v, f)
		}
	}
	if s := spreadOf(v); s.n > 0 {
		return fmt.Sprintf("Meanwhile, other processes used %s cores (median [least..most] of all runs).", s.in("%.2f"))
	}
	return ""
}

//go:embed results.tmpl
var prose string

// markdown is RESULTS.md: the prose of results.tmpl with the tables in it.
func (r *results) markdown() ([]byte, error) {
	t, err := template.New("RESULTS.md").Funcs(template.FuncMap{
		"table": func(name string) (string, error) {
			for _, w := range works() {
				if w.name == name {
					if t := r.table(&w); t != "" {
						return strings.TrimSpace(t), nil
					}
					return "Not measured.", nil
				}
			}
			return "", fmt.Errorf("there is no work %q", name)
		},
		"about": func(name string) string {
			for _, w := range works() {
				if w.name == name {
					return w.about
				}
			}
			return name
		},
		"verdict":   func() string { return strings.TrimSpace(r.verdict()) },
		"noise":     r.noise,
		"thousands": thousands,
		"users":     func() int { return users },
	}).Parse(prose)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, r.Setup)
	return b.Bytes(), err
}
