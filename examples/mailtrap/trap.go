package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/mailtest"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
)

// inboxDomain is that of the accounts in which inboxes lie.
const inboxDomain = "inbox.mailtrap.invalid"

// defaultInbox is where mail goes that names no other.
const defaultInbox = "default"

// A trap is the server with what is known of its messages.
type trap struct {
	opts  *options
	srv   *mailtest.Server
	log   *slog.Logger
	chaos *chaos

	mu      sync.Mutex
	entries []*entry            // the oldest first
	byID    map[string]*entry   //
	sent    map[string]envelope // by envelope ID, until the message is filed
	changed chan struct{}       // closed and replaced at each change
	subs    map[chan event]struct{}
}

// An envelope is what SMTP said of a message.
type envelope struct {
	from, login string
	to          []string
}

// An entry is a message with its state.
type entry struct {
	*mailtest.Message
	id    string
	inbox string
	env   envelope
	read  bool
	tags  []string
}

func newTrap(tb mailtest.TB, o *options, faults []mailtest.Fault, log *slog.Logger) *trap {
	t := &trap{opts: o, log: log, chaos: &chaos{}, byID: map[string]*entry{}, sent: map[string]envelope{}, changed: make(chan struct{}), subs: map[chan event]struct{}{}}
	var auth accounts.Authenticator
	t.srv = mailtest.New(tb, mailtest.Options{
		STARTTLS: o.starttls,
		Faults:   faults,
		Config: func(c *server.Config) {
			c.SMTP, c.Submissions = server.Listen{Addr: o.smtp}, server.Listen{Addr: o.smtps}
			c.IMAP, c.IMAPS, c.POP3 = server.Listen{Addr: o.imap}, server.Listen{Addr: o.imaps}, server.Listen{Addr: o.pop3}
			c.Submission, c.LMTP, c.POP3S = server.Listen{}, server.Listen{}, server.Listen{}
			auth = logins{c.Auth}
			c.Auth, c.Mailboxes, c.Logger = auth, []store.InitialMailbox{}, log
			c.MaxPerIP, c.PerDay = 10_000, 1<<30
			c.Local = func(next mailkeel.Transport) mailkeel.Transport { return inboxes{t, next} }
		},
		Parts: func(s *server.Server) {
			s.MX.Auth, s.MX.InsecureAuth, s.MX.MaxRcpts = auth, true, 10_000
		},
	})
	t.chaos.start(t.srv)
	go t.follow(tb.Context())
	return t
}

// doors are what is open.
func (t *trap) doors() (all [][2]string) {
	for _, name := range []string{server.SMTP, server.Submissions, server.IMAP, server.IMAPS, server.POP3} {
		if a := t.srv.Addr(name); a != nil {
			all = append(all, [2]string{strings.Replace(name, "submissions", "smtps", 1), a.String()})
		}
	}
	return all
}

// follow notes each message that is filed.
func (t *trap) follow(ctx context.Context) {
	for m := range t.srv.Follow(ctx) {
		inbox, ok := strings.CutSuffix(m.Account, "@"+inboxDomain)
		if !ok {
			inbox = m.Account
		}
		e := &entry{Message: m, id: rand.Text()[:22], inbox: inbox, read: slices.Contains(m.Flags, store.FlagSeen)}
		for tag := range strings.SplitSeq(m.Header("X-Tags"), ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				e.tags = append(e.tags, tag)
			}
		}
		id := envelopeID(m)
		t.change(func() {
			e.env = t.sent[id]
			delete(t.sent, id)
			t.entries = append(t.entries, e)
			t.byID[e.id] = e
		})
		t.publish("new", summary(e))
		if n := t.opts.max; n > 0 {
			t.mu.Lock()
			old := slices.Clone(t.entries[:max(0, len(t.entries)-n)])
			t.mu.Unlock()
			t.remove(ctx, old)
		}
	}
}

// envelopeID finds it in the Received field that this server has written.
func envelopeID(m *mailtest.Message) string {
	words := strings.Fields(m.Header("Received"))
	for i, w := range words {
		if w == "id" && i+1 < len(words) {
			return strings.TrimRight(words[i+1], ";")
		}
	}
	return ""
}

// change does something to the entries and wakes those who wait.
func (t *trap) change(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn()
	close(t.changed)
	t.changed = make(chan struct{})
}

// look returns the entries that pick wants, the newest first, and what is closed when
// there may be others.
func (t *trap) look(pick func(*entry) bool) (all []*entry, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range slices.Backward(t.entries) {
		if pick(e) {
			all = append(all, e)
		}
	}
	return all, t.changed
}

// get returns an entry by its ID, or the newest of an inbox for "latest".
func (t *trap) get(id, inbox string) *entry {
	if id == "latest" {
		all, _ := t.look(func(e *entry) bool { return inbox == "" || e.inbox == inbox })
		if len(all) == 0 {
			return nil
		}
		return all[0]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// remove deletes messages here and in the mailboxes.
func (t *trap) remove(ctx context.Context, all []*entry) {
	if len(all) == 0 {
		return
	}
	gone := make(map[*entry]bool, len(all))
	for _, e := range all {
		gone[e] = true
	}
	t.change(func() {
		t.entries = slices.DeleteFunc(t.entries, func(e *entry) bool { return gone[e] })
		for e := range gone {
			delete(t.byID, e.id)
		}
	})
	for _, e := range all {
		if err := t.srv.Delete(ctx, e.Message); err != nil && ctx.Err() == nil {
			t.log.Error("mailtrap: deleting a message", "id", e.id, "err", err)
		}
	}
	t.publish("prune", nil)
}

// inboxAddress is the account of an inbox.
func inboxAddress(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if strings.Contains(name, "@") {
		return name
	}
	return name + "@" + inboxDomain
}

// logins lets people log in with the name of an inbox.
type logins struct{ accounts.Authenticator }

func (l logins) Authenticate(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	a.Login = inboxAddress(a.Login)
	return l.Authenticator.Authenticate(ctx, a)
}

// inboxes files a message once, in the inbox that it is for, whoever it is to.
type inboxes struct {
	t    *trap
	next mailkeel.Transport
}

func (x inboxes) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	e := envelope{from: env.From}
	for _, r := range env.Rcpts {
		e.to = append(e.to, r.Addr)
	}
	if env.Origin != nil {
		e.login = strings.TrimSuffix(strings.TrimPrefix(string(env.Origin.Identity), "id of "), "@"+inboxDomain)
	}
	acc := x.t.srv.Account(inboxAddress(cmp.Or(field(ctx, c, "X-Inbox"), e.login, defaultInbox)), "")
	x.t.mu.Lock()
	x.t.sent[env.ID] = e
	x.t.mu.Unlock()
	one := *env
	one.Rcpts = []mailkeel.Recipient{{Addr: acc.Address, Account: acc.ID}}
	r := mailkeel.Deliver(ctx, x.next, &one, c)[0]
	if r.Err != nil {
		x.t.mu.Lock()
		delete(x.t.sent, env.ID)
		x.t.mu.Unlock()
	}
	return mailkeel.All(len(env.Rcpts), r)
}

// field reads one field of a message that is not filed yet.
func field(ctx context.Context, c mailkeel.Content, name string) string {
	rc, err := c.Open(ctx)
	if err != nil {
		return ""
	}
	defer rc.Close()
	h, _ := textproto.NewReader(bufio.NewReader(rc)).ReadMIMEHeader()
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`"<>()[]:;,\@`, r) {
			return -1
		}
		return r
	}, h.Get(name))
}

func now() time.Time { return time.Now().UTC() }
