package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// A hop is the next one: it takes what is for "ok", refuses what is for "dead", and
// takes what is for "later" at the third attempt.
type hop struct {
	mu    sync.Mutex
	tries map[string]int
	took  []string // envelope IDs with the recipient's Index, in order
}

func (h *hop) Deliver(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	rs := make([]mailkeel.Result, len(env.Rcpts))
	for i, r := range env.Rcpts {
		id := fmt.Sprintf("%s/%d", env.ID, r.Index)
		h.tries[id]++
		switch {
		case strings.HasPrefix(r.Addr, "dead"):
			rs[i].Err = &mailkeel.Error{Code: 550, Message: "no such user"}
		case strings.HasPrefix(r.Addr, "later") && h.tries[id] < 3:
			rs[i].Err = &mailkeel.Error{Code: 451, Message: "not now"}
		default:
			rs[i].Action = mailkeel.Relayed
			h.took = append(h.took, id)
		}
	}
	return rs
}

func (h *hop) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.took)
}

// A promise is what the server has taken on by an answer.
type promise struct {
	key string
	who mailkeel.AccountID // whose mailbox it is for, or
	id  string             // of the item, if it is for elsewhere
	to  string
}

// A cut is what a power cut left, seen through the next start.
type cut struct {
	what     string
	promises int // answered before
	took     int // relayed before
	left     *state
}

// A powerTest cuts the power at every operation of a workload.
type powerTest struct {
	t     *testing.T
	rnd   *rand.Rand
	clock *testclock.Clock
	disk  *vfs.Mem
	hop   *hop
	rig   *rig
	smtp  *textproto.Conn
	every int // operations from one cut to the next

	n        int // messages made
	promises []promise
	now      *state // after the last step

	hook   sync.Mutex // held during an operation that is looked at
	mu     sync.Mutex
	off    bool
	ops    int
	kinds  map[string]int // of operations, on which files
	points int
	cuts   []cut
	broken error
	whole  bool           // the step is one transaction
	names  map[string]int // of steps
}

