package imap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// A resyncClient is a client as section 6 of RFC 7162 wants it: it keeps what it knows
// of a mailbox when the connection breaks, and comes back with QRESYNC.
type resyncClient struct {
	t    *rapid.T
	dial func() (net.Conn, error)
	user string
	box  string

	// What it keeps.
	uidValidity uint32
	highest     uint64
	known       map[uint32]cached

	// What it has while it is connected.
	conn   net.Conn
	br     *bufio.Reader
	n      int
	list   []uint32 // UIDs by number, as far as fetched
	exists int
	// Since the last tagged response.
	seen, told uint64 // the largest MODSEQ; HIGHESTMODSEQ
	stored     *store.FlagChange
	all        bool // a FETCH tells of messages that it does not know yet
}

type cached struct {
	flags  string
	modSeq uint64
}

func (c *resyncClient) drop() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn, c.list, c.exists, c.seen, c.told, c.stored, c.all = nil, nil, 0, 0, 0, nil, false
}

func (c *resyncClient) send(format string, args ...any) string {
	c.n++
	tag := fmt.Sprint("t", c.n)
	if _, err := fmt.Fprintf(c.conn, tag+" "+format+"\r\n", args...); err != nil {
		c.t.Fatal(err)
	}
	return tag
}

// hear reads up to the answer to a command, or only n lines.
func (c *resyncClient) hear(tag string, n int) string {
	for ; n != 0; n-- {
		line, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%v after %q", err, line)
		}
		line = strings.TrimSuffix(line, "\r\n")
		c.respond(line)
		if strings.HasPrefix(line, tag+" ") {
			switch {
			case c.told > 0:
				c.highest = c.told
			case c.seen > c.highest:
				c.highest = c.seen
			}
			c.seen, c.told, c.stored = 0, 0, nil
			return line
		}
	}
	return ""
}

var (
	vanishedLine = regexp.MustCompile(`^\* VANISHED( \(EARLIER\))? ([0-9:,]+)$`)
	existsLine   = regexp.MustCompile(`^\* ([0-9]+) EXISTS$`)
	fetchLine    = regexp.MustCompile(`^\* ([0-9]+) FETCH \((.*)$`)
	uidItem      = regexp.MustCompile(`\bUID ([0-9]+)`)
	flagsItem    = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	modSeqItem   = regexp.MustCompile(`\bMODSEQ \(([0-9]+)\)`)
	highestCode  = regexp.MustCompile(`\[HIGHESTMODSEQ ([0-9]+)\]`)
	validityCode = regexp.MustCompile(`\[UIDVALIDITY ([0-9]+)\]`)
)

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (c *resyncClient) respond(line string) {
	if m := highestCode.FindStringSubmatch(line); m != nil {
		c.told = number(m[1])
	}
	if m := validityCode.FindStringSubmatch(line); m != nil {
		c.uidValidity = uint32(number(m[1]))
	}
	if m := existsLine.FindStringSubmatch(line); m != nil {
		c.exists = int(number(m[1]))
	}
	if m := vanishedLine.FindStringSubmatch(line); m != nil {
		p := &parser{line: []byte(m[2])}
		for _, r := range p.ranges() {
			for uid := r.lo; uid <= r.hi; uid++ {
				if m[1] == "" {
					i, ok := slices.BinarySearch(c.list, uid)
					if ok {
						c.list = slices.Delete(c.list, i, i+1)
					} else if c.exists == len(c.list) || uid <= c.last() { // IDLE told of it
						c.t.Fatalf("%q, but there is no %d in %v", line, uid, c.list)
					}
					c.exists--
				} else if slices.Contains(c.list, uid) {
					c.t.Fatalf("%q tells of %d, which is there", line, uid)
				}
				delete(c.known, uid)
			}
		}
	}
	if strings.Contains(line, " EXPUNGE") && line[0] == '*' {
		c.t.Fatalf("%q", line)
	}
	m := fetchLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	seq, uid := int(number(m[1])), uint32(0)
	if u := uidItem.FindStringSubmatch(m[2]); u != nil {
		uid = uint32(number(u[1]))
		if seq <= len(c.list) && c.list[seq-1] != uid {
			c.t.Fatalf("%q, but the messages are %v", line, c.list)
		}
	} else if seq <= len(c.list) {
		uid = c.list[seq-1]
	}
	x, ok := c.known[uid]
	if !ok && !c.all {
		return
	}
	if f := modSeqItem.FindStringSubmatch(m[2]); f != nil {
		x.modSeq = number(f[1])
		c.seen = max(c.seen, x.modSeq)
	}
	if f := flagsItem.FindStringSubmatch(m[2]); f != nil {
		x.flags = f[1]
	} else if c.stored != nil {
		flags := slices.DeleteFunc(strings.Fields(x.flags), func(f string) bool {
			return c.stored.Replace || slices.Contains(c.stored.Remove, f)
		})
		for _, f := range c.stored.Add {
			if !slices.Contains(flags, f) {
				flags = append(flags, f)
			}
		}
		slices.Sort(flags)
		x.flags = strings.Join(flags, " ")
	}
	c.known[uid] = x
}

