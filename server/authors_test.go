package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/mailauth/authors"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/internal/testdns"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
)

// peer is a client of SMTP that reads one reply for each line.
type peer struct {
	t *testing.T
	c *textproto.Conn
}

func dialSMTP(t *testing.T, s *server.Server, helo string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr(server.SMTP).String())
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t, textproto.NewConn(nc)}
	p.reply()
	p.say("HELO %s", helo)
	return p
}

func (p *peer) reply() string {
	p.t.Helper()
	code, text, err := p.c.ReadResponse(0)
	if err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", code, text)
}

func (p *peer) say(format string, args ...any) string {
	p.t.Helper()
	if _, err := p.c.Cmd(format, args...); err != nil {
		p.t.Fatal(err)
	}
	return p.reply()
}

// send sends a message as it is.
func (p *peer) send(from, text string) string {
	p.t.Helper()
	p.say("RSET")
	for _, line := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<ann@x.test>"} {
		if r := p.say("%s", line); r[0] != '2' {
			return r
		}
	}
	p.say("DATA")
	if _, err := p.c.W.WriteString(strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:] + "\r\n.\r\n"); err != nil {
		p.t.Fatal(err)
	}
	if err := p.c.W.Flush(); err != nil {
		p.t.Fatal(err)
	}
	return p.reply()
}

// office is a server that judges its clients by d.
func office(t *testing.T, d *testdns.Table, edit func(*server.FilterOptions)) *server.Server {
	o := server.FilterOptions{Resolver: d, Loopback: true, Rate: server.FilterOff, Headers: server.FilterOff, RefuseAt: -1}
	if edit != nil {
		edit(&o)
	}
	c := config()
	c.SMTP, c.IMAP, c.InsecureAuth = at("127.0.0.1:0"), at("127.0.0.1:0"), true
	c.Filters = server.DefaultFilters(o)
	s, stop := run(t, c)
	t.Cleanup(stop)
	return s
}

// judgedBy is what our own Authentication-Results say of DMARC.
func judgedBy(t *testing.T, header string) *authres.DMARCResult {
	t.Helper()
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(header))).ReadMIMEHeader()
	if err != nil && len(h) == 0 {
		t.Fatal(err)
	}
	var ours []string
	for _, v := range h["Authentication-Results"] {
		if id, _, err := authres.Parse(v); err == nil && strings.EqualFold(id, "mx.x.test") {
			ours = append(ours, v)
		}
	}
	if len(ours) != 1 {
		t.Fatalf("%d fields of ours in\n%s", len(ours), header)
	}
	_, all, err := authres.Parse(ours[0])
	if err != nil {
		t.Fatal(err)
	}
	var found []*authres.DMARCResult
	for _, r := range all {
		if d, ok := r.(*authres.DMARCResult); ok {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d results of DMARC in %s", len(found), ours[0])
	}
	return found[0]
}

