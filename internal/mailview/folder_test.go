package mailview_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// tree writes folders down.
func (w *world) tree(b *mailview.Box) string {
	w.Helper()
	var out strings.Builder
	for _, f := range must[[]mailview.Folder](w)(b.Folders(w.Context())) {
		fmt.Fprintf(&out, "%s%s", strings.Repeat("  ", f.Depth), f.Label)
		if f.Role != "" {
			fmt.Fprintf(&out, " (%s)", f.Role)
		}
		if f.Owner != "" {
			fmt.Fprintf(&out, " of %s", f.Owner)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func TestFoldersAreInOrder(t *testing.T) {
	w := newWorld(t)
	ctx, a := t.Context(), w.store.As("a1")
	for _, f := range []struct{ name, role string }{
		{"zebra", ""}, {"Archive", "archive"}, {"Archive/2024", ""}, {"Trash", "trash"}, {"Äpfel", ""}, {"Birnen", ""}, {"birnen", ""}, {"apfel/klein", ""}, {"Gone/Below", ""},
		{"INBOX/Work", ""}, {"INBOX/Papierkorb", ""}, {"Drafts", "drafts"}, {"Sent", "sent"}, {"Junk", "junk"}, {"Archive/2025/June", ""},
	} {
		if _, err := a.Create(ctx, f.name, f.role); err != nil {
			t.Fatal(f.name, err)
		}
	}
	fs := must[[]store.Folder](t)(a.Folders(ctx))
	for _, f := range fs {
		if f.Name == "Gone" {
			if err := a.Delete(ctx, f.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := "INBOX (inbox)\n  Papierkorb\n  Work\nDrafts (drafts)\nSent (sent)\nArchive (archive)\n  2024\n  2025\n    June\nJunk (junk)\nTrash (trash)\n" +
		"apfel\n  klein\nÄpfel\nBirnen\nbirnen\nzebra\nBelow\n"
	got := w.tree(w.ann())
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestFoldersAreMadeRenamedAndDeleted(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	f := must[mailview.Folder](t)(ann.CreateFolder(ctx, 0, " Projects "))
	sub := must[mailview.Folder](t)(ann.CreateFolder(ctx, f.ID, "Ä"))
	if f.Name != "Projects" || sub.Name != "Projects/Ä" || sub.Depth != 1 || sub.Kept() || !sub.May("x") {
		t.Errorf("made %+v %+v", f, sub)
	}
	if _, err := ann.CreateFolder(ctx, 0, "Projects"); !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
	for _, bad := range []string{"", " ", "a/b", "a\r\nb", "a\u202eb", strings.Repeat("x", 300), "\xff"} {
		if _, err := ann.CreateFolder(ctx, 0, bad); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
		if err := ann.RenameFolder(ctx, f.ID, bad); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := ann.RenameFolder(ctx, sub.ID, "B"); err != nil {
		t.Fatal(err)
	}
	if err := ann.RenameFolder(ctx, f.ID, "Work"); err != nil {
		t.Fatal(err)
	}
	if g := must[mailview.Folder](t)(ann.Folder(ctx, sub.ID)); g.Name != "Work/B" {
		t.Errorf("got %+v", g)
	}
	inbox, trash := w.role(ann, "inbox"), w.role(ann, "trash")
	for _, id := range []store.MailboxID{inbox.ID, trash.ID} {
		if err := ann.RenameFolder(ctx, id, "X"); !errors.Is(err, mailview.ErrKept) {
			t.Error(err)
		}
		if err := ann.DeleteFolder(ctx, id); !errors.Is(err, mailview.ErrKept) {
			t.Error(err)
		}
	}
	for range 3 {
		w.put("a1", "Work/B", "Subject: x\n\nx\n")
	}
	if _, err := ann.EmptyFolder(ctx, sub.ID); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
	if err := ann.DeleteFolder(ctx, sub.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Folder(ctx, sub.ID); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if g := must[mailview.Folder](t)(ann.Folder(ctx, trash.ID)); g.Messages != 3 {
		t.Errorf("Trash is %+v", g)
	}
	if n := must[int](t)(ann.EmptyFolder(ctx, trash.ID)); n != 3 {
		t.Errorf("%d removed", n)
	}
}

func TestRolesAreFoundOrMade(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	a := w.store.As("a1")
	if _, err := a.Create(ctx, "Papierkorb", "trash"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Create(ctx, "Junk", ""); err != nil { // as a person makes one
		t.Fatal(err)
	}
	if _, err := a.Create(ctx, "Drafts", "archive"); err != nil { // of all names
		t.Fatal(err)
	}
	for role, name := range map[string]string{"trash": "Papierkorb", "junk": "Junk", "sent": "Sent", "drafts": "Drafts 2", "archive": "Drafts", "inbox": "INBOX"} {
		for range 2 {
			if f := w.role(ann, role); f.Name != name || f.Role != role || !f.Kept() {
				t.Errorf("%s is %+v", role, f)
			}
		}
	}
	if _, err := ann.RoleFolder(ctx, ""); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
}

func TestMessagesAreMarkedMovedAndDeleted(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	a, b := w.put("a1", "", "Subject: a\n\na\n"), w.put("a1", "", "Subject: b\n\nb\n")
	if n := must[int](t)(ann.Mark(ctx, a.Folder, mailview.Seen, true, a.UID, b.UID, 99)); n != 2 {
		t.Error(n)
	}
	must[int](t)(ann.Mark(ctx, a.Folder, mailview.Flagged, true, a.UID))
	must[int](t)(ann.Mark(ctx, a.Folder, mailview.Seen, false, b.UID))
	if _, err := ann.Mark(ctx, a.Folder, 7, true, a.UID); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
	rows := w.list(ann, a.Folder)
	if !rows[1].Seen || !rows[1].Flagged || rows[0].Seen || rows[0].Flagged {
		t.Errorf("got %+v", rows)
	}
	if n := must[int](t)(ann.Move(ctx, a.Folder, a.Folder, a.UID)); n != 0 {
		t.Error(n)
	}
	if n := must[int](t)(ann.MarkJunk(ctx, a.Folder, true, a.UID, b.UID)); n != 2 {
		t.Error(n)
	}
	junk, inbox := w.role(ann, "junk"), w.role(ann, "inbox")
	rows = w.list(ann, junk.ID)
	if len(rows) != 2 || !rows[0].Junk || junk.Messages != 2 || inbox.Messages != 0 {
		t.Fatalf("Junk has %+v", rows)
	}
	if n := must[int](t)(ann.MarkJunk(ctx, junk.ID, true, rows[0].UID)); n != 0 { // it is
		t.Error(n)
	}
	if n := must[int](t)(ann.MarkJunk(ctx, junk.ID, false, rows[0].UID)); n != 1 {
		t.Error(n)
	}
	back := w.list(ann, inbox.ID)
	if len(back) != 1 || back[0].Junk || back[0].ID != rows[0].ID {
		t.Errorf("INBOX has %+v", back)
	}
	if n := must[int](t)(ann.Delete(ctx, inbox.ID, back[0].UID)); n != 1 {
		t.Error(n)
	}
	trash := w.role(ann, "trash")
	gone := w.list(ann, trash.ID)
	if n := must[int](t)(ann.Delete(ctx, trash.ID, gone[0].UID)); n != 1 || len(w.list(ann, trash.ID)) != 0 {
		t.Error("it is not gone for good")
	}
}

// What is another's is not there, or may not be done.
func TestRightsAreThoseOfTheStore(t *testing.T) {
	w := newWorld(t)
	ctx, ann, bob := t.Context(), w.ann(), w.bob()
	w.role(bob, "inbox")
	ref := w.put("a1", "Secret", "Subject: s\nContent-ID: <x>\n\ns\n")
	draft := must[mailview.Draft](t)(ann.SaveDraft(ctx, mailview.Draft{Text: "x"}, nil))
	own := w.role(bob, "drafts")
	for _, r := range []mailview.Ref{ref, {Folder: 999, UID: 1}, {Folder: ref.Folder, UID: 999}, {Folder: own.ID, UID: 999}} {
		calls := map[string]func() error{
			"Folder":       func() error { _, err := bob.Folder(ctx, r.Folder); return err },
			"List":         func() error { _, err := bob.List(ctx, mailview.Query{Folder: r.Folder}); return err },
			"search":       func() error { _, err := bob.List(ctx, mailview.Query{Folder: r.Folder, Text: "s"}); return err },
			"Beside":       func() error { _, _, err := bob.Beside(ctx, r.Folder, r.UID); return err },
			"Message":      func() error { _, err := bob.Message(ctx, r.Folder, r.UID); return err },
			"OpenPart":     func() error { _, _, err := bob.OpenPart(ctx, r.Folder, r.UID, "1"); return err },
			"OpenCID":      func() error { _, _, err := bob.OpenCID(ctx, r.Folder, r.UID, "x"); return err },
			"OpenRaw":      func() error { _, _, err := bob.OpenRaw(ctx, r.Folder, r.UID); return err },
			"Header":       func() error { _, err := bob.Header(ctx, r.Folder, r.UID); return err },
			"Mark":         func() error { _, err := bob.Mark(ctx, r.Folder, mailview.Seen, true, r.UID); return err },
			"Move":         func() error { _, err := bob.Move(ctx, r.Folder, own.ID, r.UID); return err },
			"Move to":      func() error { _, err := bob.Move(ctx, own.ID, r.Folder, 1); return err },
			"Move within":  func() error { _, err := bob.Move(ctx, r.Folder, r.Folder, r.UID); return err },
			"Delete":       func() error { _, err := bob.Delete(ctx, r.Folder, r.UID); return err },
			"MarkJunk":     func() error { _, err := bob.MarkJunk(ctx, r.Folder, true, r.UID); return err },
			"CreateFolder": func() error { _, err := bob.CreateFolder(ctx, r.Folder, "x"); return err },
			"RenameFolder": func() error { return bob.RenameFolder(ctx, r.Folder, "x") },
			"DeleteFolder": func() error { return bob.DeleteFolder(ctx, r.Folder) },
			"EmptyFolder":  func() error { _, err := bob.EmptyFolder(ctx, r.Folder); return err },
			"Reply":        func() error { _, err := bob.Start(ctx, mailview.Reply, r); return err },
			"Forward": func() error {
				_, err := bob.SaveDraft(ctx, mailview.Draft{Kind: mailview.Forward, Re: r}, nil)
				return err
			},
			"Attached": func() error { _, err := bob.Attached(ctx, mailview.Draft{Kind: mailview.Forward, Re: r}); return err },
		}
		for name, call := range calls {
			err := call()
			if r.Folder == own.ID { // of a message that is not there some things are nothing to do
				if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, mailview.ErrKept) && !errors.Is(err, store.ErrInvalid) {
					t.Errorf("%s of %+v: %v", name, r, err)
				}
				continue
			}
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of %+v: %v", name, r, err)
			}
		}
	}
	for name, err := range map[string]error{
		"OpenDraft": func() error { _, err := bob.OpenDraft(ctx, draft.UID); return err }(),
		"Discard":   bob.Discard(ctx, draft.UID),
	} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := bob.SaveDraft(ctx, mailview.Draft{UID: draft.UID, Text: "y"}, nil); !errors.Is(err, store.ErrNoMessage) {
		t.Error(err)
	}
	if err := bob.Send(ctx, mailview.Draft{UID: draft.UID, To: "x@example.net"}, nil); !errors.Is(err, store.ErrNoMessage) || len(w.out.sent) != 0 {
		t.Error(err)
	}
	// An answer to what is not there goes without it, and marks nothing.
	if err := bob.Send(ctx, mailview.Draft{To: "x@example.net", Kind: mailview.Reply, Re: ref}, nil); err != nil {
		t.Error(err)
	}
	if r := w.list(ann, ref.Folder)[0]; r.Answered || strings.Contains(w.out.sent[0].text, "In-Reply-To") {
		t.Error("it was marked")
	}
}

func TestSharedFolders(t *testing.T) {
	w := newWorld(t)
	ctx, ann, bob := t.Context(), w.ann(), w.bob()
	ref := w.put("d1", "Requests", "From: x@example.net\nSubject: s\n\ns\n")
	w.put("d1", "", "Subject: inbox\n\ns\n")
	desk := w.store.As("d1")
	share := func(name, role string, rights store.Rights, to ...store.AccountID) store.MailboxID {
		f, err := desk.Folder(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			f.Mailbox, err = desk.Create(ctx, name, role)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range to {
			if err := desk.Grant(ctx, f.ID, id, rights); err != nil {
				t.Fatal(err)
			}
		}
		return f.ID
	}
	inbox := share("INBOX", "", "lrs", "a1")
	share("Requests", "", "lrswite", "a1")
	share("Requests", "", "lr", "b1")
	want := "INBOX (inbox)\nINBOX of desk@example.org\nRequests of desk@example.org\n"
	if got := w.tree(ann); got != want {
		t.Errorf("got\n%s", got)
	}
	f := must[mailview.Folder](t)(ann.Folder(ctx, inbox))
	if f.Role != "" || !f.Kept() || f.May("i") || f.Messages != 1 || f.Unseen != 1 {
		t.Errorf("got %+v", f)
	}
	// One's own \Seen.
	must[int](t)(ann.Mark(ctx, ref.Folder, mailview.Seen, true, ref.UID))
	if r := w.list(ann, ref.Folder)[0]; !r.Seen {
		t.Error("not seen")
	}
	if r := w.list(bob, ref.Folder)[0]; r.Seen || r.Subject != "s" {
		t.Errorf("bob sees %+v", r)
	}
	for name, err := range map[string]error{
		"Mark":    func() error { _, err := bob.Mark(ctx, ref.Folder, mailview.Flagged, true, ref.UID); return err }(),
		"Delete":  func() error { _, err := bob.Delete(ctx, ref.Folder, ref.UID); return err }(),
		"Junk":    func() error { _, err := bob.MarkJunk(ctx, ref.Folder, true, ref.UID); return err }(),
		"Rename":  bob.RenameFolder(ctx, ref.Folder, "x"),
		"DeleteF": bob.DeleteFolder(ctx, ref.Folder),
		"Create":  func() error { _, err := bob.CreateFolder(ctx, ref.Folder, "x"); return err }(),
		"Move to": func() error {
			own := w.put("b1", "", "x: y\n\n")
			_, err := bob.Move(ctx, own.Folder, ref.Folder, own.UID)
			return err
		}(),
		"DeleteF2": ann.DeleteFolder(ctx, ref.Folder),
	} {
		if !errors.Is(err, store.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(w.list(bob, ref.Folder)); n != 1 {
		t.Fatalf("%d messages", n)
	}
	// It is answered and marked for all.
	d := must[mailview.Draft](t)(ann.Start(ctx, mailview.Reply, ref))
	if err := ann.Send(ctx, d, nil); err != nil {
		t.Fatal(err)
	}
	if r := w.list(bob, ref.Folder)[0]; !r.Answered {
		t.Errorf("got %+v", r)
	}
	// Without a Trash that is shared it comes to one's own.
	must[int](t)(ann.Delete(ctx, ref.Folder, ref.UID))
	if n := len(w.list(ann, w.role(ann, "trash").ID)); n != 1 {
		t.Errorf("%d messages in the own Trash", n)
	}
	ref = w.put("d1", "Requests", "Subject: s2\n\ns\n")
	trash := share("Trash", "trash", "lrswite", "a1")
	must[int](t)(ann.Delete(ctx, ref.Folder, ref.UID))
	if rows := w.list(ann, trash); len(rows) != 1 {
		t.Fatalf("the shared Trash has %+v", rows)
	}
	must[int](t)(ann.Delete(ctx, trash, w.list(ann, trash)[0].UID))
	if n := len(w.list(ann, trash)); n != 0 {
		t.Errorf("%d messages in the shared Trash", n)
	}
}

func TestSettingsAreKept(t *testing.T) {
	w := newWorld(t)
	ctx, ann := t.Context(), w.ann()
	if s := must[mailview.Settings](t)(ann.Settings(ctx)); s != (mailview.Settings{}) {
		t.Errorf("got %+v", s)
	}
	set := mailview.Settings{Name: "Änn", Signature: "a\nb", Language: "de", Theme: "dark", PageSize: 100, Remote: true}
	if err := ann.SetSettings(ctx, set); err != nil {
		t.Fatal(err)
	}
	if s := must[mailview.Settings](t)(ann.Settings(ctx)); s != set {
		t.Errorf("got %+v", s)
	}
	if s := must[mailview.Settings](t)(w.bob().Settings(ctx)); s != (mailview.Settings{}) {
		t.Errorf("bob has %+v", s)
	}
	for _, bad := range []mailview.Settings{
		{Name: strings.Repeat("x", 201)}, {Signature: strings.Repeat("x", 10_001)}, {Language: "de\r\n"}, {Theme: "pink"}, {PageSize: -1}, {PageSize: 201},
	} {
		if err := ann.SetSettings(ctx, bad); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
