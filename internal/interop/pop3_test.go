package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
	"github.com/mailkeel/mailkeel/internal/testoffice"
)

// postOffice is office with the POP3 doors.
func postOffice(t *testing.T) *testoffice.Office {
	t.Helper()
	return office(t, "-pop3", "127.0.0.1:0", "-pop3s", "127.0.0.1:0")
}

// subjects is how many messages of those of fill are in text.
func subjects(text []byte) int { return strings.Count("\n"+string(text), "\nSubject: number ") }

// fetchmail over STLS: keep, with a list of UIDLs, and then flush.
func TestFetchmailPOP3(t *testing.T) {
	peers.Need(t, "fetchmail")
	o := postOffice(t)
	fill(t, o, ann, 5)
	dir := t.TempDir()
	box := filepath.Join(dir, "box")
	run := func(how, door, tls string) (string, error) {
		rc := file(t, dir, "rc", fmt.Sprintf(`set no bouncemail
poll 127.0.0.1 protocol POP3 uidl port %s
  user "%s" password "%s" %s no sslcertck %s
  mda "cat >> %s"
`, port(t, door), ann, password, tls, how, box))
		return peers.Command{Name: "fetchmail", Args: []string{"-f", rc, "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids")}, Dir: dir}.Run(t)
	}
	const stls, implicit = `sslproto "TLS1.2+"`, `ssl sslproto "TLS1.2+"`
	if out, err := run("keep", o.POP3, stls); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Exit status 1 says that there was no new mail: unique-ids are the same.
	if out, err := run("keep", o.POP3, stls); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("a second time: %v\n%s", err, out)
	}
	fill(t, o, ann, 2)
	if out, err := run("keep", o.POP3S, implicit); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	if n := subjects(got); n != 7 {
		t.Errorf("%d messages came, want 7:\n%s", n, got)
	}
	if left := mailbox(t, o, ann, "INBOX"); len(left) != 7 {
		t.Errorf("%d messages are left, want 7", len(left))
	}
	if out, err := run("no keep fetchall", o.POP3S, implicit); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left := mailbox(t, o, ann, "INBOX"); len(left) != 0 {
		t.Errorf("%d messages are left", len(left))
	}
}

func TestGetmailPOP3(t *testing.T) {
	peers.Need(t, "getmail")
	o := postOffice(t)
	fill(t, o, ann, 5)
	dir := t.TempDir()
	box := file(t, dir, "box", "")
	run := func(remove bool) {
		t.Helper()
		file(t, dir, "rc", fmt.Sprintf(`[retriever]
type = SimplePOP3SSLRetriever
server = 127.0.0.1
port = %s
username = %s
password = %s
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >> %s")
allow_root_commands = true
[options]
read_all = false
delete = %v
`, port(t, o.POP3S), ann, password, box, remove))
		peers.Command{Name: "getmail", Args: []string{"--getmaildir", dir, "--rcfile", filepath.Join(dir, "rc")}, Dir: dir}.MustRun(t)
	}
	run(false)
	run(false) // nothing is new
	got, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	if n := subjects(got); n != 5 {
		t.Errorf("%d messages came, want 5:\n%s", n, got)
	}
	run(true)
	if left := mailbox(t, o, ann, "INBOX"); len(left) != 0 {
		t.Errorf("%d messages are left", len(left))
	}
}

// mpop pipelines, and takes SCRAM where it can.
func TestMpop(t *testing.T) {
	peers.Need(t, "mpop")
	o := postOffice(t)
	for _, auth := range []string{"user", "plain", "login", "scram-sha-256"} {
		t.Run(auth, func(t *testing.T) {
			fill(t, o, ann, 3)
			dir := t.TempDir()
			box := file(t, dir, "box", "")
			rc := file(t, dir, "rc", fmt.Sprintf(`account default
host 127.0.0.1
port %s
tls on
tls_starttls on
tls_certcheck off
auth %s
user %s
password %s
pipelining on
keep off
delivery mbox %s
uidls_file %s
`, port(t, o.POP3), auth, ann, password, box, filepath.Join(dir, "uidls")))
			if out, err := (peers.Command{Name: "mpop", Args: []string{"--version"}}).Run(t); auth == "scram-sha-256" && (err != nil || !strings.Contains(out, auth)) {
				t.Skip("this mpop cannot do it")
			}
			out, err := peers.Command{Name: "mpop", Args: []string{"-C", rc, "--debug"}, Dir: dir}.Run(t)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := os.ReadFile(box)
			if err != nil {
				t.Fatal(err)
			}
			if n := subjects(got); n != 3 {
				t.Errorf("%d messages came, want 3:\n%s\n%s", n, out, got)
			}
			if left := mailbox(t, o, ann, "INBOX"); len(left) != 0 {
				t.Errorf("%d messages are left", len(left))
			}
		})
	}
}