// do sends a command and reads its answer; then it looks at new mail.
func (c *resyncClient) do(format string, args ...any) string {
	answer := c.hear(c.send(format, args...), -1)
	if !strings.Contains(answer, " OK ") && !strings.Contains(answer, "MODIFIED") && !strings.Contains(answer, "EXPUNGEISSUED") {
		c.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), answer)
	}
	c.fetchNew()
	return answer
}

func (c *resyncClient) last() uint32 {
	last := uint32(0)
	for uid := range c.known {
		last = max(last, uid)
	}
	return last
}

func (c *resyncClient) fetchNew() {
	for c.exists > len(c.list) {
		c.all = true
		c.hear(c.send("UID FETCH %d:* (FLAGS MODSEQ)", c.last()+1), -1)
		c.all = false
		c.list = slices.Sorted(maps.Keys(c.known))
	}
}

func setOf(uids []uint32) string {
	var w rangeWriter
	for _, u := range uids {
		w.add(store.UID(u))
	}
	return w.String()
}

// come connects and resynchronises.
func (c *resyncClient) come() {
	var err error
	if c.conn, err = c.dial(); err != nil {
		c.t.Fatal(err)
	}
	c.br = bufio.NewReader(c.conn)
	c.hear("* ", 1)
	c.hear(c.send("LOGIN %s@example.org secret", c.user), -1)
	c.hear(c.send("ENABLE QRESYNC"), -1)
	param := ""
	uids := slices.Sorted(maps.Keys(c.known))
	if c.highest > 0 {
		param = fmt.Sprintf(" (QRESYNC (%d %d", c.uidValidity, c.highest)
		switch kind := rapid.IntRange(0, 3).Draw(c.t, "known"); {
		case kind == 1 && len(uids) > 0:
			param += " " + setOf(uids)
		case kind == 2 && len(uids) > 0:
			param += fmt.Sprintf(" 1:%d", c.last())
		case kind == 3 && len(uids) > 0:
			seq := rapid.IntRange(1, len(uids)).Draw(c.t, "seq")
			set, pairs := fmt.Sprint(seq), setOf(uids[seq-1:seq])
			if seq < len(uids) {
				set, pairs = fmt.Sprintf("%d:%d", seq, len(uids)), setOf(uids[seq-1:])
			}
			param += fmt.Sprintf(" 1:%d (%s %s)", c.last(), set, pairs)
		}
		param += "))"
	}
	last := c.last()
	c.all = true // without UIDs the server tells of new ones, too
	c.list, c.highest = nil, max(c.highest, 0)
	if a := c.hear(c.send("SELECT %s%s", c.box, param), -1); !strings.Contains(a, " OK ") {
		c.t.Fatal(a)
	}
	if c.exists > 0 {
		c.hear(c.send("UID FETCH %d:* (FLAGS MODSEQ)", last+1), -1)
	}
	c.all = false
	c.list = slices.Sorted(maps.Keys(c.known))
	if len(c.list) != c.exists {
		c.t.Fatalf("%d messages, the client knows of %v", c.exists, c.list)
	}
}

// A lending gives a mailbox to another account under a name of its own.
type lending struct {
	store.Backend
	user store.AccountID
	name string
	box  store.MailboxID
}

type lendingTx struct {
	store.Tx
	s *lending
}

func (t lendingTx) MailboxByName(id store.AccountID, name string) (store.Mailbox, error) {
	if id == t.s.user && name == t.s.name {
		return t.Tx.Mailbox(t.s.box)
	}
	return t.Tx.MailboxByName(id, name)
}

func (s *lending) View(ctx context.Context, fn func(store.Tx) error) error {
	return s.Backend.View(ctx, func(tx store.Tx) error { return fn(lendingTx{tx, s}) })
}

