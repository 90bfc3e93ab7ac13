package webmail

import (
	"net/http"
	"strings"
	"testing"
)

const hello = `From: Carol <carol@example.org>
To: ann@example.test
Subject: Lunch
Date: Fri, 02 Jan 2026 03:00:00 +0000
Message-ID: <lunch@example.org>

Shall we meet at https://example.org/lunch?
`

// TestStory is what two people do in a day, without scripts.
func TestStory(t *testing.T) {
	rg := newRig(t)
	ann, bob := rg.as("ann"), rg.as("bob")

	// Ann writes to bob.
	ann.follow("New message").submit("send", "to", "Bob <bob@example.test>", "subject", "Plans for June", "text", "Dear Bob,\nlet us meet.\n")
	ann.wants(200, "The message was sent.")
	ann.follow("Sent").wants(200, "Plans for June", "Bob")

	// Bob reads and answers.
	bob.follow("Inbox").wants(200, "Plans for June", "1 unread message", "ann@example.test")
	bob.follow("Plans for June").wants(200, "let us meet.", "ann@example.test")
	bob.follow("Inbox").lacks("1 unread message")
	bob.follow("Plans for June").follow("Reply").wants(200, "let us meet.")
	bob.submit("send", "text", "> let us meet.\n\nYes, on Monday.\n").wants(200, "The message was sent.")
	bob.wants(200, "answered")

	// Ann reads the answer; its quote is one.
	ann.follow("Inbox").follow("Re: Plans for June").wants(200, "Yes, on Monday.")
	if !strings.Contains(ann.body, "<blockquote>let us meet.") {
		t.Errorf("no quote:\n%s", ann.body)
	}

	// A draft with an attachment, in steps: attach, write on, drop one, send.
	ann.follow("New message").submit("attach", "to", "bob@example.test", "subject", "Papers", "text", "See there.", "files", file{"plan <1>.txt", "text/plain", "the plan"})
	ann.wants(200, "The draft is saved.", "plan _1_.txt")
	ann.submit("attach", "files", file{"cat.png", "image/png", "\x89PNG"}).wants(200, "plan _1_.txt", "cat.png")
	ann.follow("Drafts").follow("Papers").wants(200, "cat.png", "See there.")
	ann.submit("save", "drop", "2", "text", "See there, or here.").wants(200, "cat.png").lacks("plan _1_.txt")
	ann.submit("send").wants(200, "The message was sent.")
	ann.follow("Drafts").wants(200, "There is nothing here")
	bob.follow("Inbox").wants(200, "with attachments").follow("Papers").wants(200, "See there, or here.", "cat.png")
	bob.follow("cat.png")
	if bob.body != "\x89PNG" || bob.res.Header.Get("Content-Disposition") != "attachment; filename=cat.png" || bob.res.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("attachment: %q %v", bob.body, bob.res.Header)
	}
	bob.follow2(t, "Papers").follow("Open")
	if bob.body != "\x89PNG" || bob.res.Header.Get("Content-Disposition") != "inline; filename=cat.png" || bob.res.Header.Get("Content-Type") != "image/png" {
		t.Errorf("image: %q %v", bob.body, bob.res.Header)
	}

	// Forward with its attachment, to all.
	bob.follow2(t, "Papers").follow("Forward").wants(200, "cat.png")
	bob.submit("send", "to", "ann@example.test").wants(200, "The message was sent.", "forwarded")
	ann.follow("Inbox").follow("Fwd: Papers").wants(200, "cat.png", "See there, or here.")

	// Flags, moves, junk, deletion.
	ann.submit("flag").wants(200, "1 message is flagged.").submit("unflag").wants(200, "no longer flagged")
	ann.submit("unread").wants(200, "1 message is marked as unread.", "1 unread message")
	ann.submit("read", "uid", ann.uids("Fwd: Papers", "Re: Plans")).wants(200, "marked as read").lacks("1 unread message")
	ann.submit("junk", "uid", ann.uids("Fwd: Papers")).wants(200, "1 message is junk.").lacks("Fwd: Papers")
	ann.follow("Junk").submit("notjunk", "uid", ann.uids("Fwd: Papers")).wants(200, "1 message is not junk.")
	ann.follow("Inbox").submit("delete", "uid", ann.uids("Fwd: Papers")).wants(200, "1 message was deleted.")
	ann.follow("Trash").wants(200, "Fwd: Papers")
	ann.submit("empty").wants(200, "1 message was removed for good.", "There is nothing here")

	// Folders.
	ann.follow("Manage folders").submit("create", "name", "Projects").wants(200, "The folder was created.", "Projects")
	ann.submit("create", "name", "Projects").wants(422, "There is a folder “Projects” already.")
	ann.submit("create", "name", "").wants(422, "cannot be called that")
	ann.follow("Inbox").submit("move", "uid", ann.uids("Re: Plans"), "to", ann.option("Projects")).wants(200, "1 message was moved.").lacks("Re: Plans")
	ann.follow("Projects").wants(200, "Re: Plans")
	ann.follow("Manage folders").submit("rename", "name", "Old projects").wants(200, "The folder was renamed.", "Old projects")
	ann.submit("delete").wants(200, "The folder was deleted", "Trash").lacks("Old projects")
	ann.follow("Trash").wants(200, "Re: Plans")

	// Search, header, raw.
	rg.deliver("a-ann", hello)
	ann.follow("Inbox").wants(200, "Lunch")
	ann.searches("lunch").wants(200, "Found for “lunch”", "Carol")
	ann.searches("dinner").wants(200, "Nothing was found")
	ann.follow("Show all").follow("Lunch").wants(200, "Shall we meet")
	if !strings.Contains(ann.body, `<a href="https://example.org/lunch" target="_blank" rel="noopener noreferrer nofollow">https://example.org/lunch</a>?`) {
		t.Errorf("no link:\n%s", ann.body)
	}
	ann.follow("Show header").wants(200, "Message-ID: <lunch@example.org>")
	source := *ann
	source.follow("Show the whole source")
	if !strings.Contains(source.body, "Message-ID: <lunch@example.org>\r\n") || source.res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.HasPrefix(source.res.Header.Get("Content-Disposition"), "inline") {
		t.Errorf("source: %q %v", source.body, source.res.Header)
	}
	ann.follow("Save message")
	if !strings.Contains(ann.body, "Message-ID: <lunch@example.org>\r\n") || ann.res.Header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("raw: %q %v", ann.body, ann.res.Header)
	}

	// Settings: the name and the signature are in what is written.
	ann.get("/settings").submit("save", "name", "Ann Smith", "signature", "Ann\nSmith & Co.").wants(200, "Your settings are saved.")
	ann.follow("New message").wants(200, "Smith & Co.").submit("send", "to", "bob@example.test", "subject", "Signed").wants(200, "was sent")
	bob.get("/").follow("Signed").wants(200, "Ann Smith", "Smith & Co.")

	// A new password.
	ann.get("/settings").submit("password", "old", "wrong", "new", "some new words", "again", "some new words").wants(422, "The present password is wrong.")
	ann.submit("password", "old", "correct horse", "new", "some new words", "again", "other words").wants(422, "The two new passwords differ.")
	ann.submit("password", "old", "correct horse", "new", "short", "again", "short").wants(422, "too easy to guess")
	ann.submit("password", "old", "correct horse", "new", "some new words", "again", "some new words").wants(200, "Your password is changed.")
	ann.submit("signout").wants(200, "You are signed out.")
	ann.submit("signin", "login", "ann@example.test", "password", "correct horse").wants(403, "do not fit together")
	ann.submit("signin", "password", "some new words").wants(200, "Inbox")
}

