package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table shows rows in columns.
type table struct {
	w     *tabwriter.Writer
	cells func(json.RawMessage) ([]string, error)
	n     int
	none  string // what is said without rows
	head  string
}

func newTable(w io.Writer, head, none string, cells func(json.RawMessage) ([]string, error)) *table {
	return &table{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), cells: cells, none: none, head: head}
}

func (t *table) row(raw json.RawMessage) error {
	cells, err := t.cells(raw)
	if err != nil {
		return err
	}
	if t.n == 0 {
		fmt.Fprintln(t.w, t.head)
	}
	t.n++
	for i, c := range cells {
		cells[i] = plain(c)
	}
	_, err = fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	return err
}

func (t *table) end() error {
	if t.n == 0 && t.none != "" {
		fmt.Fprintln(t.w, t.none)
	}
	return t.w.Flush()
}

// plain makes text from elsewhere harmless for a terminal: one line without
// control characters, and something where there is nothing.
func plain(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// says shows each row as a sentence.
type says struct {
	w    io.Writer
	text func(json.RawMessage) (string, error)
}

func (s says) row(raw json.RawMessage) error {
	text, err := s.text(raw)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.w, text)
	return err
}

func (says) end() error { return nil }

// decoded makes a function of rows from one of a type.
func decoded[R, T any](fn func(R) T) func(json.RawMessage) (T, error) {
	return func(raw json.RawMessage) (t T, err error) {
		var r R
		if err := json.Unmarshal(raw, &r); err != nil {
			return t, fmt.Errorf("bad answer: %w", err)
		}
		return fn(r), nil
	}
}

func showAccount(done string) func(io.Writer) shower {
	return func(w io.Writer) shower {
		return says{w, decoded(func(a Account) string {
			s := "account " + plain(a.Address) + " " + done
			if done == "deleted" {
				s += "; its mail (" + FormatSize(a.Used) + ") is removed by the server that runs, within a minute"
			}
			if a.Password != "" {
				s += "\npassword: " + a.Password
			}
			return s
		})}
	}
}

func showAccounts(w io.Writer) shower {
	return newTable(w, "ADDRESS\tNAME\tUSED\tQUOTA\tSTATE\tSEND-AS\tADMIN-OF", "no accounts", decoded(func(a Account) []string {
		state, quota := "enabled", "any"
		if a.Shared {
			state = "shared"
		}
		if a.Disabled {
			state = "disabled"
		}
		if a.Quota > 0 {
			quota = FormatSize(a.Quota)
		}
		if n := strconv.FormatInt(a.MaxMessages, 10) + " messages"; a.MaxMessages > 0 && a.Quota > 0 {
			quota += ", " + n
		} else if a.MaxMessages > 0 {
			quota = n
		}
		return []string{a.Address, a.Name, FormatSize(a.Used), quota, state, strings.Join(a.SendAs, ","), strings.Join(a.AdminOf, ",")}
	}))
}

// warn puts a warning on a line of its own.
func warn(s string) string {
	if s == "" {
		return ""
	}
	return "\nwarning: " + plain(s)
}

func showDomain(done string) func(io.Writer) shower {
	return func(w io.Writer) shower {
		return says{w, decoded(func(d Domain) string { return "domain " + plain(d.Name) + " " + done + warn(d.Warning) })}
	}
}

func showDomains(w io.Writer) shower {
	return newTable(w, "DOMAIN\tCATCH-ALL\tPOSTMASTER", "no domains", decoded(func(d Domain) []string {
		return []string{d.Name, d.CatchAll, d.Postmaster}
	}))
}

func showAlias(done string) func(io.Writer) shower {
	return func(w io.Writer) shower {
		return says{w, decoded(func(a Alias) string {
			return "alias " + plain(a.Address) + " " + done + ": " + plain(strings.Join(a.Targets, ", ")) + warn(a.Warning)
		})}
	}
}

func showAliases(w io.Writer) shower {
	return newTable(w, "ALIAS\tTARGETS", "no aliases", decoded(func(a Alias) []string {
		return []string{a.Address, strings.Join(a.Targets, ", ")}
	}))
}

func showItems(w io.Writer) shower { return itemTable(w, "nothing is queued") }

func showChanged(w io.Writer) shower { return itemTable(w, "there is no such item") }

func itemTable(w io.Writer, none string) shower {
	return newTable(w, "ID\tSTATE\tNEXT TRY\tTRIES\tSIZE\tFROM\tTO\tLAST ANSWER", none, decoded(func(it Item) []string {
		state, next := it.State, when(it.Due)
		if it.Done != "" {
			state = it.Done
		}
		if it.State == "held" || it.Done == "dropped" {
			next = ""
		}
		return []string{it.ID, state, next, strconv.Itoa(it.Attempts), FormatSize(it.Size), "<" + it.From + ">", it.To, it.Last}
	}))
}

func showItem(w io.Writer) shower {
	first := true
	return says{w, decoded(func(it Item) string {
		var b strings.Builder
		next := when(it.Due)
		if it.State == "held" {
			next = ""
		}
		if !first {
			b.WriteByte('\n')
		}
		first = false
		t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		for _, f := range [][2]string{
			{"ID", it.ID}, {"State", it.State}, {"From", "<" + it.From + ">"}, {"To", it.To}, {"Sent to", it.Given},
			{"Route", it.Route}, {"Size", FormatSize(it.Size)}, {"Queued", when(it.Queued)}, {"Next try", next},
			{"Tries", strconv.Itoa(it.Attempts)}, {"Gives up", when(it.Expires)}, {"Last answer", it.Last},
			{"Submitter", it.Submitter}, {"Client", it.Client}, {"Content", string(it.Blob)},
		} {
			if f[1] != "" {
				fmt.Fprintf(t, "%s:\t%s\n", f[0], plain(f[1]))
			}
		}
		t.Flush()
		b.WriteByte('\n')
		for l := range strings.Lines(it.Header) {
			b.WriteString("  " + plain(strings.TrimRight(l, "\r\n")) + "\n")
		}
		return strings.TrimRight(b.String(), "\n")
	})}
}

func showCheck(w io.Writer) shower {
	return says{w, func(raw json.RawMessage) (string, error) {
		var r struct {
			Finding
			Progress *At `json:"progress"`
			Summary
		}
		if err := json.Unmarshal(raw, &r); err != nil {
			return "", fmt.Errorf("bad answer: %w", err)
		}
		switch {
		case r.State != "":
			s := fmt.Sprintf("%s %s: %s: %s", plain(r.State), plain(r.What), plain(r.Where), plain(r.Text))
			if r.Done != "" {
				s += " [" + plain(r.Done) + "]"
			}
			return s, nil
		case r.Progress != nil && r.Progress.Blobs > 0:
			return fmt.Sprintf("... %d blobs read", r.Progress.Blobs), nil
		case r.Progress != nil && r.Progress.Bytes > 0:
			return fmt.Sprintf("... %s of contents read", FormatSize(r.Progress.Bytes)), nil
		case r.Progress != nil && r.Progress.Messages == 0:
			return "... counting", nil
		case r.Progress != nil:
			return fmt.Sprintf("... %d messages looked at", r.Progress.Messages), nil
		case r.Problems == 0:
			if r.Parked > 0 {
				return r.Summary.text() + "\neverything else is as it should be", nil
			}
			return r.Summary.text() + "\neverything is as it should be", nil
		}
		return r.Summary.text(), nil
	}}
}

// when writes a time for people, in their zone.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