// A client that disconnects whenever it likes, and others who change what they like,
// always agree in the end: UIDs, flags and MODSEQs, be tombstones forgotten or not.
func TestResyncEndsWithWhatIsThere(t *testing.T) { testResync(t, "ann", "Work") }
func TestResyncOfASharedMailbox(t *testing.T)    { testResync(t, "bob", "Lent") }

func testResync(t *testing.T, user, name string) {
	backend := &lending{Backend: new(memstore.Backend), user: "b1", name: "Lent"}
	st := &store.Store{Backend: backend, Blobs: new(memblob.Store)}
	other := &store.Store{Backend: backend.Backend, Blobs: st.Blobs} // of another process
	addr := start(t, &Server{InsecureAuth: true, Store: st})
	ann := other.As("a1")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	aside, err := ann.Create(t.Context(), "Aside", "")
	must(err)
	info := func() (all []cached, uids []uint32) {
		me := store.AccountID(user[:1] + "1")
		must(other.As(me).Scan(t.Context(), backend.box, store.Query{}, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
			all, uids = nil, nil
			for m, err := range ms {
				if err != nil {
					return err
				}
				all, uids = append(all, cached{strings.Join(m.Flags, " "), uint64(m.ModSeq)}), append(uids, uint32(m.UID))
			}
			return nil
		}))
		return all, uids
	}
	rapid.Check(t, func(t *rapid.T) {
		if old := backend.box; old != 0 {
			must(ann.Delete(context.Background(), old))
		}
		mb, err := ann.Create(context.Background(), "Work", "")
		must(err)
		backend.box = mb.ID
		for _, who := range []store.AccountID{"b1", "c1"} {
			must(ann.Grant(context.Background(), mb.ID, who, store.AllRights))
		}
		c := &resyncClient{t: t, user: user, box: name, known: map[uint32]cached{},
			dial: func() (net.Conn, error) { return net.Dial("tcp", addr) }}
		defer c.drop()
		some := func() (uids []store.UID) {
			_, all := info()
			for _, u := range all {
				if rapid.IntRange(0, 2).Draw(t, "this") == 0 {
					uids = append(uids, store.UID(u))
				}
			}
			return uids
		}
		flag := func() []string {
			return []string{rapid.SampledFrom([]string{`\Seen`, `\Flagged`, `\Deleted`, "word"}).Draw(t, "flag")}
		}
		change := func() {
			switch rapid.IntRange(0, 7).Draw(t, "change") {
			case 0, 1:
				for range rapid.IntRange(1, 3).Draw(t, "n") {
					must2(ann.Append(context.Background(), mb.ID, store.Append{Blob: putBlob(other)}))
				}
			case 2, 3:
				who := rapid.SampledFrom([]store.AccountID{"a1", "b1", "c1"}).Draw(t, "who")
				fc := store.FlagChange{Add: flag()}
				if rapid.Bool().Draw(t, "remove") {
					fc = store.FlagChange{Remove: fc.Add}
				}
				_, _, err := other.As(who).SetFlags(context.Background(), mb.ID, fc, some()...)
				must(err)
			case 4:
				must2(ann.Expunge(context.Background(), mb.ID, some()...))
			case 5:
				must2(ann.Move(context.Background(), mb.ID, aside.ID, some()...))
			case 6:
				must2(ann.Move(context.Background(), mb.ID, mb.ID, some()...))
			case 7:
				var now store.ModSeq
				must(other.Backend.View(context.Background(), func(tx store.Tx) error {
					accs, err := tx.Accounts("a1")
					now = accs[0].ModSeq
					return err
				}))
				must(other.Forget(context.Background(), "a1", now-store.ModSeq(rapid.IntRange(0, 4).Draw(t, "back"))))
			}
		}
		set := func(uid bool) string {
			if len(c.list) == 0 {
				return ""
			}
			lo := rapid.IntRange(1, len(c.list)).Draw(t, "lo")
			hi := rapid.IntRange(lo, len(c.list)).Draw(t, "hi")
			if uid {
				return setOf(c.list[lo-1 : hi])
			}
			return fmt.Sprintf("%d:%d", lo, hi)
		}
		command := func() (string, *store.FlagChange) {
			uid := rapid.Bool().Draw(t, "uid")
			verb := ""
			if uid {
				verb = "UID "
			}
			nums := set(uid)
			switch k := rapid.IntRange(0, 8).Draw(t, "command"); {
			case k == 0 && nums != "":
				return verb + "FETCH " + nums + " (FLAGS)", nil
			case k <= 3 && nums != "":
				fc := &store.FlagChange{Add: flag()}
				op := "+FLAGS"
				switch rapid.IntRange(0, 2).Draw(t, "op") {
				case 1:
					fc, op = &store.FlagChange{Remove: fc.Add}, "-FLAGS"
				case 2:
					fc.Replace, op = true, "FLAGS"
				}
				since := ""
				if rapid.Bool().Draw(t, "conditional") {
					since = fmt.Sprintf("(UNCHANGEDSINCE %d) ", c.highest)
				}
				if rapid.Bool().Draw(t, "silent") {
					op += ".SILENT"
				}
				return fmt.Sprintf("%sSTORE %s %s%s (%s)", verb, nums, since, op, strings.Join(append(fc.Add, fc.Remove...), " ")), fc
			case k == 4:
				return "EXPUNGE", nil
			case k == 5:
				return verb + "SEARCH ALL", nil
			case k == 6 && uid && nums != "":
				return "UID MOVE " + nums + " " + name, nil
			case k == 8 && nums != "":
				return verb + "FETCH " + nums + " BODY[TEXT]", nil // sets \Seen
			case k == 7 && uid && nums != "":
				return fmt.Sprintf("UID FETCH %s (FLAGS) (CHANGEDSINCE %d VANISHED)", nums, c.highest), nil
			}
			return "NOOP", nil
		}
		differs := func() string {
			want, uids := info()
			for i, u := range uids {
				if got, ok := c.known[u]; !ok || got != want[i] {
					return fmt.Sprintf("UID %d: the client has %+v %v, it is %+v", u, got, ok, want[i])
				}
			}
			if len(c.known) != len(uids) {
				return fmt.Sprintf("the client knows of %v, there are %v", slices.Sorted(maps.Keys(c.known)), uids)
			}
			return ""
		}
		broken := 0 // connections that may still do what they were told
		agree := func() {
			// What a broken connection does late is told like any other change; what was not
			// told when it should have been never is.
			for ; broken > 0 && differs() != ""; broken-- {
				c.do("NOOP")
			}
			if d := differs(); d != "" {
				t.Fatal(d)
			}
		}
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			switch k := rapid.IntRange(0, 10).Draw(t, "step"); {
			case k < 4:
				change()
			case c.conn == nil:
				c.come()
				agree()
			case k == 4:
				c.do("NOOP")
				agree()
			case k == 5:
				c.drop()
			case k == 6: // the connection breaks in the middle of an answer
				text, fc := command()
				c.stored = fc
				c.hear(c.send("%s", text), rapid.IntRange(0, 3).Draw(t, "lines"))
				c.drop()
				broken++
			case k == 7: // two at once
				text, fc := command()
				c.stored = fc
				c.n++
				first, second := fmt.Sprint("t", c.n), fmt.Sprint("t", c.n+1)
				c.n++
				fmt.Fprintf(c.conn, "%s %s\r\n%s FETCH 1:* (UID)\r\n", first, text, second)
				c.hear(first, -1)
				if rapid.Bool().Draw(t, "breaks") {
					c.drop()
					broken++
					break
				}
				c.hear(second, -1)
				c.fetchNew()
			case k == 8:
				tag := c.send("IDLE")
				c.hear(tag, 1)
				change()
				if rapid.Bool().Draw(t, "breaks") {
					c.drop()
					break
				}
				fmt.Fprint(c.conn, "DONE\r\n")
				c.hear(tag, -1)
				c.fetchNew()
				agree()
			default:
				text, fc := command()
				c.stored = fc
				c.do("%s", text)
			}
		}
		if c.conn == nil {
			c.come()
		} else {
			c.do("NOOP")
		}
		agree()
	})
}

func must2[T any](_ T, err error) {
	if err != nil {
		panic(err)
	}
}

// putBlob keeps a message and says where.
func putBlob(s *store.Store) blob.Info {
	w, err := s.Blobs.Create(context.Background())
	if err != nil {
		panic(err)
	}
	defer w.Close()
	if _, err := io.WriteString(w, "Subject: x\r\n\r\nx\r\n"); err != nil {
		panic(err)
	}
	info, err := w.Commit()
	if err != nil {
		panic(err)
	}
	return info
}
