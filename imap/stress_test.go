package imap

import (
	"fmt"
	"math/rand/v2"
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
}

type clientRow struct {
	uid   string // empty if not known yet
	flags string // "?" if not known yet
}

var (
	expungeForm = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)
	existsForm  = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	flagsForm   = regexp.MustCompile(`^\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \(([^)]*)\)\)$`)
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

// TestTenSessionsAgree has sessions do what they like with one mailbox, and mail
// arrive, and compares what each believes at the end.
func TestTenSessionsAgree(t *testing.T) {
	const sessions, operations = 10, 120
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore()}
	for i := range 50 {
		put(t, s.Store, "a1", inbox, fmt.Sprintf("%d\n", i))
	}
	addr := start(t, s)
	dial(t, addr).ok("LOGIN ann secret")
	clients := make([]*client, sessions)
	errs := make([]error, sessions)
	var wg sync.WaitGroup
	for i := range clients {
		c := &client{peer: dial(t, addr)}
		clients[i] = c
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			errs[i] = func() error {
				for _, cmd := range []string{"LOGIN ann secret", "SELECT INBOX"} {
					if _, err := c.run("%s", cmd); err != nil {
						return err
					}
				}
				if i == 0 {
					if _, err := c.run("CREATE other"); err != nil {
						return err
					}
				}
				for range operations {
					if err := c.anything(r); err != nil {
						return err
					}
				}
				return nil
			}()
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	var want []clientRow
	v, snap, err := s.state.views.get(t.Context(), s.Store.As("a1"), clients[0].inboxID(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer s.state.views.put(v)
	for _, r := range snap.all(snap.everything()) {
		want = append(want, clientRow{fmt.Sprint(r.uid), r.flags.Value()})
	}
	for i, c := range clients {
		if _, err := c.run("NOOP"); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		if len(c.rows) != len(want) {
			t.Fatalf("session %d has %d messages, there are %d", i, len(c.rows), len(want))
		}
		for j, r := range c.rows {
			if r.uid != "" && r.uid != want[j].uid || r.flags != "?" && r.flags != want[j].flags {
				t.Errorf("session %d believes that message %d is %v, and it is %v", i, j+1, r, want[j])
			}
		}
	}
	t.Logf("%d messages in the end", len(want))
}

func (c *client) inboxID(t *testing.T, s *Server) store.MailboxID {
	f, err := s.Store.As("a1").Folder(t.Context(), inbox)
	if err != nil {
		t.Fatal(err)
	}
	return f.ID
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
	switch r.IntN(17) {
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
		_, err = c.run("APPEND INBOX (%s) {5+}\r\nhello", flag)
	case 9:
		_, err = c.run("COPY %s INBOX", seq())
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
	case 13: // commands in one piece
		if _, err = fmt.Fprintf(c, "x UID STORE 1:* +FLAGS (p)\r\ny NOOP\r\nz UID STORE 1:* -FLAGS (p)\r\n"); err == nil {
			_, err = c.listen("z ")
		}
	}
	return err
}