// before is asked before every operation.
func (p *powerTest) before(op vfs.Op) error {
	switch op.Kind {
	case "ReadAt", "Stat", "ReadDir", "Close", "Chtimes":
		return nil
	}
	p.hook.Lock()
	defer p.hook.Unlock()
	p.mu.Lock()
	if p.off || p.broken != nil {
		p.mu.Unlock()
		return nil
	}
	p.ops++
	p.kinds[op.Kind+" "+regexp.MustCompile(`[0-9a-f]{6,}`).ReplaceAllString(filepath.Base(op.Name), "*")]++
	if p.ops%p.every != 0 {
		p.mu.Unlock()
		return nil
	}
	made, took := len(p.promises), p.hop.len()
	var left [3]*vfs.Mem
	for loss := range left {
		left[loss] = p.disk.CrashWith(vfs.Loss(loss), uint64(p.ops))
	}
	n := p.ops
	p.mu.Unlock()

	var cuts [3]cut
	var errs [3]error
	var wg sync.WaitGroup
	for loss, disk := range left {
		wg.Go(func() {
			c := cut{what: fmt.Sprintf("operation %d, %s %s, loss %d", n, op.Kind, op.Name, loss), promises: made, took: took}
			if c.left, errs[loss] = p.start(disk, n); errs[loss] == nil && n/p.every%8 == loss {
				// The power goes again, after that start.
				var s *state
				if s, errs[loss] = p.start(disk.CrashWith(vfs.Loss(loss), uint64(n)), n); errs[loss] == nil {
					if got, _ := s.count(p.rig.ids[n%len(people)], "m-0"); got != 1 {
						errs[loss] = fmt.Errorf("the message after the start is there %d times", got)
					}
				}
			}
			if errs[loss] != nil {
				errs[loss] = fmt.Errorf("%s: %w", c.what, errs[loss])
			}
			cuts[loss] = c
		})
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.points += 3
	p.cuts = append(p.cuts, cuts[:]...)
	if p.broken == nil {
		p.broken = errors.Join(errs[:]...)
	}
	return nil
}

// start starts a server on what is left and says what it finds, before it takes a
// new message.
func (p *powerTest) start(disk *vfs.Mem, n int) (_ *state, err error) {
	r, err := openRig(disk, p.clock, &hop{}, nil)
	if err != nil {
		return nil, fmt.Errorf("it does not start: %w", err)
	}
	defer func() { err = errors.Join(err, r.close()) }()
	faults, err := r.home.Damage(context.Background())
	if err != nil || len(faults) > 0 {
		return nil, fmt.Errorf("damage: %q, %w", faults, err)
	}
	if lost := r.home.Lost(); strings.Contains(lost, "was damaged after") {
		return nil, errors.New(lost) // a transaction was written behind one that is not durable
	}
	s, err := r.look()
	if err != nil {
		return nil, err
	}
	if _, err := r.srv.Store.Check(context.Background(), store.CheckOptions{Found: func(f store.Finding) error {
		return fmt.Errorf("check: %+v", f)
	}}); err != nil {
		return nil, err
	}
	if _, err := r.srv.Queue.Check(context.Background(), queue.CheckOptions{Found: func(f queue.Finding) error {
		return fmt.Errorf("check: %+v", f)
	}}); err != nil {
		return nil, err
	}
	if d := r.home.Blobs.Damaged(); len(d) > 0 {
		return nil, fmt.Errorf("damaged: %v", d)
	}
	who := n % len(people)
	if err := r.send(fmt.Sprint("new", n), "zoe@y.test", "Subject: m-0\r\n\r\nnew\r\n", r.local(who)); err != nil {
		return nil, fmt.Errorf("it takes no mail: %w", err)
	}
	return s, nil
}

// open starts the server that does the work.
func (p *powerTest) open() {
	p.t.Helper()
	var err error
	if p.rig, err = openRig(&vfs.Inject{FS: p.disk, Before: p.before}, p.clock, p.hop, nil); err != nil {
		p.t.Fatal(err)
	}
	addrs, err := p.rig.run(p.rig.srv.MX)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.smtp, err = textproto.Dial("tcp", addrs[0]); err != nil {
		p.t.Fatal(err)
	}
	p.reply(220, "")
	p.reply(250, "EHLO client.test")
}

// close ends it.
func (p *powerTest) close() {
	p.t.Helper()
	_ = p.smtp.Close()
	if err := p.rig.close(); err != nil {
		p.t.Fatal(err)
	}
}

// look sees what there is now.
func (p *powerTest) look() {
	p.t.Helper()
	p.quiet(true)
	defer p.quiet(false)
	var err error
	if p.now, err = p.rig.look(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *powerTest) quiet(on bool) {
	p.hook.Lock() // after those that are being looked at
	defer p.hook.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = on
}

// reply sends a command and wants an answer.
func (p *powerTest) reply(code int, format string, args ...any) {
	p.t.Helper()
	if format != "" {
		if err := p.smtp.PrintfLine(format, args...); err != nil {
			p.t.Fatal(err)
		}
	}
	if _, msg, err := p.smtp.ReadResponse(code); err != nil {
		p.t.Fatalf("%s: %s, %v", fmt.Sprintf(format, args...), msg, err)
	}
}

// promise notes an answer. No cut is made between what it says and the note.
func (p *powerTest) promise(ps ...promise) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promises = append(p.promises, ps...)
}

// text makes a message.
func (p *powerTest) text() (key, text string) {
	p.n++
	key = fmt.Sprintf("m-%d", p.n)
	size := []int{0, 200, 900, 3000, 6000, 9000, 20_000}[p.rnd.IntN(7)]
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: %s\r\n\r\n", key)
	for b.Len() < size {
		fmt.Fprintf(&b, "%016x%016x%016x\r\n", p.rnd.Uint64(), p.rnd.Uint64(), p.rnd.Uint64())
	}
	b.WriteString("end\r\n")
	return key, b.String()
}

// step does one thing, and compares every cut meanwhile with what was before and
// what is after.
func (p *powerTest) step(name string, fn func() error) bool {
	p.t.Helper()
	before := p.now
	if err := fn(); err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		p.t.Errorf("%s: %v", name, p.broken)
		return false
	}
	for _, c := range p.cuts {
		if err := p.judge(&c, before); err != nil {
			p.t.Errorf("%s: %s: %v", name, c.what, err)
			return false
		}
	}
	p.cuts = p.cuts[:0]
	return true
}