func TestCurlPOP3(t *testing.T) {
	peers.Need(t, "curl")
	o := postOffice(t)
	fill(t, o, ann, 3)
	curl := func(args ...string) string {
		t.Helper()
		return peers.Command{Name: "curl", Args: append([]string{"-sS", "-k", "-u", ann + ":" + password}, args...)}.MustRun(t)
	}
	want := string(mailbox(t, o, ann, "INBOX")[1])
	for _, url := range []string{"pop3s://" + o.POP3S, "pop3://" + o.POP3} {
		for _, auth := range []string{"*", "PLAIN", "LOGIN"} {
			args := []string{"--ssl-reqd", "--login-options", "AUTH=" + auth}
			if got := curl(append(args, url+"/2")...); got != want {
				t.Errorf("%s with %s: %q, want %q", url, auth, got, want)
			}
		}
		if got := strings.Fields(curl("--ssl-reqd", url+"/")); len(got) != 6 || got[1] == "" || got[2] != "2" {
			t.Errorf("list: %q", got)
		}
		if got := strings.Fields(curl("--ssl-reqd", "-X", "UIDL", url+"/")); len(got) != 6 || len(got[1]) != 16 {
			t.Errorf("unique-ids: %q", got)
		}
	}
	if out, err := (peers.Command{Name: "curl", Args: []string{"-sS", "-k", "-u", ann + ":wrong", "pop3s://" + o.POP3S}}).Run(t); err == nil {
		t.Errorf("a wrong password: %s", out)
	}
	curl("-I", "-X", "DELE", "pop3s://"+o.POP3S+"/2")
	if left := mailbox(t, o, ann, "INBOX"); len(left) != 2 {
		t.Errorf("%d messages are left, want 2", len(left))
	}
}

const poplibScript = `
import poplib, ssl, sys
pop3, pop3s, user, password = sys.argv[1:]
ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
def at(a): h, p = a.rsplit(":", 1); return h, int(p)

c = poplib.POP3(*at(pop3))
try:
    c.user(user); assert False, "without TLS"
except poplib.error_proto: pass
assert "STLS" in c.capa() and "USER" not in c.capa(), c.capa()
c.stls(ctx)
caps = c.capa(); assert "PLAIN" in caps["SASL"] and caps["EXPIRE"] == ["NEVER"] and "UTF8" in caps, caps
assert c.utf8().startswith(b"+OK")
c.user(user); c.pass_(password)
n, octets = c.stat(); assert n == 3, n
resp, items, _ = c.list(); assert len(items) == 3, items
assert sum(int(i.split()[1]) for i in items) == octets
resp, ids, _ = c.uidl(); ids = [i.split()[1] for i in ids]; assert len(set(ids)) == 3, ids
for i in range(1, 4):
    resp, lines, _ = c.retr(i)
    text = b"".join(l + b"\r\n" for l in lines)
    assert len(text) == int(items[i-1].split()[1]), (len(text), items[i-1])
    head = c.top(i, 0)[1]; assert head == lines[:len(head)] and head[-1] == b"", head
    assert c.top(i, 10**6)[1] == lines
c.dele(1); c.dele(3); assert c.stat()[0] == 1
c.rset(); assert c.stat()[0] == 3
c.dele(2); c.noop(); c.quit()
c = poplib.POP3_SSL(*at(pop3s), context=ctx)
try:
    c.user(user); c.pass_("wrong"); assert False
except poplib.error_proto as e: assert b"[AUTH]" in e.args[0], e
c.user(user); c.pass_(password)
assert [i.split()[1] for i in c.uidl()[1]] == [ids[0], ids[2]]
try:
    c.retr(3); assert False
except poplib.error_proto: pass
c.close() # without QUIT
print("done")
`

func TestPoplib(t *testing.T) {
	peers.Need(t, "python3")
	o := postOffice(t)
	fill(t, o, ann, 3)
	out := peers.Command{Name: "python3", Args: []string{"-c", poplibScript, o.POP3, o.POP3S, ann, password}}.MustRun(t)
	if out != "done\n" {
		t.Error(out)
	}
}
