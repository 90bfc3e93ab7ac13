package imap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// These tests, with those of server_test.go, fail on the imapserver package of
// go-imap v2.0.0-beta.8, which is why this engine is our own.

// I1: what comes as a literal is never a command, however large it is said to be.
func TestI1LiteralsAreNeverCommands(t *testing.T) {
	evil := "x DELETE keep\r\nSubject: DELETE keep\r\ny LOGOUT\r\n"
	for name, attack := range map[string]string{
		"APPEND over the limit":  fmt.Sprintf("a APPEND INBOX {%d+}\r\n", 60<<20) + evil,
		"a name over the limit":  "a CREATE {70000+}\r\nzz\r\n" + evil + strings.Repeat("x", 70000) + "\r\n",
		"after an error":         fmt.Sprintf("a FROB {%d+}\r\n", len(evil)) + evil + "\r\n",
		"in the wrong state":     fmt.Sprintf("a LOGIN x {%d+}\r\n", len(evil)) + evil + "\r\n",
		"after a too long line":  fmt.Sprintf("a CREATE %s {%d+}\r\n", strings.Repeat("y", 100_000), len(evil)) + evil + "\r\n",
		"mailbox does not exist": fmt.Sprintf("a APPEND none {%d+}\r\n", len(evil)) + evil + "\r\n",
		"bad flag":               fmt.Sprintf("a APPEND INBOX (\\X) {%d+}\r\n", len(evil)) + evil + "\r\n",
		"two literals":           fmt.Sprintf("a APPEND INBOX {3+}\r\nabc {%d+}\r\n", len(evil)) + evil + "\r\n",
		"after LOGOUT":           fmt.Sprintf("a LOGOUT {%d+}\r\n", len(evil)) + evil + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
			out := converse(t, s, loginPreamble+"k CREATE keep\r\n"+attack)
			if _, err := s.Store.As("a1").Folder(t.Context(), "keep"); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for _, tag := range []string{"\r\nx ", "\r\ny ", "\r\nSubject:"} {
				if strings.Contains(out, tag) {
					t.Errorf("something was taken for a command:\n%s", out)
				}
			}
		})
	}
}

// I2: a long set of UIDs works up to the limit, and beyond it is one bad command.
func TestI2LongCommands(t *testing.T) {
	var set strings.Builder
	for i := 1; set.Len() < 60_000; i += 2 {
		fmt.Fprintf(&set, "%d,", i)
	}
	p := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}}))
	p.ok("LOGIN ann secret")
	p.ok("SELECT INBOX")
	p.ok("UID STORE %s1 +FLAGS.SILENT (x)", set.String())
	for _, n := range []int{maxCommand, maxCommand + 1, 70_000, 200_000, 1_000_000} {
		l := p.do("UID STORE %s1 +FLAGS (x)", strings.Repeat("1,", n/2))
		if len(l) != 1 || l[0] != "t BAD Command is too long" {
			t.Error(l)
		}
		p.ok("NOOP")
	}
	p.send("u NOOP %s", strings.Repeat("x", 2*maxSkip))
	if l := p.line(); l != "* BYE Command line is too long" {
		t.Error(l)
	}
}

// I3: MULTIAPPEND stores all messages, or none and says so.
func TestI3MultiappendStoresAllOrNothing(t *testing.T) {
	p := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}}))
	p.ok("LOGIN ann secret")
	if l := p.do("APPEND INBOX {3+}\r\nabc (\\Nonesuch) {3+}\r\ndef"); !strings.HasPrefix(l[0], "t BAD") {
		t.Error(l)
	}
	p.send("t APPEND INBOX {3}")
	p.line()
	p.send("abc (\\Seen) {x}")
	if l := p.line(); !strings.HasPrefix(l, "t BAD") {
		t.Error(l)
	}
	if l := p.ok("STATUS INBOX (MESSAGES)"); l[0] != `* STATUS "INBOX" (MESSAGES 0)` {
		t.Error(l)
	}
	p.ok("APPEND INBOX {3+}\r\nabc (\\Seen) {3+}\r\ndef")
	if l := p.ok("STATUS INBOX (MESSAGES)"); l[0] != `* STATUS "INBOX" (MESSAGES 2)` {
		t.Error(l)
	}
}

// I9: EXAMINE changes nothing, CLOSE included.
func TestI9ExamineIsReadOnly(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
	put(t, s.Store, "a1", inbox, "x\n", `\Deleted`)
	p := dial(t, start(t, s))
	p.ok("LOGIN ann secret")
	for _, cmd := range []string{"EXPUNGE", "UID EXPUNGE 1:*", `STORE 1 +FLAGS (\Seen)`, `UID STORE 1 FLAGS ()`, "MOVE 1 INBOX", "UID MOVE 1 INBOX"} {
		p.ok("EXAMINE INBOX")
		if l := p.do("%s", cmd); !strings.HasPrefix(l[0], "t NO [NOPERM]") {
			t.Error(cmd, l)
		}
	}
	p.ok("CLOSE")
	if l := p.ok("STATUS INBOX (MESSAGES UNSEEN DELETED)"); l[0] != `* STATUS "INBOX" (MESSAGES 1 UNSEEN 1 DELETED 1)` {
		t.Error(l)
	}
}

