package imap

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// TestImapclient does all of this commands with a client that knows them.
func TestImapclient(t *testing.T) {
	s := &Server{TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}, Version: "1"}
	addr := start(t, s)
	news := make(chan uint32, 10)
	c, err := imapclient.DialStartTLS(addr, &imapclient.Options{
		TLSConfig: &tls.Config{InsecureSkipVerify: true},
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(m *imapclient.UnilateralDataMailbox) {
			if m.NumMessages != nil {
				news <- *m.NumMessages
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(c.Authenticate(sasl.NewPlainClient("", "ann@example.org", "secret")))
	for _, want := range []imap.Cap{imap.CapIMAP4rev2, imap.CapMove, imap.CapUIDPlus, imap.CapIdle, imap.CapLiteralPlus, imap.CapAppendLimit} {
		if !c.Caps().Has(want) {
			t.Error("no", want)
		}
	}
	id, err := c.ID(&imap.IDData{Name: "test"}).Wait()
	ok(err)
	if id.Name != "mailkeel" || id.Version != "1" {
		t.Error(id)
	}
	_, err = c.Enable(imap.CapIMAP4rev2).Wait()
	ok(err)
	ns, err := c.Namespace().Wait()
	ok(err)
	if len(ns.Personal) != 1 || ns.Personal[0].Delim != '/' {
		t.Error(ns)
	}
	ok(c.Create("Entwürfe", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrDrafts}}).Wait())
	ok(c.Create("a/b", nil).Wait())
	ok(c.Rename("a/b", "a/c", nil).Wait())
	ok(c.Unsubscribe("a").Wait())
	ok(c.Subscribe("a/c").Wait())
	list, err := c.List("", "*", &imap.ListOptions{
		SelectSubscribed: true, ReturnSpecialUse: true, ReturnChildren: true,
		ReturnStatus: &imap.StatusOptions{NumMessages: true, Size: true},
	}).Collect()
	ok(err)
	var names []string
	for _, m := range list {
		names = append(names, m.Mailbox)
		if m.Status == nil || m.Mailbox == "Entwürfe" && !slices.Contains(m.Attrs, imap.MailboxAttrDrafts) {
			t.Errorf("%+v", m)
		}
	}
	if !slices.Equal(names, []string{"INBOX", "Entwürfe", "a/c"}) {
		t.Error(names)
	}
	text := []byte("Subject: x\r\n\r\nhello\r\n")
	for range 3 {
		w := c.Append("INBOX", int64(len(text)), nil)
		w.Write(text)
		ok(w.Close())
		_, err := w.Wait()
		ok(err)
	}
	box, err := c.Select("INBOX", nil).Wait()
	ok(err)
	if box.NumMessages != 3 || box.UIDNext != 4 || box.List == nil || box.List.Mailbox != "INBOX" {
		t.Errorf("%+v", box)
	}
	msgs, err := c.Store(imap.UIDSetNum(1, 2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted, "$Work"}}, nil).Collect()
	ok(err)
	if len(msgs) != 2 || msgs[0].UID != 1 || !slices.Contains(msgs[0].Flags, "$Work") {
		t.Errorf("%+v", msgs)
	}
	copied, err := c.Copy(imap.UIDSetNum(1, 3), "a/c").Wait()
	ok(err)
	if copied.SourceUIDs.String() != "1,3" || copied.DestUIDs.String() != "1:2" {
		t.Errorf("%+v", copied)
	}
	gone, err := c.UIDExpunge(imap.UIDSetNum(2)).Collect()
	ok(err)
	if !slices.Equal(gone, []uint32{2}) {
		t.Error(gone)
	}
	moved, err := c.Move(imap.SeqSetNum(1), "a/c").Wait()
	ok(err)
	if moved.DestUIDs.String() != "3" {
		t.Errorf("%+v", moved)
	}
	status, err := c.Status("a/c", &imap.StatusOptions{NumMessages: true, UIDNext: true, NumDeleted: true, Size: true}).Wait()
	ok(err)
	if *status.NumMessages != 3 || status.UIDNext != 4 || *status.NumDeleted != 2 || *status.Size != int64(3*len(text)) {
		t.Errorf("%+v", status)
	}
	for len(news) > 0 {
		<-news
	}
	idle, err := c.Idle()
	ok(err)
	put(t, s.Store, "a1", inbox, "new\n")
	if n := <-news; n != 2 {
		t.Error(n, "messages")
	}
	ok(idle.Close())
	ok(idle.Wait())
	ok(c.Unselect().Wait())
	ok(c.Delete("a/c").Wait())
	if _, err := c.Select("a/c", nil).Wait(); err == nil {
		t.Error("it was deleted")
	}
	ok(c.Logout().Wait())
}