// follow2 goes to the inbox and opens a message.
func (b *tab) follow2(t *testing.T, subject string) *tab {
	t.Helper()
	return b.get("/").follow(subject)
}

// TestWrongAddress: what was typed is not lost, whatever is wrong with it.
func TestWrongAddress(t *testing.T) {
	rg := newRig(t)
	ann := rg.as("ann")
	ann.follow("New message").submit("send", "to", "bob@example.test, nobody at all", "subject", "Hi", "text", "A long text.", "files", file{"a.txt", "text/plain", "a"})
	ann.wants(422, "is no mail address", "A long text.", "Please choose the files once more.")
	ann.submit("send", "to", "").wants(422, "To whom?", "A long text.")
	ann.submit("send", "to", "bob@example.test, nobody@example.test").wants(422, "nobody@example.test", "1 recipient", "kept as a draft")
	ann.submit("send", "to", "").wants(422, "To whom?")
	rg.as("bob").wants(200, "Hi")
	ann.follow("Drafts").wants(200, "Hi").follow("Hi").submit("discard").wants(200, "The draft was discarded.")
	ann.follow("Drafts").wants(200, "There is nothing here")
}

// TestTwoWindows: a draft that was sent in one is not sent again in the other, and its
// text is not lost.
func TestTwoWindows(t *testing.T) {
	rg := newRig(t)
	ann := rg.as("ann")
	ann.follow("New message").submit("save", "to", "bob@example.test", "subject", "Once", "text", "Only once.").wants(200, "The draft is saved.")
	page := *ann
	ann.submit("send").wants(200, "was sent")
	other := &page
	other.submit("send", "text", "Twice?").wants(http.StatusConflict, "in another window", "Twice?")
	bob := rg.as("bob")
	if n := strings.Count(bob.text(), "Once"); n != 1 {
		t.Errorf("bob has %d:\n%s", n, bob.text())
	}
}

// TestPaging walks through a folder and back.
func TestPaging(t *testing.T) {
	rg := newRig(t)
	for range 60 {
		rg.deliver("a-ann", hello)
	}
	ann := rg.as("ann")
	ann.get("/settings").submit("save", "page-size", "25")
	ann.get("/").wants(200, "60 messages", "Older").lacks("Newer")
	ann.follow("Older").wants(200, "Newer", "Older").follow("Older").wants(200, "Newer").lacks("Older")
	if n := len(ann.uids("Lunch")); n != 10 {
		t.Errorf("%d on the last page, want 10", n)
	}
	ann.follow("Newer").follow("Newer").wants(200, "Older").lacks("Newer")
	// What is done on a page leads back to it.
	ann.follow("Older")
	ann.submit("flag", "uid", ann.uids("Lunch")[:1]).wants(200, "1 message is flagged.", "Newer", "Older")
	ann.submit("flag").wants(200, "First choose messages")
}
