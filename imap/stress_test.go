package imap

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/store"
)

// A client keeps a mailbox as a client must: by what it is told.
type client struct {
	*peer
	rows []clientRow
	box  string // the shared mailbox, by the name that this client uses
	name string // who it is
	mods bool   // it has enabled QRESYNC

	validity, highest string // as told last
}

type clientRow struct {
	uid   string // empty if not known yet
	flags string // "?" if not known yet
}

var (
	expungeForm = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)
	existsForm  = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	flagsForm   = regexp.MustCompile(`^\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \(([^)]*)\)(?: MODSEQ \(\d+\))?\)$`)
	uidForm     = regexp.MustCompile(`^\* (\d+) FETCH \(UID (\d+) MODSEQ \(\d+\)\)$`)
	goneForm    = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?([0-9:,]+)$`)
	validForm   = regexp.MustCompile(`^\* OK \[UIDVALIDITY (\d+)\]`)
	highForm    = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
)

// hear takes one response.
func (c *client) hear(line string) error {
	if m := expungeForm.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		if n < 1 || n > len(c.rows) {
			return fmt.Errorf("%s of %d messages", line, len(c.rows))
		}
		c.rows = slices.Delete(c.rows, n-1, n)
	}
	if m := existsForm.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		if n < len(c.rows) {
			return fmt.Errorf("%s, but there were %d", line, len(c.rows))
		}
		for len(c.rows) < n {
			c.rows = append(c.rows, clientRow{flags: "?"})
		}
	}
	if m := goneForm.FindStringSubmatch(line); m != nil {
		return c.vanished(m[2], m[1] != "")
	}
	if strings.HasPrefix(line, "* OK [CLOSED]") {
		c.rows = nil
	}
	if m := validForm.FindStringSubmatch(line); m != nil {
		c.validity = m[1]
	}
	if m := highForm.FindStringSubmatch(line); m != nil {
		c.highest = m[1]
	}
	if m := uidForm.FindStringSubmatch(line); m != nil {
		if n, _ := strconv.Atoi(m[1]); n < 1 || n > len(c.rows) || c.rows[n-1].uid != "" && c.rows[n-1].uid != m[2] {
			return fmt.Errorf("%s of %d messages", line, len(c.rows))
		} else {
			c.rows[n-1].uid = m[2]
		}
	}
	if m := flagsForm.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		if n < 1 || n > len(c.rows) {
			return fmt.Errorf("%s of %d messages", line, len(c.rows))
		}
		r := &c.rows[n-1]
		if m[2] != "" && r.uid != "" && r.uid != m[2] {
			return fmt.Errorf("%s, but its UID was %s", line, r.uid)
		}
		if m[2] != "" {
			r.uid = m[2]
		}
		r.flags = m[3]
	}
	return nil
}

// vanished takes UIDs away. Of messages whose UIDs are not known any will do that can
// have it.
func (c *client) vanished(set string, early bool) error {
	for part := range strings.SplitSeq(set, ",") {
		from, to, ok := strings.Cut(part, ":")
		lo, _ := strconv.Atoi(from)
		hi, _ := strconv.Atoi(to)
		if !ok {
			hi = lo
		}
		for uid := lo; uid <= hi; uid++ {
			at, below := -1, -1
			for i, r := range c.rows {
				known, _ := strconv.Atoi(r.uid)
				if known == uid {
					at = i
					break
				}
				if known > uid {
					break
				}
				if known == 0 {
					below = i
				} else {
					below = -1
				}
			}
			if at < 0 && !early {
				at = below
			}
			if at >= 0 {
				c.rows = slices.Delete(c.rows, at, at+1)
			} else if !early {
				return fmt.Errorf("VANISHED %d, which was not there: %v", uid, c.rows)
			}
		}
	}
	return nil
}

// run sends a command and hears what is said until its answer.
func (c *client) run(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(c, "s "+format+"\r\n", args...); err != nil {
		return "", err
	}
	return c.listen("s ")
}

func (c *client) listen(until string) (string, error) {
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if strings.HasPrefix(line, until) {
			return line, nil
		}
		if err := c.hear(line); err != nil {
			return "", err
		}
	}
}

// TestTenSessionsAgree has sessions of two accounts, on two servers over one store, do
// what they like with one mailbox, and compares at checkpoints what each believes
// with what is (R9). MAILKEEL_STRESS is how many there are.
func TestTenSessionsAgree(t *testing.T) {
	const sessions = 10
	checkpoints, operations := 4, 30
	if n, err := strconv.Atoi(os.Getenv("MAILKEEL_STRESS")); err == nil {
		checkpoints = n
	}
	seed := uint64(1)
	if n, err := strconv.ParseUint(os.Getenv("MAILKEEL_SEED"), 10, 64); err == nil {
		seed = n
	}
	one := newStore()
	other := &store.Store{Backend: one.Backend, Blobs: one.Blobs}
	known := users()
	addrs := []string{
		start(t, &Server{InsecureAuth: true, Auth: known, Roster: known, Store: one}),
		start(t, &Server{InsecureAuth: true, Auth: known, Roster: known, Store: other}),
	}
	ann := one.As("a1")
	box, err := ann.Create(t.Context(), "team", "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		put(t, one, "a1", "team", fmt.Sprintf("%d\n", i))
	}
	if err := ann.Grant(t.Context(), box.ID, "b1", "lrswite"); err != nil {
		t.Fatal(err)
	}
	clients := make([]*client, sessions)
	for i := range clients {
		c := &client{peer: dial(t, addrs[i%2]), name: "ann", box: "team"}
		if i%5 > 2 {
			c.name, c.box = "bob", `"Other Users/ann@example.org/team"`
		}
		clients[i] = c
		c.must(t, "LOGIN "+c.name+"@example.org secret")
		if c.mods = i%3 == 1; c.mods {
			c.must(t, "ENABLE QRESYNC")
		}
		if i == 0 || i == 3 {
			c.must(t, "CREATE other")
		}
		c.must(t, "SELECT "+c.box)
		if c.mods { // by UID it must know them all
			c.must(t, "UID FETCH 1:* (FLAGS)")
		}
	}
	for check := range checkpoints {
		errs := make([]error, sessions)
		var wg sync.WaitGroup
		for i, c := range clients {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed+uint64(check), uint64(i)))
				for n := 0; n < operations && errs[i] == nil; n++ {
					if errs[i] = c.anything(r); errs[i] != nil {
						errs[i] = fmt.Errorf("operation %d: %w", n, errs[i])
					}
				}
			})
		}
		wg.Wait()
		for i, err := range errs {
			if err != nil {
				t.Fatalf("seed %d, checkpoint %d, session %d: %v", seed, check, i, err)
			}
		}
		for i, c := range clients {
			want := truth(t, one, c.name, box.ID)
			c.must(t, "NOOP")
			if len(c.rows) != len(want) {
				t.Fatalf("seed %d, checkpoint %d: session %d has %d messages, there are %d", seed, check, i, len(c.rows), len(want))
			}
			for j, r := range c.rows {
				if r.uid != "" && r.uid != want[j].uid || r.flags != "?" && r.flags != want[j].flags {
					t.Fatalf("seed %d, checkpoint %d: session %d believes that message %d is %v, and it is %v", seed, check, i, j+1, r, want[j])
				}
			}
			c.must(t, "UID FETCH 1:* (FLAGS)")
			for j, r := range c.rows {
				if r != want[j] {
					t.Fatalf("seed %d, checkpoint %d: session %d reads of message %d that it is %v, and it is %v", seed, check, i, j+1, r, want[j])
				}
			}
		}
	}
	t.Logf("%d messages in the end", len(clients[0].rows))
}

func (c *client) must(t *testing.T, cmd string) {
	t.Helper()
	if l, err := c.run("%s", cmd); err != nil || !strings.HasPrefix(l, "s OK") {
		t.Fatal(cmd, l, err)
	}
}

// truth is what a mailbox holds for somebody.
func truth(t *testing.T, s *store.Store, who string, id store.MailboxID) (rows []clientRow) {
	t.Helper()
	err := s.As(store.AccountID(who[:1]+"1")).Scan(t.Context(), id, store.Query{}, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		rows = nil
		for m, err := range ms {
			if err != nil {
				return err
			}
			rows = append(rows, clientRow{fmt.Sprint(m.UID), strings.Join(m.Flags, " ")})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// resync leaves the mailbox for a while and comes back with what it knew.
func (c *client) resync() error {
	if _, err := c.run("UID FETCH 1:* (FLAGS)"); err != nil {
		return err
	}
	// What was told until here is known, whatever HIGHESTMODSEQ is now.
	since := c.highest
	if _, err := c.run("UNSELECT"); err != nil {
		return err
	}
	for _, cmd := range []string{"CREATE scratch%d", "RENAME scratch%[1]d scratch%[1]d-b", "DELETE scratch%d-b"} {
		if _, err := c.run(cmd, len(c.rows)); err != nil {
			return err
		}
	}
	was := c.rows
	c.rows = nil // EXISTS comes before it is told who has gone
	if _, err := fmt.Fprintf(c, "s SELECT %s (QRESYNC (%s %s))\r\n", c.box, c.validity, since); err != nil {
		return err
	}
	var lines []string
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if strings.HasPrefix(line, "s ") {
			break
		}
		lines = append(lines, line)
	}
	exists := 0
	known := map[string]string{}
	for _, r := range was {
		if r.uid != "" { // else it came last
			known[r.uid] = r.flags
		}
	}
	for _, line := range lines {
		if m := existsForm.FindStringSubmatch(line); m != nil {
			exists, _ = strconv.Atoi(m[1])
		} else if m := goneForm.FindStringSubmatch(line); m != nil {
			c.rows = nil
			for uid, flags := range known {
				c.rows = append(c.rows, clientRow{uid, flags})
			}
			sortRows(c.rows)
			if err := c.vanished(m[2], true); err != nil {
				return err
			}
			left := map[string]string{}
			for _, r := range c.rows {
				left[r.uid] = r.flags
			}
			known = left
		} else if m := flagsForm.FindStringSubmatch(line); m != nil {
			known[m[2]] = m[3]
		} else if m := validForm.FindStringSubmatch(line); m != nil {
			c.validity = m[1]
		}
		if m := highForm.FindStringSubmatch(line); m != nil {
			c.highest = m[1]
		}
	}
	c.rows = nil
	for uid, flags := range known {
		c.rows = append(c.rows, clientRow{uid, flags})
	}
	sortRows(c.rows)
	if len(c.rows) != exists {
		return fmt.Errorf("QRESYNC since %s leaves %d messages, there are %d: it had %v, was told %q", since, len(c.rows), exists, was, lines)
	}
	return nil
}

func sortRows(rows []clientRow) {
	slices.SortFunc(rows, func(a, b clientRow) int {
		x, _ := strconv.Atoi(a.uid)
		y, _ := strconv.Atoi(b.uid)
		return x - y
	})
}

// anything does one random thing.
func (c *client) anything(r *rand.Rand) error {
	seq := func() string {
		if len(c.rows) == 0 {
			return "1"
		}
		a, b := 1+r.IntN(len(c.rows)), 1+r.IntN(len(c.rows))
		if r.IntN(2) == 0 {
			return fmt.Sprint(a)
		}
		return fmt.Sprintf("%d:%d", a, min(b, a+3))
	}
	flag := []string{`\Seen`, `\Flagged`, "kw", "other"}[r.IntN(4)]
	var err error
	switch r.IntN(24) {
	case 0, 1:
		_, err = c.run("STORE %s +FLAGS (%s)", seq(), flag)
	case 2:
		_, err = c.run("STORE %s -FLAGS.SILENT (%s)", seq(), flag)
		if err == nil { // a client knows what it did, but not to what
			for i := range c.rows {
				c.rows[i].flags = "?"
			}
		}
	case 3:
		_, err = c.run("UID STORE 1:* +FLAGS (%s)", flag)
	case 4:
		_, err = c.run(`STORE %s +FLAGS (\Deleted)`, seq())
	case 5:
		_, err = c.run("EXPUNGE")
	case 6, 7, 8:
		_, err = c.run("APPEND %s (%s) {5+}\r\nhello", c.box, flag)
	case 9:
		_, err = c.run("COPY %s %s", seq(), c.box)
	case 10:
		_, err = c.run("MOVE %s other", seq())
	case 11:
		_, err = c.run("NOOP")
	case 12:
		if _, err = fmt.Fprintf(c, "i IDLE\r\n"); err == nil {
			if _, err = c.listen("+ "); err == nil {
				fmt.Fprintf(c, "DONE\r\n")
				_, err = c.listen("i ")
			}
		}
	case 14:
		_, err = c.run("FETCH %s (FLAGS)", seq())
	case 15:
		_, err = c.run("UID FETCH 1:* (UID FLAGS)")
	case 16:
		_, err = c.run("SEARCH NOT SEEN")
	case 17:
		_, err = c.run("SORT (REVERSE ARRIVAL SUBJECT) UTF-8 UNSEEN")
	case 18:
		_, err = c.run("UID THREAD REFERENCES UTF-8 ALL")
	case 19:
		mode := []string{"NONE",
			"SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName))",
			"SET (selected-delayed (MessageNew MessageExpunge FlagChange)) (subtree \"Other Users\" (MessageNew MessageExpunge FlagChange))",
		}[r.IntN(3)]
		_, err = c.run("NOTIFY %s", mode)
	case 20:
		if c.mods {
			err = c.resync()
		} else {
			_, err = c.run("SELECT %s", c.box)
		}
	case 21:
		_, err = c.run("UID STORE 1:* (UNCHANGEDSINCE 100000) -FLAGS (%s)", flag)
	case 22:
		_, err = c.run("STATUS %s (MESSAGES UNSEEN)", c.box)
	case 23:
		_, err = c.run("UID EXPUNGE 1:*")
	case 13: // commands in one piece
		if _, err = fmt.Fprintf(c, "x UID STORE 1:* +FLAGS (p)\r\ny NOOP\r\nz UID STORE 1:* -FLAGS (p)\r\n"); err == nil {
			_, err = c.listen("z ")
		}
	}
	return err
}