// failing is an Authenticator that cannot tell.
type failing struct{ err error }

func (f failing) Authenticate(context.Context, accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{}, f.err
}

// I11: long responses, errors of the directory, and the number of attempts.
func TestI11Authentication(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: failing{errors.New("the database is down")}, Store: newStore()}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00secret"))
	for _, cmd := range []string{"LOGIN ann secret", "AUTHENTICATE PLAIN " + plain} {
		out := converse(t, s, strings.Repeat("a "+cmd+"\r\n", 5))
		if strings.Count(out, "a NO [UNAVAILABLE] Authentication is temporarily unavailable\r\n") != 5 || strings.Contains(out, "database") {
			t.Errorf("%s:\n%s", cmd, out)
		}
	}
	s = &Server{InsecureAuth: true, Auth: failing{accounts.ErrThrottled}, Store: newStore()}
	out := converse(t, s, strings.Repeat("a LOGIN ann secret\r\n", 5))
	if strings.Count(out, "a NO [UNAVAILABLE] Too many failed logins, try again later\r\n") != 3 || !strings.Contains(out, "* BYE Too many failed logins") {
		t.Errorf("throttled:\n%s", out)
	}
	// A response of 1,500 bytes, and one that is longer than any name and password.
	s = &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
	long := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + strings.Repeat("x", 1500)))
	out = converse(t, s, "a AUTHENTICATE PLAIN\r\n"+long+"\r\nb AUTHENTICATE PLAIN "+long+"\r\n"+
		"c AUTHENTICATE PLAIN\r\n"+long+long+"\r\nd LOGIN ann secret\r\n")
	for _, want := range []string{"a NO [AUTHENTICATIONFAILED]", "b NO [AUTHENTICATIONFAILED]", "c BAD ", "d OK "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// An account whose password is for something else.
	s = &Server{InsecureAuth: true, Auth: scoped{}, Store: newStore()}
	if out := converse(t, s, "a LOGIN ann secret\r\n"); !strings.Contains(out, "a NO [AUTHORIZATIONFAILED]") {
		t.Error(out)
	}
}

type scoped struct{}

func (scoped) Authenticate(context.Context, accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{Account: "a1", Scopes: []string{"submission"}}, nil
}

// T23: base64 is strict.
func TestBase64IsStrict(t *testing.T) {
	for _, s := range []string{"AGFu\tbgBz", "AGFu bgBz", "AGFubgBz=", "AGFubgBzZWNyZXQ", "AGFubgBzZWNyZXR=", "AGFubgBzZWNyZXQ==", "====", "AGFubgBzZWNyZ-_="} {
		out := converse(t, &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}, "a AUTHENTICATE PLAIN\r\n"+s+"\r\n")
		if !strings.Contains(out, "a BAD") {
			t.Errorf("%q: %s", s, out)
		}
	}
}

