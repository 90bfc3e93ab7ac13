package mailview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
)

// maxQuote is how much text of another message an answer quotes, in bytes.
const maxQuote = 256 << 10

// In returns the same mail for who reads a language, such as "de", where the Settings do
// not say which. Answers begin in German or in English.
func (b *Box) In(language string) *Box {
	other := *b
	other.language = language
	return &other
}

// Start returns a draft, not saved yet: of a new message (of is then zero), or one that
// answers or forwards the message of, with its text quoted in the language of the
// Settings, its subject, and its recipients without oneself. The attachments of a
// message that is forwarded go along, from where they are, when it is first saved.
func (b *Box) Start(ctx context.Context, kind Kind, of Ref) (Draft, error) {
	s, err := b.Settings(ctx)
	if err != nil {
		return Draft{}, err
	}
	w := english
	if strings.HasPrefix(strings.ToLower(cmp.Or(s.Language, b.language)), "de") {
		w = german
	}
	d := Draft{ID: b.newID(), Kind: kind, Re: of}
	signature := ""
	if s.Signature != "" {
		signature = "\n-- \n" + s.Signature + "\n"
	}
	if kind == New {
		d.Re = Ref{}
		if signature != "" {
			d.Text = "\n" + signature
		}
		return d, nil
	}
	if int(kind) >= len(kinds) {
		return Draft{}, fmt.Errorf("%w: kind %d", store.ErrInvalid, kind)
	}
	m, err := b.Message(ctx, of.Folder, of.UID)
	if err != nil {
		return Draft{}, err
	}
	if m.Unreadable != nil {
		return Draft{}, m.Unreadable
	}
	text, cut := readText(m)
	if cut {
		text = strings.TrimRight(text, "\n") + "\n[...]"
	}
	if kind == Forward {
		k, err := b.readable(ctx, of.Folder, of.UID)
		if err != nil {
			return Draft{}, err
		}
		d.Attachments = layoutOf(&k.root).own()
		d.Subject = resubject(m.Subject, "Fwd", forwardPrefixes)
		d.Text = "\n\n" + w.forwarded(m) + "\n" + text + signature
		return d, nil
	}
	d.Subject = resubject(m.Subject, "Re", replyPrefixes)
	d.Text = "\n\n" + w.wrote(m) + "\n" + quote(unsigned(text)) + signature
	d.To, d.Cc, err = b.answerTo(ctx, m, kind)
	return d, err
}

// readText returns the text of a message itself, as it is quoted.
func readText(m *Message) (text string, cut bool) {
	var b strings.Builder
	inside := ""
	for _, s := range m.Body {
		if inside != "" && strings.HasPrefix(s.Part.Path, inside) {
			continue
		}
		if s.Head != nil {
			inside = s.Part.Path + "."
			continue
		}
		one := s.Text
		switch {
		case s.HTML && s.Plain != "":
			one = s.Plain
		case s.HTML:
			one = htmlText(s.Text, maxQuote)
		}
		cut = cut || s.Cut
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		left := maxQuote - b.Len()
		if len(one) > left {
			b.WriteString(strings.ToValidUTF8(one[:left], ""))
			cut = true
			break
		}
		b.WriteString(strings.TrimRight(one, "\n"))
		b.WriteByte('\n')
	}
	return strings.Trim(typed(b.String()), "\n") + "\n", cut
}

// unsigned is a text without the signature at its end (RFC 3676, 4.3).
func unsigned(s string) string {
	if strings.HasPrefix(s, "-- \n") {
		return ""
	}
	if i := strings.LastIndex(s, "\n-- \n"); i >= 0 {
		return s[:i+1]
	}
	return s
}

// quote puts "> " before each line, and ">" before those that are quotes.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/20)
	for ln := range strings.Lines(strings.TrimRight(s, "\n") + "\n") {
		switch {
		case strings.HasPrefix(ln, ">"), ln == "\n":
			b.WriteByte('>')
		default:
			b.WriteString("> ")
		}
		b.WriteString(ln)
	}
	return b.String()
}

// Prefixes of subjects, in lower case and without what stands in brackets.
var (
	replyPrefixes   = []string{"re", "aw", "antw", "antwort", "sv", "vs", "odp", "rif", "ref"}
	forwardPrefixes = []string{"fwd", "fw", "wg", "tr", "rv", "enc", "vl", "doorst"}
)

// resubject puts a prefix before a subject, once: those that mean the same go.
func resubject(subject, prefix string, same []string) string {
	rest := strings.TrimSpace(subject)
	for range 100 {
		word, after, ok := strings.Cut(rest, ":")
		if !ok || len(word) > 20 {
			break
		}
		word = strings.ToLower(strings.TrimSpace(word))
		if i := strings.IndexAny(word, "[(^"); i > 0 { // Re[2]:
			word = word[:i]
		}
		if !slices.Contains(same, word) {
			break
		}
		rest = strings.TrimSpace(after)
	}
	s, _ := line(prefix+": "+rest, maxSubject)
	return s
}

