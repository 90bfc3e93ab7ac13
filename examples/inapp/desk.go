package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

// maxText is how many bytes of a reply are kept.
const maxText = 64 << 10

// A ticket is a conversation with a customer.
type ticket struct {
	ID       int
	token    string // who knows it was written to
	Customer string
	Subject  string
	Entries  []entry
	Failing  bool            // mail to the customer comes back
	seen     map[string]bool // envelopes that were received
}

type entry struct {
	Who, Text string
	Time      time.Time
}

// A desk has the tickets. It is the directory of the door for mail, and what is
// behind that door.
type desk struct {
	domain string
	out    mailkeel.Transport
	log    *slog.Logger

	mu      sync.Mutex
	tickets []*ticket
}

var _ accounts.Directory = (*desk)(nil)

// address is where replies and bounces of a ticket go.
func (d *desk) address(t *ticket) string {
	return fmt.Sprintf("support+%d.%s@%s", t.ID, t.token, d.domain)
}

// find returns the ticket of an address. Tokens are lower case, for some servers
// change the case of addresses.
func (d *desk) find(addr string) *ticket {
	rest, ok := strings.CutPrefix(strings.ToLower(addr), "support+")
	rest, ok2 := strings.CutSuffix(rest, "@"+d.domain)
	id, token, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !ok || !ok2 || err != nil || n < 1 || n > len(d.tickets) || d.tickets[n-1].token != token {
		return nil
	}
	return d.tickets[n-1]
}

// Resolve lets the door refuse all other addresses while the sender waits.
func (d *desk) Resolve(_ context.Context, addr string) (accounts.Resolution, error) {
	if !strings.HasSuffix(strings.ToLower(addr), "@"+d.domain) {
		return accounts.Resolution{}, accounts.ErrNotLocal
	}
	t := d.find(addr)
	if t == nil {
		return accounts.Resolution{}, accounts.ErrNoUser
	}
	return accounts.Resolution{Targets: []accounts.Target{{Addr: addr, Account: mailkeel.AccountID(t.token)}}}, nil
}

// MaySend is for those who log in, and nobody does.
func (d *desk) MaySend(context.Context, mailkeel.AccountID, string) (bool, error) { return false, nil }

// Limit is for mailboxes, and there are none.
func (d *desk) Limit(context.Context, mailkeel.AccountID) (mailkeel.Quota, error) {
	return mailkeel.Quota{}, nil
}

// receive is the function that replies come into. An error of it makes the sender
// try again later, and then env.ID may come a second time.
func (d *desk) receive(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) error {
	r, err := c.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	m, err := mail.ReadMessage(r)
	if err != nil {
		return &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 6, 0}, Message: "this is no message that we can read", Err: err}
	}
	text := plainText(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
	for _, rcpt := range env.Rcpts {
		t := d.find(rcpt.Addr)
		if t == nil {
			return &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 1}, Message: "no such ticket"}
		}
		d.mu.Lock()
		auto := strings.ToLower(cmp.Or(m.Header.Get("Auto-Submitted"), "no"))
		switch {
		case t.seen[env.ID]:
		case env.From == "":
			t.Failing = true
		case auto != "no": // an absence notice is no answer
		default:
			t.seen[env.ID] = true
			t.Failing = false
			t.Entries = append(t.Entries, entry{t.Customer, text, time.Now()})
		}
		d.mu.Unlock()
	}
	return nil
}

// plainText returns the first text of a message, without what it quotes.
func plainText(contentType, encoding string, body io.Reader) string {
	kind, params, err := mime.ParseMediaType(cmp.Or(contentType, "text/plain"))
	if err == nil && strings.HasPrefix(kind, "multipart/") {
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			p, err := parts.NextPart() // decodes quoted-printable itself
			if err != nil {
				return "(no text)"
			}
			if k, _, _ := mime.ParseMediaType(cmp.Or(p.Header.Get("Content-Type"), "text/plain")); k == "text/plain" {
				return plainText("text/plain", p.Header.Get("Content-Transfer-Encoding"), p)
			}
		}
	}
	if err == nil && kind != "text/plain" {
		return "(no text)"
	}
	if strings.EqualFold(strings.TrimSpace(encoding), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	b, _ := io.ReadAll(io.LimitReader(body, maxText))
	var keep []string
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimRight(l, "\r\n"); !strings.HasPrefix(l, ">") {
			keep = append(keep, l)
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(strings.Join(keep, "\n"), "?"))
}

// open makes a ticket and writes to the customer.
func (d *desk) open(ctx context.Context, customer, subject, text string) (*ticket, error) {
	a, err := mail.ParseAddress(customer)
	if err != nil || strings.ContainsFunc(a.Address, func(r rune) bool { return r >= 0x80 }) {
		return nil, errBadAddress
	}
	d.mu.Lock()
	t := &ticket{
		ID: len(d.tickets) + 1, token: strings.ToLower(rand.Text()[:12]), Customer: a.Address,
		Subject: oneLine(subject), seen: map[string]bool{},
	}
	d.tickets = append(d.tickets, t)
	d.mu.Unlock()
	return t, d.say(ctx, t, text)
}

// say writes to the customer. When it returns nil the mail is in the queue, which
// survives a crash.
func (d *desk) say(ctx context.Context, t *ticket, text string) error {
	from := d.address(t)
	id := strings.ToLower(rand.Text())
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\n", &mail.Address{Name: "Support", Address: from})
	fmt.Fprintf(&b, "To: %s\r\n", &mail.Address{Address: t.Customer})
	fmt.Fprintf(&b, "Subject: %s\r\n", mime.QEncoding.Encode("utf-8", fmt.Sprintf("[#%d] %s", t.ID, t.Subject)))
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", time.Now().Format(time.RFC1123Z), id, d.domain)
	fmt.Fprintf(&b, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	qp := quotedprintable.NewWriter(&b)
	io.WriteString(qp, text)
	qp.Close()
	b.WriteString("\r\n")

	env := &mailkeel.Envelope{ID: id, From: from, Rcpts: []mailkeel.Recipient{{Addr: t.Customer}}}
	if r := mailkeel.Deliver(ctx, d.out, env, content(b.Bytes())); r[0].Err != nil {
		return r[0].Err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Entries = append(t.Entries, entry{"Support", text, time.Now()})
	return nil
}

// oneLine keeps a text from becoming a second header field.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// content is a message in memory.
type content []byte

func (c content) Size() int64 { return int64(len(c)) }
func (c content) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c)), nil
}

// A switchboard gives the desk its own mail, such as bounces that the queue made,
// and all other to the way out.
type switchboard struct {
	desk *desk
	way  mailkeel.Transport
}

func (s switchboard) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	next := s.way
	if len(env.Rcpts) == 1 && s.desk.find(env.Rcpts[0].Addr) != nil {
		next = mailkeel.HandlerFunc(s.desk.receive)
	}
	return mailkeel.Deliver(ctx, next, env, c)
}