func (p *powerTest) judge(c *cut, before *state) error {
	if err := c.left.between(before, p.now); err != nil {
		return err
	}
	if p.whole && halfDone(c.left, before, p.now) {
		return errors.New("it is half done")
	}
	for i, pr := range p.promises {
		if pr.id == "" { // it was copied and deleted since, or has just come
			if n, _ := c.left.count(pr.who, pr.key); n == 0 && i < c.promises {
				if m, _ := p.now.count(pr.who, pr.key); m > 0 {
					return fmt.Errorf("%s was accepted for %s and is not there", pr.key, pr.who)
				}
			}
			continue
		}
		if i >= c.promises {
			break
		}
		_, waits := c.left.items[pr.id]
		reports := 0
		for id := range c.left.items {
			if strings.HasPrefix(id, pr.id[:strings.LastIndexByte(pr.id, '/')]+".") {
				reports++
			}
		}
		_, read := c.left.count(p.rig.ids[0], pr.key)
		took := false
		p.hop.mu.Lock()
		for _, id := range p.hop.took[:c.took] {
			took = took || id == pr.id
		}
		p.hop.mu.Unlock()
		switch {
		case waits && reports+read > 0:
			return fmt.Errorf("%s to %s waits, and there is a report on it", pr.id, pr.to)
		case !waits && strings.HasPrefix(pr.to, "dead") && (reports > 1 || read > 1 || reports+read == 0): // filed, and perhaps not yet settled
			return fmt.Errorf("%s to %s: %d reports wait, %d were read", pr.id, pr.to, reports, read)
		case !waits && !strings.HasPrefix(pr.to, "dead") && !took:
			return fmt.Errorf("%s to %s is lost", pr.id, pr.to)
		}
	}
	return nil
}

// halfDone reports whether some of the messages that a step changes are as before and
// some as after it. Reports come when they come, and do not count.
func halfDone(s, before, after *state) bool {
	undone, done := false, false
	for id, b := range after.boxes {
		was, is := before.boxes[id].msgs, s.boxes[id].msgs
		for _, uids := range []map[store.UID]msg{was, b.msgs} {
			for uid, m := range uids {
				if m.about == "" && was[uid] != b.msgs[uid] {
					undone = undone || is[uid] == was[uid]
					done = done || is[uid] == b.msgs[uid]
				}
			}
		}
	}
	return undone && done
}

