package interop

import (
	"bufio"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// TestNothingIsAcknowledgedBeforeItIsDurable looks at the system calls of a server
// that takes 20 messages over SMTP and 5 over IMAP: when it says yes, every file that
// it wrote since is synced, and so is every folder in which a name appeared.
func TestNothingIsAcknowledgedBeforeItIsDurable(t *testing.T) {
	peers.Need(t, "strace")
	o := office(t, "-insecure-auth") // so that answers can be read
	dir, err := filepath.EvalSymlinks(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "calls")
	stop := trace(t, o.Pid(), log)

	const bySMTP, byIMAP = 20, 5
	c, err := smtp.Dial(o.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range bySMTP {
		if err := c.Mail("zoe@example.net"); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt(ann); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "X-Mark: smtp-%02d\r\n%s", i, letter("zoe@example.net", ann, fmt.Sprint("message ", i), strings.Repeat("text\n", i*500)))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	box, err := imapclient.DialInsecure(o.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := box.Login(bob, password).Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range byIMAP {
		text := fmt.Sprintf("X-Mark: imap-%02d\r\n%s", i, letter(bob, bob, fmt.Sprint("note ", i), "text"))
		cmd := box.Append("INBOX", int64(len(text)), nil)
		io.WriteString(cmd, text)
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	o.Stop()
	stop()

	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := &durability{t: t, dir: dir, began: map[string]string{}, since: map[string]int{}, wrote: map[string]int{}, named: map[string]int{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d.line(lines.Text())
	}
	if err := lines.Err(); err != nil || d.smtp != bySMTP || d.imap != byIMAP || d.marks != bySMTP+byIMAP {
		t.Errorf("saw %d answers over SMTP, %d over IMAP, %d contents (%v), want %d, %d, %d", d.smtp, d.imap, d.marks, err, bySMTP, byIMAP, bySMTP+byIMAP)
	}
}

// trace writes the system calls of a process to a file until stop, which waits for
// its end.
func trace(t *testing.T, pid int, path string) (stop func()) {
	t.Helper()
	strace, err := peers.Find("strace")
	if err != nil {
		t.Fatal(err)
	}
	calls := "openat,write,writev,pwrite64,pwritev,ftruncate,fsync,fdatasync,sendto,sendmsg," +
		"?rename,?renameat,?renameat2,?link,linkat,?mkdir,mkdirat,?unlink,unlinkat"
	cmd := exec.Command(strace, "-f", "-y", "-s", "200", "-e", "trace="+calls, "-o", path, "-p", fmt.Sprint(pid))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	attached := make(chan string, 1)
	go func() {
		defer close(ended)
		r := bufio.NewReader(said)
		first, _ := r.ReadString('\n')
		attached <- first
		io.Copy(io.Discard, r)
		cmd.Wait()
	}()
	if first := <-attached; !strings.Contains(first, " attached") {
		peers.Missing(t, "strace cannot trace: "+first)
	}
	return func() { <-ended }
}

// durability reads the lines of strace and knows what a power cut would lose.
type durability struct {
	t     *testing.T
	dir   string
	n     int               // lines read
	began map[string]string // calls that have not ended, by thread
	since map[string]int    // and their line
	wrote map[string]int    // files and the line of their last write that is not synced
	named map[string]int    // new names that are not synced, likewise

	data              bool // the content of a message is on its way over SMTP
	smtp, imap, marks int
}

var (
	onFile  = regexp.MustCompile(`^(\w+)\(\d+<(/[^>]*)>`)
	onSock  = regexp.MustCompile(`^(?:write|writev|sendto|sendmsg)\(\d+<(?:socket|TCP)[^>]*>, (?:\[\{iov_base=)?"([^"]*)`)
	made    = regexp.MustCompile(`^(openat|mkdirat|mkdir)\(.*?"([^"]*)"(.*)`)
	renamed = regexp.MustCompile(`^(rename\w*|link\w*)\([^"]*"([^"]*)"[^"]*"([^"]*)"`)
	removed = regexp.MustCompile(`^unlink\w*\([^"]*"([^"]*)"`)
	resumed = regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
)

func (d *durability) line(s string) {
	d.n++
	thread, call, _ := strings.Cut(s, " ")
	call = strings.TrimLeft(call, " ")
	if rest, ok := strings.CutSuffix(call, " <unfinished ...>"); ok {
		d.began[thread], d.since[thread] = rest, d.n
		d.begin(rest)
		return
	}
	from := d.n
	if head := resumed.FindString(call); head != "" {
		call, from = d.began[thread]+call[len(head):], d.since[thread]
		delete(d.began, thread)
	} else {
		d.begin(call)
	}
	at := strings.LastIndex(call, " = ")                                      // filled up with spaces before it when the call is short
	if at < 0 || !strings.HasSuffix(strings.TrimRight(call[:at], " "), ")") { // a signal or an exit
		return
	}
	d.end(call[:at], call[at+3:], from)
}

// begin sees a call before it has an effect: an answer may be on its way.
func (d *durability) begin(call string) {
	m := onSock.FindStringSubmatch(call)
	if m == nil {
		return
	}
	switch text := m[1]; {
	case strings.HasPrefix(text, "354 "):
		d.data = true
	case d.data && strings.HasPrefix(text, "250 "):
		d.data = false
		d.smtp++
		d.check(text)
	case strings.Contains(text, " OK [APPENDUID"):
		d.imap++
		d.check(text)
	}
}

func (d *durability) check(answer string) {
	for path := range d.wrote {
		d.t.Errorf("line %d: %s is not synced at %q", d.n, path, answer)
	}
	for path := range d.named {
		d.t.Errorf("line %d: the name %s is not synced at %q", d.n, path, answer)
	}
}

func (d *durability) ours(path string) bool { return strings.HasPrefix(path, d.dir+"/") }

// end sees a call that ended with a result and began at line from.
func (d *durability) end(call, result string, from int) {
	if strings.HasPrefix(result, "-1 ") {
		return
	}
	if m := onFile.FindStringSubmatch(call); m != nil && (d.ours(m[2]) || m[2] == d.dir) {
		switch path := m[2]; m[1] {
		case "write", "writev", "pwrite64", "pwritev", "ftruncate":
			d.wrote[path] = d.n
			if strings.Contains(call, "X-Mark: ") {
				d.marks++
			}
		case "fsync", "fdatasync":
			if d.wrote[path] < from {
				delete(d.wrote, path)
			}
			for name, at := range d.named {
				if filepath.Dir(name) == path && at < from {
					delete(d.named, name)
				}
			}
		}
	}
	if m := renamed.FindStringSubmatch(call); m != nil && d.ours(m[3]) {
		d.named[m[3]] = d.n
		if strings.HasPrefix(m[1], "rename") {
			delete(d.named, m[2])
		}
		if at, ok := d.wrote[m[2]]; ok {
			d.wrote[m[3]] = at
			delete(d.wrote, m[2])
		}
	} else if m := made.FindStringSubmatch(call); m != nil && d.ours(m[2]) && (m[1] != "openat" || strings.Contains(m[3], "O_CREAT|O_EXCL")) {
		d.named[m[2]] = d.n
	} else if m := removed.FindStringSubmatch(call); m != nil {
		delete(d.named, m[1])
		delete(d.wrote, m[1])
	}
}