// answerTo returns whom an answer goes to. Reply-To counts, Mail-Followup-To does not:
// it is in no RFC, and says who is to be left out.
func (b *Box) answerTo(ctx context.Context, m *Message, kind Kind) (to, cc string, err error) {
	writer := m.ReplyTo
	if !slices.ContainsFunc(writer, usable) {
		writer = m.From
	}
	o := &others{b: b, ctx: ctx, seen: map[string]bool{}}
	mine := o.allMine(writer)
	var first, second []string
	switch {
	case mine && kind == Reply: // one's own message: on to whom it went
		first = o.take(m.To)
	case mine:
		first, second = o.take(m.To), o.take(m.Cc)
	default:
		o.keep = true
		first = o.take(writer)
		o.keep = false
		if kind == ReplyAll {
			first = append(first, o.take(m.To)...)
			second = o.take(m.Cc)
		}
	}
	if kind == ReplyAll && m.ListPost != "" {
		second = append(second, o.take([]Address{{Addr: m.ListPost}})...)
	}
	if len(first)+len(second) == 0 {
		o.keep = true
		first = o.take(writer) // a note to oneself
	}
	return strings.Join(first, ", "), strings.Join(second, ", "), o.err
}

// usable reports whether mail can be sent to an address.
func usable(a Address) bool { return entry(a.Addr).addr != "" }

// others gathers addresses that are not one's own, each once.
type others struct {
	b    *Box
	ctx  context.Context
	seen map[string]bool
	keep bool // own ones, too
	err  error
}

func (o *others) take(list []Address) (out []string) {
	for _, a := range list {
		r := entry(a.Addr)
		key := sameAddr(strings.ToLower(r.addr))
		if r.addr == "" || o.seen[key] || !o.keep && o.own(r.addr) {
			continue
		}
		o.seen[key] = true
		if len(o.seen) > maxRecipients {
			break
		}
		out = append(out, a.String())
	}
	return out
}

// allMine reports whether all who wrote are the account itself.
func (o *others) allMine(list []Address) bool {
	for _, a := range list {
		if !o.own(a.Addr) {
			return false
		}
	}
	return len(list) > 0
}

// own reports whether an address is the account's: it may write as it, and mail to it
// comes to nobody else. One that several people see to is not only one's own.
func (o *others) own(address string) bool {
	if o.err != nil {
		return false
	}
	if strings.EqualFold(address, o.b.address) {
		return true
	}
	may, err := o.b.mail.Directory.MaySend(o.ctx, o.b.account, address)
	if err != nil || !may {
		o.err = err
		return false
	}
	res, err := o.b.mail.Directory.Resolve(o.ctx, address)
	switch {
	case errors.Is(err, accounts.ErrNotLocal):
		return true
	case errors.Is(err, accounts.ErrNoUser):
		return false
	case err != nil:
		o.err = err
		return false
	}
	for _, t := range res.Targets {
		if t.Account != o.b.account {
			return false
		}
	}
	return true
}

// words are what a draft says in a language.
type words struct {
	wroteForm, wroteUndated, date      string
	months                             *[12]string
	begin, from, to, cc, sent, subject string
}

var english = words{
	wroteForm: "On %s, %s wrote:", wroteUndated: "%s wrote:", date: "%[1]d %[2]s %[3]d at %02[4]d:%02[5]d",
	months: &[12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
	begin:  "---------- Forwarded message ----------", from: "From", to: "To", cc: "Cc", sent: "Date", subject: "Subject",
}

var german = words{
	wroteForm: "Am %s schrieb %s:", wroteUndated: "%s schrieb:", date: "%[1]d. %[2]s %[3]d um %02[4]d:%02[5]d",
	months: &[12]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"},
	begin:  "---------- Weitergeleitete Nachricht ----------", from: "Von", to: "An", cc: "Kopie", sent: "Datum", subject: "Betreff",
}

func (w *words) day(t time.Time) string {
	return fmt.Sprintf(w.date, t.Day(), w.months[t.Month()-1], t.Year(), t.Hour(), t.Minute())
}

// wrote is the line before a quote.
func (w *words) wrote(m *Message) string {
	who := "?"
	if len(m.From) > 0 {
		if who = m.From[0].Name; who == "" || m.From[0].Suspicious {
			who = m.From[0].Addr
		}
	}
	if m.Date.IsZero() {
		return fmt.Sprintf(w.wroteUndated, who)
	}
	return fmt.Sprintf(w.wroteForm, w.day(m.Date), who)
}

// forwarded is the header before a message that is forwarded.
func (w *words) forwarded(m *Message) string {
	var b strings.Builder
	b.WriteString(w.begin + "\n")
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	list := func(all []Address) string {
		var out []string
		for _, a := range all[:min(len(all), 100)] {
			if s := a.String(); s != "" {
				out = append(out, s)
			}
		}
		return strings.Join(out, ", ")
	}
	field(w.from, list(m.From))
	field(w.sent, w.day(m.Date))
	field(w.subject, m.Subject)
	field(w.to, list(m.To))
	field(w.cc, list(m.Cc))
	return b.String()
}