// I10: ENVELOPE says what the header says, letter by letter, and a broken structure
// harms nobody.
func TestI10EnvelopesAreNotRewritten(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
	put(t, s.Store, "a1", inbox, "Date: Thu, 1 Jan 1998 1:02 +0000 (fun)\nSubject: =?iso-8859-1?q?caf=E9?= =?x?\n"+
		"From: =?utf-8?b?w7w=?= <a@b>\nMessage-ID: <x@y>\nContent-Type: multipart/mixed\nContent-MD5: abc\n\nx\n")
	out := converse(t, s, selectPreamble+"a ENABLE UTF8=ACCEPT\r\nb FETCH 1 (ENVELOPE BODYSTRUCTURE)\r\n")
	for _, want := range []string{
		`ENVELOPE ("Thu, 1 Jan 1998 1:02 +0000 (fun)" "=?iso-8859-1?q?caf=E9?= =?x?" (("=?utf-8?b?w7w=?=" NIL "a" "b"))`,
		`"<x@y>")`, "\r\nb OK",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

// I12: DONE has no case, SAVE alone says nothing, and ENABLED is told even if it is
// empty: that is right (RFC 9051, 6.3.1).
func TestI12SmallThings(t *testing.T) {
	out := converse(t, &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()},
		loginPreamble+"a IDLE\r\ndone\r\nb IDLE\r\nDoNe\r\nc ENABLE X-NONE\r\ns SELECT INBOX\r\nd SEARCH RETURN (SAVE) ALL\r\n")
	if strings.Contains(out, "* ESEARCH") {
		t.Error("SEARCH RETURN (SAVE) has a result") // RFC 5182, 2.1
	}
	for _, want := range []string{"a OK", "b OK", "* ENABLED\r\nc OK", "d OK"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestSCRAM(t *testing.T) {
	addr := start(t, &Server{InsecureAuth: true})
	for _, inline := range []bool{true, false} {
		for password, ok := range map[string]bool{"secret": true, "wrong": false} {
			client, err := scram.SHA256.NewClient("ann@example.org", password, "")
			if err != nil {
				t.Fatal(err)
			}
			conv := client.NewConversation()
			first, _ := conv.Step("")
			enc := base64.StdEncoding.EncodeToString([]byte(first))
			p := dial(t, addr)
			if inline {
				p.send("a AUTHENTICATE SCRAM-SHA-256 %s", enc)
			} else {
				p.send("a AUTHENTICATE SCRAM-SHA-256")
				if l := p.line(); l != "+ " {
					t.Fatal(l)
				}
				p.send("%s", enc)
			}
			var last string
			for {
				last = p.line()
				challenge, more := strings.CutPrefix(last, "+ ")
				if !more {
					break
				}
				b, err := base64.StdEncoding.DecodeString(challenge)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := conv.Step(string(b))
				if err != nil {
					t.Fatal(err)
				}
				p.send("%s", base64.StdEncoding.EncodeToString([]byte(answer)))
			}
			if strings.HasPrefix(last, "a OK") != ok || conv.Valid() != ok {
				t.Errorf("password %s: %s", password, last)
			}
		}
	}
}

// T15: depth and number of what is nested or listed.
func TestHostileLists(t *testing.T) {
	var id strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&id, `"k%d" "v" `, i)
	}
	for _, in := range []string{
		"a ID (" + id.String() + ")\r\n",
		"a ID (" + strings.Repeat(`"k" "v" `, 40) + ")\r\n",
		"a ID " + strings.Repeat("(", 8000) + "\r\n",
		"a LOGIN " + strings.Repeat("x", 9000) + " y\r\n",
	} {
		out := converse(t, &Server{Auth: anyone{}, Store: newStore(), InsecureAuth: true}, in+"b NOOP\r\n")
		if !strings.Contains(out, "a BAD") && !strings.Contains(out, "* BYE") {
			t.Errorf("%.30q: %s", in, out)
		}
	}
	for _, in := range []string{
		"a LIST " + strings.Repeat("(", 60_000) + "\r\n",
		`a LIST "" (` + strings.Repeat("* ", 30_000) + ")\r\n",
		"a CREATE x " + strings.Repeat("(USE ", 10_000) + "\r\n",
		"a STORE 1 FLAGS (" + strings.Repeat("x ", 30_000) + ")\r\n",
		"a STATUS INBOX " + strings.Repeat("(", 60_000) + "\r\n",
	} {
		out := converse(t, &Server{Auth: anyone{}, Store: newStore(), InsecureAuth: true}, selectPreamble+in+"b NOOP\r\n")
		if !strings.Contains(out, "\r\na BAD") || !strings.Contains(out, "\r\nb OK") {
			t.Errorf("%.30q: %.300s", in, out)
		}
	}
}

// brokenBlobs panics while a message is written.
type brokenBlobs struct{ blob.Store }

type brokenWriter struct{ blob.Writer }

func (b brokenBlobs) Create(ctx context.Context) (blob.Writer, error) {
	w, err := b.Store.Create(ctx)
	return brokenWriter{w}, err
}

func (brokenWriter) Write([]byte) (int, error) { panic("boom") }

// The same when a command ends in the middle of a literal because it panicked.
func TestI1APanicInALiteral(t *testing.T) {
	st := newStore()
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: st.Backend, Blobs: brokenBlobs{st.Blobs}}}
	evil := strings.Repeat("x DELETE keep\r\n", 5000)
	out := converse(t, s, loginPreamble+fmt.Sprintf("k CREATE keep\r\na APPEND INBOX {%d+}\r\n%s\r\nb NOOP\r\n", len(evil), evil))
	if !strings.HasSuffix(out, "a NO [SERVERBUG] Internal error\r\n* BYE [SERVERBUG] Internal error\r\n") {
		t.Errorf("%.300s", out)
	}
	if _, err := st.As("a1").Folder(t.Context(), "keep"); err != nil {
		t.Error(err)
	}
}

// failingBlobs cannot write.
type failingBlobs struct{ blob.Store }

type failingWriter struct{ blob.Writer }

func (b failingBlobs) Create(ctx context.Context) (blob.Writer, error) {
	w, err := b.Store.Create(ctx)
	return failingWriter{w}, err
}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// A message that cannot be kept is refused, and the connection goes on.
func TestAppendThatCannotBeWritten(t *testing.T) {
	st := newStore()
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: st.Backend, Blobs: failingBlobs{st.Blobs}}}
	out := converse(t, s, loginPreamble+"a APPEND INBOX {5+}\r\nhello\r\nb STATUS INBOX (MESSAGES)\r\n")
	if !strings.Contains(out, "\r\na NO [UNAVAILABLE] ") || strings.Contains(out, "device") || !strings.HasSuffix(out, "(MESSAGES 0)\r\nb OK STATUS completed\r\n") {
		t.Error(out)
	}
}