// some picks a mailbox that has ordinary messages, and some of them.
func (p *powerTest) some(max int) (b box, uids []store.UID) {
	for id := store.MailboxID(1); id < 100; id++ {
		c := p.now.boxes[id]
		var ours []store.UID
		for uid := store.UID(1); uid < c.UIDNext; uid++ {
			if c.msgs[uid].key != "" {
				ours = append(ours, uid)
			}
		}
		if len(ours) > len(uids) || len(ours) > 0 && p.rnd.IntN(3) == 0 {
			b, uids = c, ours
		}
	}
	p.rnd.Shuffle(len(uids), func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
	return b, uids[:min(len(uids), 1+p.rnd.IntN(max))]
}

// other is a mailbox of the same account.
func (p *powerTest) other(b box) store.MailboxID {
	for id := store.MailboxID(1); id < 100; id++ {
		if c, ok := p.now.boxes[id]; ok && id != b.ID && c.Account == b.Account {
			return id
		}
	}
	return b.ID
}

// receive sends a message over SMTP.
func (p *powerTest) receive() error {
	key, text := p.text()
	p.reply(250, "MAIL FROM:<zoe@y.test>")
	var ps []promise
	for who := range people {
		if who == p.n%len(people) || p.rnd.IntN(3) == 0 {
			p.reply(250, "RCPT TO:<%s>", people[who])
			ps = append(ps, promise{key: key, who: p.rig.ids[who]})
		}
	}
	p.reply(354, "DATA")
	w := p.smtp.DotWriter()
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	p.reply(250, "")
	p.promise(ps...)
	return nil
}

// crowd delivers several at once, for here and for elsewhere.
func (p *powerTest) crowd() error {
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		key, text := p.text()
		id, who := "e"+key, p.rnd.IntN(len(people))
		to := []string{"ok", "later", "dead", "ok"}[p.rnd.IntN(4)] + "@y.test"
		away := i%2 == 0
		wg.Go(func() {
			if away {
				errs[i] = p.rig.send(id, people[0], text, mailkeel.Recipient{Addr: to})
			} else {
				errs[i] = p.rig.send(id, "zoe@y.test", text, p.rig.local(who))
			}
			if errs[i] == nil && away {
				p.promise(promise{key: key, id: id + "/0", to: to})
			} else if errs[i] == nil {
				p.promise(promise{key: key, who: p.rig.ids[who]})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *powerTest) appendOne() error {
	_, text := p.text()
	w, err := p.rig.home.Blobs.Create(context.Background())
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	info, err := w.Commit()
	if err != nil {
		return err
	}
	b, _ := p.some(1)
	if b.ID == 0 {
		return nil
	}
	_, err = p.rig.srv.Store.As(b.Account).Append(context.Background(), b.ID, store.Append{Blob: info, Flags: []string{store.FlagSeen, "$Work"}})
	return err
}

// incoming makes messages as APPEND does: durable when their rows are.
func (p *powerTest) incoming(n int, do func([]store.Append) error) error {
	ms := make([]store.Append, n)
	for i := range ms {
		_, text := p.text()
		w, err := p.rig.home.Blobs.Create(context.Background())
		if err != nil {
			return err
		}
		defer w.Close()
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		st := w.(blob.Stager)
		info, err := st.Stage()
		if err != nil {
			return err
		}
		ms[i] = store.Append{Blob: info, Wait: st.Wait, Flags: []string{store.FlagDraft, "$Work"},
			Open: func(context.Context) (io.ReadCloser, error) { return st.Open() }}
	}
	return do(ms)
}

// work does what a server and its users do.
func (p *powerTest) work() (name string, fn func() error) {
	ctx := context.Background()
	b, uids := p.some(4)
	if b.ID == 0 {
		return "receive", p.receive
	}
	as, to := p.rig.srv.Store.As(b.Account), p.other(b)
	switch k := p.rnd.IntN(24); {
	case k < 5:
		return "receive", p.receive
	case k < 8:
		return "crowd", p.crowd
	case k < 9:
		return "append", p.appendOne
	case k < 10 && p.rnd.IntN(2) == 0:
		return "append several", func() error {
			return p.incoming(2+p.rnd.IntN(4), func(ms []store.Append) error {
				_, err := as.Append(ctx, b.ID, ms...)
				return err
			})
		}
	case k < 10:
		return "replace", func() error {
			return p.incoming(1, func(ms []store.Append) error {
				_, err := as.Replace(ctx, b.ID, uids[0], to, ms[0])
				return err
			})
		}
	case k < 11:
		return "flags of all", func() error {
			var runs []store.KnownRun
			for _, uid := range slices.Sorted(maps.Keys(b.msgs)) {
				runs = append(runs, store.KnownRun{FlagRun: store.FlagRun{First: uid, Last: uid, Flags: strings.Fields(b.msgs[uid].flags)}, N: 1})
			}
			c := store.FlagChange{Add: []string{fmt.Sprint("all", p.rnd.IntN(5))}, Replace: p.rnd.IntN(2) == 0}
			_, _, err := as.SetKnownFlags(ctx, b.ID, b.ModSeq, c, runs)
			return err
		}
	case k < 13:
		return "flags", func() error {
			c := store.FlagChange{Add: []string{store.FlagFlagged, fmt.Sprint("k", p.rnd.IntN(5))}, Replace: p.rnd.IntN(2) == 0}
			_, _, err := as.SetFlags(ctx, b.ID, c, uids...)
			return err
		}
	case k < 15:
		return "copy", func() error { _, err := as.Copy(ctx, b.ID, to, uids...); return err }
	case k < 17:
		return "move", func() error { _, err := as.Move(ctx, b.ID, to, uids...); return err }
	case k < 20:
		return "expunge", func() error { _, err := as.Expunge(ctx, b.ID, uids...); return err }
	case k < 21:
		p.n++
		name := fmt.Sprint("box", p.n)
		for id := range store.MailboxID(100) {
			c := p.now.boxes[id]
			if c.Account == b.Account && strings.HasPrefix(c.Name, "box") && p.n%3 == 0 {
				return "delete", func() error { return as.Delete(ctx, c.ID) }
			} else if c.Account == b.Account && strings.HasPrefix(c.Name, "box") && p.n%3 == 1 {
				return "rename", func() error { return as.Rename(ctx, c.ID, name) }
			}
		}
		return "create", func() error { _, err := as.Create(ctx, name, ""); return err }
	case k < 23:
		return "deliver", func() error {
			p.clock.Advance(time.Duration(1+p.rnd.IntN(20)) * time.Minute)
			return p.rig.srv.Queue.Settled(ctx)
		}
	default:
		return "sweep", func() error {
			// A report that is being made would be older than it may become.
			if err := p.rig.srv.Queue.Settled(ctx); err != nil {
				return err
			}
			p.clock.Advance(70 * time.Minute)
			_, err := blob.Sweep(ctx, p.rig.home.Blobs, p.clock.Now(), time.Hour, p.rig.srv.Store, p.rig.srv.Queue)
			if err == nil {
				err = p.rig.home.Blobs.Rewrite(ctx)
			}
			return err
		}
	}
}

// TestPowerCutAtEveryOperation cuts the power of a whole server before every
// operation on its files, SQLite's too, in three ways, and starts another one on
// what is left.
func TestPowerCutAtEveryOperation(t *testing.T) {
	// At every operation there would be about 20,000 cuts; CI takes each fifth.
	rounds, steps, least, every := 4, 60, 3000, 5
	switch {
	case raceEnabled:
		steps, least, every = 20, 30, 97
	case os.Getenv("MAILKEEL_LONG") != "":
		rounds, least, every = 8, 30_000, 1
	}
	p := &powerTest{t: t, rnd: rand.New(rand.NewPCG(1, 2)), clock: &testclock.Clock{}, disk: new(vfs.Mem), hop: &hop{tries: map[string]int{}}, kinds: map[string]int{}, names: map[string]int{}, every: every, off: true}
	for round := range rounds {
		p.open()
		p.look()
		for range steps {
			name, fn := p.work()
			p.whole = name == "append several" || name == "replace" || name == "flags of all"
			p.names[name]++
			if !p.step(name, fn) {
				p.quiet(true)
				p.close()
				return
			}
		}
		// Go on after a clean end, or a power cut.
		p.quiet(true)
		left := p.disk.CrashWith(vfs.Loss(round%3), uint64(round))
		p.close()
		if round%2 == 0 {
			p.disk = left
		}
	}
	t.Logf("%d steps, %d operations, %d promises; %d crash points, 0 violations", rounds*steps, p.ops, len(p.promises), p.points)
	for _, kind := range []string{
		"WriteAt mail.db", "Truncate mail.db-wal", // the log moves into the database, and begins anew
		"Remove *.seg", "Rename *.seg", "Rename *", // packs are rewritten and rotated, large files adopted
	} {
		if p.kinds[kind] == 0 && !raceEnabled {
			t.Errorf("the work never came to %s: %v", kind, p.kinds)
		}
	}
	if p.names["append several"]*p.names["replace"]*p.names["flags of all"] == 0 && !raceEnabled {
		t.Errorf("the work never came to %v", p.names)
	}
	if p.points < least || rounds*steps < 200 && !raceEnabled {
		t.Errorf("that is not enough")
	}
}
