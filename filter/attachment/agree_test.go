package attachment_test

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/filter/attachment"
	imapdoor "github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/internal/message/messagetest"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// TestAllAgreeOnNames is T35: what the filter judged is what IMAP and webmail show.
func TestAllAgreeOnNames(t *testing.T) {
	users := &static.Directory{Accounts: []static.Account{{Account: accounts.Account{ID: "a1", Address: "ann@example.org"}, Password: "secret-of-ann"}}}
	st := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}
	names := messagetest.Names()
	for _, n := range names {
		env := &mailkeel.Envelope{ID: n.Title, Rcpts: []mailkeel.Recipient{{Addr: "ann@example.org", Account: "a1"}}}
		if r := mailkeel.Deliver(t.Context(), &mailbox.Transport{Store: st}, env, &text{s: n.Message()})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	inIMAP := bodyStructures(t, &imapdoor.Server{Store: st, Auth: users, InsecureAuth: true})
	box := (&mailview.Mail{Store: st, Directory: users}).Of("a1", "ann@example.org")
	inbox, err := st.As("a1").Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	agreed := 0
	for i, n := range names {
		v := judge(t, &attachment.Filter{}, n.Message())
		m, err := box.Message(t.Context(), inbox.ID, store.UID(i+1))
		if err != nil {
			t.Fatal(err)
		}
		web := ""
		for _, a := range m.Attachments {
			web = a.Name
		}
		if made := n.Shown == "" && (web == "" || strings.HasPrefix(web, "part-")); !made && plain(n.Shown) != plain(web) {
			t.Errorf("%s: webmail shows %q, want %q", n.Title, web, n.Shown)
		} else if inIMAP[i] != n.Shown {
			t.Errorf("%s: IMAP shows %q, want %q", n.Title, inIMAP[i], n.Shown)
		} else if v.Refuse == nil || !strings.Contains(v.Why, fmt.Sprintf("%.60q", n.Shown)) && n.Shown != "" {
			t.Errorf("%s: judged was %s, want %q", n.Title, v.Why, n.Shown)
		} else {
			agreed++
		}
	}
	t.Logf("%d of %d agree", agreed, len(names))
}

// plain leaves of a name what every file system takes, as webmail does.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`/\:*?"<>|_ .`, r), r == '\u00a0', r == '\u202e', r == '\u200b', r < ' ':
			return -1
		}
		return r
	}, s)
}

// bodyStructures returns the names of second parts in BODYSTRUCTURE, as a client sees
// them: of the disposition, or else of the type.
func bodyStructures(t *testing.T, s *imapdoor.Server) (names []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	defer func() { s.Close(); <-done }()
	c, err := imapclient.DialInsecure(ln.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann@example.org", "secret-of-ann").Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodyStructure: &imap.FetchItemBodyStructure{Extended: true}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		multi, ok := m.BodyStructure.(*imap.BodyStructureMultiPart)
		if !ok || len(multi.Children) != 2 {
			t.Fatalf("%+v", m.BodyStructure)
		}
		name := ""
		if p, ok := multi.Children[1].(*imap.BodyStructureSinglePart); ok {
			if d := p.Disposition(); d != nil {
				name = named(d.Params, "filename")
			}
			if name == "" {
				name = named(p.Params, "name")
			}
		}
		names = append(names, name)
	}
	return names
}

// named returns a parameter, also where it is not ASCII (RFC 2231).
func named(params map[string]string, name string) string {
	if v, ok := strings.CutPrefix(params[name+"*"], "utf-8''"); ok {
		if u, err := url.PathUnescape(v); err == nil {
			return u
		}
	}
	return params[name]
}
