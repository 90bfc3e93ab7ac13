package interop

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// TestNothingIsAcknowledgedBeforeItIsDurable looks at the system calls of a server
// that takes 20 messages by DATA, 10 by BDAT and 10 over LMTP, and another 10 over
// IMAP, which are then flagged, copied, moved and expunged. When it says yes, every
// file that it wrote since is synced, and so is every folder in which a name appeared;
// and what names a content comes after the content.
func TestNothingIsAcknowledgedBeforeItIsDurable(t *testing.T) {
	peers.Need(t, "strace")
	o := office(t, "-insecure-auth", "-lmtp", "127.0.0.1:0", "-trusted", "127.0.0.0/8") // so that answers can be read
	dir, err := filepath.EvalSymlinks(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "calls")
	stop := trace(t, o.Pid(), log)

	const byDATA, byBDAT, byLMTP, byIMAP = 20, 10, 10, 10
	for _, door := range []struct {
		addr, hello, name string
		n                 int
		bdat              bool
		rcpts             []string
	}{
		{o.SMTP, "EHLO", "data", byDATA, false, []string{ann}},
		{o.SMTP, "EHLO", "bdat", byBDAT, true, []string{ann, bob}},
		{o.LMTP, "LHLO", "lmtp", byLMTP, false, []string{ann, bob}},
	} {
		c, err := textproto.Dial("tcp", door.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		say := func(code int, format string, args ...any) {
			t.Helper()
			if format != "" {
				c.PrintfLine(format, args...)
			}
			if _, msg, err := c.ReadResponse(code); err != nil {
				t.Fatalf("%s: %v %s", format, err, msg)
			}
		}
		say(220, "")
		say(250, "%s far.test", door.hello)
		for i := range door.n {
			say(250, "MAIL FROM:<zoe@example.net>")
			for _, r := range door.rcpts {
				say(250, "RCPT TO:<%s>", r)
			}
			// Most are small; the fourth of five has a file of its own.
			text := strings.Repeat("text\n", []int{1, 500, 4000, 60_000, 20_000}[i%5])
			msg := fmt.Sprintf("X-Mark: %s-%02d\r\n%s", door.name, i, letter("zoe@example.net", ann, fmt.Sprint("message ", i), text))
			if door.bdat {
				half := len(msg) / 2
				fmt.Fprintf(c.W, "BDAT %d\r\n%s", half, msg[:half])
				c.W.Flush()
				say(250, "")
				fmt.Fprintf(c.W, "BDAT %d LAST\r\n%s", len(msg)-half, msg[half:])
				c.W.Flush()
			} else {
				say(354, "DATA")
				io.WriteString(c.W, msg)
				c.PrintfLine(".")
			}
			answers := 1
			if door.hello == "LHLO" {
				answers = len(door.rcpts)
			}
			for range answers {
				say(250, "")
			}
		}
	}

	box, err := imapclient.DialInsecure(o.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(box.Login(bob, password).Wait())
	must(box.Create("Notes", nil).Wait())
	_, err = box.Select("INBOX", nil).Wait()
	must(err)
	for i := range byIMAP {
		text := fmt.Sprintf("X-Mark: imap-%02d\r\n%s", i, letter(bob, bob, fmt.Sprint("note ", i), strings.Repeat("text\n", i*i*1000)))
		cmd := box.Append("INBOX", int64(len(text)), nil)
		io.WriteString(cmd, text)
		must(cmd.Close())
		data, err := cmd.Wait()
		must(err)
		uid := imap.UIDSetNum(data.UID)
		must(box.Store(uid, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close())
		_, err = box.Copy(uid, "Notes").Wait()
		must(err)
		if i%2 == 0 {
			_, err = box.Move(uid, "Notes").Wait()
			must(err)
			continue
		}
		must(box.Store(uid, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
		must(box.UIDExpunge(uid).Close())
	}
	o.Stop()
	stop()

	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := &durability{t: t, dir: dir, began: map[string]string{}, since: map[string]int{}, wrote: map[string]int{}, named: map[string]int{}, marked: map[string]bool{}, answers: map[string]int{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d.line(lines.Text())
	}
	want := map[string]int{
		"smtp": byDATA + byBDAT + 2*byLMTP, "CREATE": 1, "APPEND": byIMAP,
		"STORE": byIMAP * 3 / 2, "COPY": byIMAP, "MOVE": byIMAP / 2, "EXPUNGE": byIMAP / 2,
	}
	if err := lines.Err(); err != nil || !maps.Equal(d.answers, want) {
		t.Errorf("saw the answers %v (%v), want %v", d.answers, err, want)
	}
	// A large content is written in several pieces, and its mark is in the first.
	if want := byDATA + byBDAT + byLMTP + byIMAP; d.marks != want {
		t.Errorf("saw %d contents, want %d", d.marks, want)
	}
	if d.segments < 1 || d.larges < 4 {
		t.Errorf("saw %d new segments and %d large files; this shows nothing of them", d.segments, d.larges)
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
	cmd := exec.Command(strace, "-f", "-y", "-s", "400", "-e", "trace="+calls, "-o", path, "-p", fmt.Sprint(pid))
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
		peers.Forbidden(t, "strace cannot trace: "+first)
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

	marked map[string]bool // segments with contents that are not synced

	answers                 map[string]int // that said yes, of each kind
	marks, segments, larges int
}

var (
	onFile  = regexp.MustCompile(`^(\w+)\(\d+<(/[^>]*)>`)
	onSock  = regexp.MustCompile(`^(?:write|writev|sendto|sendmsg)\(\d+<(?:socket|TCP)[^>]*>, (?:\[\{iov_base=)?"([^"]*)`)
	imapOK  = regexp.MustCompile(`T\d+ OK (?:\[[^]]*\] )?(?:UID )?(CREATE|APPEND|STORE|COPY|MOVE|EXPUNGE) completed`)
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
	if n := strings.Count(m[1], "250 2.0.0 ok: "); n > 0 { // LMTP says several at once
		d.answers["smtp"] += n
		d.check(m[1])
	}
	if m := imapOK.FindStringSubmatch(m[1]); m != nil {
		d.answers[m[1]]++
		d.check(m[0])
	}
}

func (d *durability) check(answer string) {
	for path := range d.wrote {
		if promised(path) {
			d.t.Errorf("line %d: %s is not synced at %q", d.n, path, answer)
		}
	}
	for path := range d.named {
		if promised(path) {
			d.t.Errorf("line %d: the name %s is not synced at %q", d.n, path, answer)
		}
	}
}

// promised leaves out what is being prepared, and the index of a segment, which is
// made again from it.
func promised(path string) bool {
	return !strings.HasSuffix(path, ".tmp") && !strings.HasSuffix(path, ".idx")
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
				d.marked[path] = strings.HasSuffix(path, ".seg")
			}
			if strings.HasSuffix(path, "mail.db-wal") {
				for segment, yes := range d.marked {
					if yes {
						d.t.Errorf("line %d: rows are written before the contents in %s are synced", d.n, segment)
					}
				}
			}
		case "fsync", "fdatasync":
			if d.wrote[path] < from {
				delete(d.wrote, path)
				delete(d.marked, path)
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
		if strings.HasSuffix(m[3], ".seg") {
			d.segments++
		} else if filepath.Base(filepath.Dir(m[3])) == "large" {
			d.larges++
		}
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