// TestWhoIsJudgedIsWhoIsShown sends every shape over SMTP. What DMARC judged is what IMAP
// shows in ENVELOPE and what people see, and what has not one author fails (T30).
func TestWhoIsJudgedIsWhoIsShown(t *testing.T) {
	d := &testdns.Table{TXT: authors.TXT("127.0.0.1")}
	s := office(t, d, func(o *server.FilterOptions) { o.DMARC = server.FilterMark; o.SPF = server.FilterLog })
	c, err := imapclient.DialInsecure(s.Addr(server.IMAP).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann@x.test", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	box := (&mailview.Mail{Store: s.Store, Directory: config().Directory}).Of("a1", "ann@x.test")
	folders, err := box.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shapes, agreed := authors.Shapes(t), 0
	for _, shape := range shapes {
		p := dialSMTP(t, s, shape.Helo)
		reply := p.send(shape.From, shape.Text)
		p.c.Close()
		if refused := reply[0] != '2'; refused != (shape.Judged == "refused") {
			t.Errorf("%s: %s", shape.Name, reply)
		}
		if reply[0] != '2' {
			agreed++
			continue
		}
		// It is in INBOX, or in Junk if it fails.
		place := "INBOX"
		if shape.Result == "fail" {
			place = "Junk"
		}
		selected, err := c.Select(place, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if selected.NumMessages == 0 {
			t.Fatalf("%s: it is not in %s", shape.Name, place)
		}
		header := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}
		msgs, err := c.Fetch(imap.SeqSetNum(selected.NumMessages), &imap.FetchOptions{Envelope: true, UID: true, BodySection: []*imap.FetchItemBodySection{header}}).Collect()
		if err != nil || len(msgs) != 1 {
			t.Fatal(msgs, err)
		}
		judged := judgedBy(t, string(msgs[0].FindBodySection(header)))
		if string(judged.Value) != shape.Result || judged.From != strings.TrimPrefix(shape.Judged, "nobody") {
			t.Errorf("%s: dmarc=%s for %q, want %s %s", shape.Name, judged.Value, judged.From, shape.Judged, shape.Result)
		}
		var folder mailview.Folder
		if i := slices.IndexFunc(folders, func(f mailview.Folder) bool { return f.Name == place }); i >= 0 {
			folder = folders[i]
		}
		seen, err := box.Message(t.Context(), folder.ID, store.UID(msgs[0].UID))
		if err != nil {
			t.Fatal(err)
		}
		env := msgs[0].Envelope.From
		if judged.From != "" {
			// One author, of the domain that was judged, for all.
			if len(env) != 1 || len(seen.From) != 1 {
				t.Errorf("%s: judged %s, shown %v and %v", shape.Name, judged.From, env, seen.From)
				continue
			}
			_, shown := addr.Split(seen.From[0].Addr)
			a, err1 := addr.Domain(env[0].Host)
			b, err2 := addr.Domain(shown)
			if err1 != nil || err2 != nil || a != judged.From || b != judged.From {
				t.Errorf("%s: judged %s, shown %s (%v) and %s (%v)", shape.Name, judged.From, env[0].Host, err1, shown, err2)
				continue
			}
		}
		if seen.Verdict == "" && shape.Result == "fail" {
			t.Errorf("%s: nobody is told why", shape.Name)
		}
		agreed++
		if err := c.Store(imap.SeqSetNum(selected.NumMessages), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.Expunge().Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d agree", agreed, len(shapes))
	if agreed != len(shapes) || agreed < 80 {
		t.Errorf("%d of %d agree", agreed, len(shapes))
	}
}

// TestForgeriesAreRefused: enforced, none that fails gets in.
func TestForgeriesAreRefused(t *testing.T) {
	d := &testdns.Table{TXT: authors.TXT("127.0.0.1")}
	s := office(t, d, func(o *server.FilterOptions) { o.OneAuthor, o.SPF = true, server.FilterLog })
	for _, shape := range authors.Shapes(t) {
		p := dialSMTP(t, s, shape.Helo)
		reply := p.send(shape.From, shape.Text)
		want := "250"
		switch {
		case shape.Judged == "refused":
			want = "550 5.6.0"
		case shape.Result == "fail":
			want = "550 5.7.1"
		}
		if !strings.HasPrefix(reply, want) {
			t.Errorf("%s: %s, want %s", shape.Name, reply, want)
		}
		p.c.Close()
	}
}

// mails are the headers of what is in INBOX of ann.
func mails(t *testing.T, s *server.Server) (all []string) {
	t.Helper()
	c, err := imapclient.DialInsecure(s.Addr(server.IMAP).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann@x.test", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	header := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{header}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		all = append(all, string(m.FindBodySection(header)))
	}
	return all
}

// TestMailOfNobodySpecial: what nobody vouches for, and nothing else is wrong with, goes
// to INBOX, also when DNS is away; by another policy it has to come again.
func TestMailOfNobodySpecial(t *testing.T) {
	d := &testdns.Table{Fail: map[string]error{"down.example": testdns.Down, "_dmarc.down.example": testdns.Down}}
	for _, later := range []bool{false, true} {
		s := office(t, d, func(o *server.FilterOptions) { o.TryAgain, o.Headers = later, server.FilterDefault })
		p := dialSMTP(t, s, "mail.plain.example")
		if r := p.send("a@plain.example", "From: a@plain.example\r\nSubject: hello\r\n\r\nHello.\r\n"); r[0] != '2' {
			t.Errorf("plain: %s", r)
		}
		want := "250"
		if later {
			want = "451"
		}
		if r := p.send("a@down.example", "From: a@down.example\r\nSubject: hello\r\n\r\nHello.\r\n"); !strings.HasPrefix(r, want) {
			t.Errorf("DNS is away: %s, want %s", r, want)
		}
		p.c.Close()
		if n := len(mails(t, s)); n != 2 && !later || n != 1 && later {
			t.Errorf("%d in INBOX", n)
		}
		if later {
			continue
		}
		text := mails(t, s)[1]
		if !strings.Contains(text, "spf=temperror") || !strings.Contains(text, "dmarc=temperror") || strings.Contains(text, "X-Spam") {
			t.Errorf("got %s", text)
		}
	}
}

// TestFilterOptions: what can be left out.
func TestFilterOptions(t *testing.T) {
	names := func(o server.FilterOptions) string {
		c := server.DefaultFilters(o)
		if err := c.Check(); err != nil {
			t.Error(err)
		}
		var out []string
		for _, g := range c.Groups {
			var in []string
			for _, f := range g {
				in = append(in, f.Name())
			}
			out = append(out, strings.Join(in, "+"))
		}
		return fmt.Sprint(strings.Join(out, " "), " ", c.JunkAt, " ", c.RefuseAt)
	}
	d := &testdns.Table{}
	for want, o := range map[string]server.FilterOptions{
		"x-rate x-headers+x-attachment 5 15":                {},
		"x-rate spf+dkim+x-headers+x-attachment dmarc 5 15": {Resolver: d},
		"spf+dkim dmarc 4.5 0":                              {Resolver: d, Rate: server.FilterOff, JunkAt: 4.5, RefuseAt: -1, Headers: server.FilterOff, Attachment: server.FilterOff},
		"x-rate dkim dmarc 0 9":                             {Resolver: d, SPF: server.FilterOff, Headers: server.FilterOff, Attachment: server.FilterOff, JunkAt: -1, RefuseAt: 9},
		"x-rate spf+x-headers+x-attachment 5 15":            {Resolver: d, DKIM: server.FilterOff, DMARC: server.FilterOff},
	} {
		if got := names(o); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for m := server.FilterDefault; m <= server.FilterOff; m++ {
		text, _ := m.MarshalText()
		var back server.FilterMode
		if err := back.UnmarshalText(text); err != nil || back != m {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
	if err := new(server.FilterMode).UnmarshalText([]byte("what")); err == nil {
		t.Error("no error")
	}
}

// TestPeersHereAreNotJudged, but for the option.
func TestPeersHereAreNotJudged(t *testing.T) {
	d := &testdns.Table{TXT: authors.TXT("192.0.2.1")}
	for _, judge := range []bool{false, true} {
		s := office(t, d, func(o *server.FilterOptions) { o.Loopback = judge })
		p := dialSMTP(t, s, "x")
		if r := p.send("service@bank.example", "From: service@bank.example\r\n\r\nx\r\n"); (r[0] == '5') != judge {
			t.Errorf("judged %v: %s", judge, r)
		}
		p.c.Close()
		if !judge && len(d.Asked()) > 0 {
			t.Errorf("asked %q", d.Asked())
		}
	}
}
