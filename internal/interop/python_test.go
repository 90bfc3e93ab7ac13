package interop

import (
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

const pythonScript = `
import imaplib, smtplib, ssl, sys, email.message, time
smtp, submission, submissions, imap, imaps, user, peer, password = sys.argv[1:]
ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
def at(a): h, p = a.rsplit(":", 1); return h, int(p)

m = email.message.EmailMessage()
m["From"] = user; m["To"] = peer; m["Subject"] = "Smørrebrød ☃"
m.set_content("Bonjour à tous\n"); m.add_attachment(b"\x00\xff" * 5000, maintype="application", subtype="octet-stream", filename="ÿ.bin")

s = smtplib.SMTP(*at(submission)); s.starttls(context=ctx); s.login(user, password)
s.send_message(m); s.quit()
s = smtplib.SMTP_SSL(*at(submissions), context=ctx); s.login(user, password)
try:
    s.sendmail(user, [peer, "nobody@example.test"], b"Subject: two\r\n\r\nx\r\n")
finally:
    s.quit()
s = smtplib.SMTP(*at(smtp))
code, text = s.docmd("VRFY", peer); assert code == 252, (code, text)
try:
    s.sendmail("z@example.org", ["nobody@example.test"], b"x"); assert False
except smtplib.SMTPRecipientsRefused as e:
    assert e.recipients["nobody@example.test"][0] == 550, e
s.quit()

c = imaplib.IMAP4(*at(imap)); c.starttls(ctx); c.login(peer, password)
assert c.select("INBOX")[0] == "OK"
typ, data = c.search(None, "SUBJECT", "two"); assert data == [b"2"], data
typ, data = c.search("UTF-8", "TEXT", '"tous"'); assert data == [b"1"], data
c.literal = "Smørrebrød".encode()
typ, data = c.search("UTF-8", "SUBJECT"); assert data == [b"1"], data
typ, data = c.fetch("1", "(FLAGS RFC822.SIZE BODYSTRUCTURE BODY.PEEK[])")
got = email.message_from_bytes(data[0][1])
parts = list(got.walk()); assert parts[2].get_payload(decode=True) == b"\x00\xff" * 5000
assert c.create("Work/Old")[0] == "OK"; assert c.subscribe("Work/Old")[0] == "OK"
assert c.copy("1", "Work/Old")[0] == "OK"; assert c.store("1", "+FLAGS", r"(\Deleted $Label1)")[0] == "OK"
assert c.expunge()[0] == "OK"; typ, data = c.status("Work/Old", "(MESSAGES UIDNEXT UNSEEN)"); assert b"MESSAGES 1" in data[0], data
assert c.rename("Work/Old", "Work/New")[0] == "OK"
typ, data = c.list('""', "*"); assert any(b"Work/New" in x for x in data), data
assert c.append("Work/New", r"(\Seen)", imaplib.Time2Internaldate(time.time()), b"Subject: appended\r\n\r\nx\r\n")[0] == "OK"
assert c.select("Work/New", readonly=True)[0] == "OK"
typ, data = c.uid("SEARCH", None, "SEEN"); assert data == [b"2"], data
assert c.store("1", "+FLAGS", r"(\Deleted)")[0] == "NO" # read-only
assert c.close()[0] == "OK"; assert c.delete("Work/New")[0] == "OK"; c.logout()
c = imaplib.IMAP4_SSL(*at(imaps), ssl_context=ctx)
c.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (peer, password)).encode())
assert c.enable("UTF8=ACCEPT")[0] == "OK"; assert c.noop()[0] == "OK"; c.logout()
print("done")
`

func TestPython(t *testing.T) {
	peers.Need(t, "python3")
	o := office(t)
	out := peers.Command{Name: "python3", Args: []string{"-c", pythonScript, o.SMTP, o.Submission, o.Submissions, o.IMAP, o.IMAPS, ann, bob, password}}.MustRun(t)
	if out != "done\n" {
		t.Error(out)
	}
}
