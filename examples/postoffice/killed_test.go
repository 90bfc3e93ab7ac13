package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/smtpsink"
	"github.com/mailkeel/mailkeel/internal/testoffice"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
)

// killSeed makes another run with other numbers: MAILKEEL_SEED.
func killSeed(t *testing.T) (seed uint64) {
	seed = 1
	if s := os.Getenv("MAILKEEL_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	return seed
}

// TestKilledUnderLoad is R2: a server under SMTP, LMTP, IMAP and queue load ends with
// SIGKILL at any moment, also while it stops and while it starts. What it had
// acknowledged is there exactly once for each local recipient, with identical bytes,
// flags and UIDs, and leaves at least once for elsewhere; what was deleted stays so.
// With the race detector it is a short run, as .ci/run has the long one without.
func TestKilledUnderLoad(t *testing.T) {
	rounds, most := 50, 150
	if raceEnabled || testing.Short() {
		rounds, most = 4, 60
	}
	if os.Getenv("MAILKEEL_LONG") != "" {
		rounds = 500
	}
	seed := killSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	k := newKilling(t, seed)
	started := time.Now()
	var slowest time.Duration
	for round := range rounds {
		began := time.Now()
		how := k.round(round, rnd, 1+rnd.IntN(most))
		k.look(round, round == rounds-1)
		if round%10 == 9 || round == rounds-1 {
			k.check("check")
		}
		took := time.Since(began)
		slowest = max(slowest, took)
		t.Logf("round %d: %s; %d acknowledgements, %v", round, how, k.acked, took.Round(time.Millisecond))
		if k.acked == 0 {
			t.Errorf("round %d acknowledged nothing", round)
		}
		if t.Failed() {
			t.FailNow() // what is wrong stays so
		}
	}
	k.drain()
	k.check("check", "-contents")
	k.office.Stop()
	t.Logf("seed %d, %d rounds in %v, the slowest in %v: %d acknowledgements, %d of %d messages; %d outcomes left open by kills; %d for elsewhere, %d of them twice",
		seed, rounds, time.Since(started).Round(time.Second), slowest.Round(time.Millisecond), k.total, k.yes, k.sent, k.open, len(k.out), k.twice)
}

// killing is a server that is killed, and all around it.
type killing struct {
	*ledger
	office *testoffice.Office
	sink   *smtpsink.Server
	seed   uint64
	lives  []int // how many sessions the sink had had when each life ended
	twice  int
	seqs   map[string]seqs
}

func newKilling(t *testing.T, seed uint64) *killing {
	k := &killing{ledger: newLedger(t), seed: seed, seqs: map[string]seqs{}}
	var mu sync.Mutex
	moods := rand.New(rand.NewPCG(seed, 1))
	k.sink = smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		mu.Lock()
		defer mu.Unlock()
		switch p := moods.IntN(100); {
		case strings.HasPrefix(cmd, "RCPT") && p < 3, cmd == "." && p < 5:
			return "451 4.3.0 not now"
		case cmd == "." && p == 5:
			return smtpsink.Drop
		}
		return ""
	}})
	args := []string{"-insecure-auth", "-trusted", "127.0.0.0/8", "-relay", k.sink.Addr, "-lmtp", "127.0.0.1:0", "-submissions", "", "-imaps", ""}
	for _, who := range users {
		args = append(args, "-account", who+"@x.test:"+secret)
	}
	k.office = testoffice.Start(t, args...)
	for _, who := range users {
		h := &hand{ledger: k.ledger, name: "first"}
		d, _, ok := h.sit(k.office.IMAP, who, inbox)
		if !ok {
			t.FailNow()
		}
		for _, box := range boxes[1:] {
			if err := d.Create(box, nil).Wait(); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
	}
	return k
}

// round works until a number of acknowledgements and then ends the server one way
// or the other; at the end it runs again.
func (k *killing) round(round int, rnd *rand.Rand, target int) (how string) {
	delay := time.Duration(rnd.IntN(20_000)) * time.Microsecond
	how = fmt.Sprintf("killed %v after %d acknowledgements", delay, target)
	term := rnd.IntN(4) == 0
	if term {
		delay *= 5
		how = fmt.Sprintf("SIGTERM after %d acknowledgements, killed %v later", target, delay)
	}
	killed := make(chan struct{})
	kill := sync.OnceFunc(func() {
		k.office.KillNow()
		close(killed)
	})
	k.ledger.round(target, func() {
		if term {
			k.office.Term()
		}
		time.AfterFunc(delay, kill)
	})
	var work, readers sync.WaitGroup
	n := uint64(0)
	newHand := func(name string) *hand {
		n++
		return &hand{ledger: k.ledger, name: fmt.Sprintf("%s%d.%d", name, n, round), rnd: rand.New(rand.NewPCG(k.seed<<32+uint64(round), n))}
	}
	// What a reader or worker knows of before is taken before anything moves.
	mine := [2][]string{}
	for i, id := range k.in(folder{"ann", shelf}) {
		mine[i%2] = append(mine[i%2], id)
	}
	for _, who := range users {
		if who != "ann" || round%10 == 9 { // else hers grows
			h, old := newHand("read"), k.in(folder{who, inbox})
			readers.Go(func() { h.reads(k.office.IMAP, who, old) })
		}
	}
	for i := range mine {
		h := newHand("work")
		work.Go(func() { h.works(k.office.IMAP, mine[i]) })
	}
	for range 4 {
		h := newHand("mx")
		work.Go(func() { h.brings(k.office.SMTP, false) })
	}
	h := newHand("lmtp")
	work.Go(func() { h.brings(k.office.LMTP, true) })
	for range 2 {
		h := newHand("msa")
		work.Go(func() { h.submits(k.office.Submission) })
	}
	work.Wait() // every connection broke
	if k.isDown() {
		<-killed
	}
	k.over()
	k.office.Kill()
	readers.Wait()
	all, _ := k.sink.Sessions()
	k.lives = append(k.lives, all)

	for range rnd.IntN(4) - 1 {
		d := time.Duration(rnd.IntN(120_000)) * time.Microsecond
		how += fmt.Sprintf(", killed %v after its start", d)
		k.office.Abort(d)
		all, _ := k.sink.Sessions()
		k.lives = append(k.lives, all)
	}
	if round%5 == 4 {
		how += ", read by the library"
		k.modseqs(round)
	}
	k.office.Restart()
	return how
}

// look reads all mailboxes and compares them with the ledger. Of what was compared
// before it reads one in 50 again, or everything.
func (k *killing) look(round int, everything bool) {
	k.t.Helper()
	found := map[held][]find{}
	rnd := rand.New(rand.NewPCG(k.seed, uint64(round)))
	h := &hand{ledger: k.ledger, name: "look"}
	for _, who := range users {
		d, _, ok := h.sit(k.office.IMAP, who, inbox)
		if !ok {
			k.t.FailNow()
		}
		for _, box := range boxes {
			f := folder{who, box}
			sel, err := d.Select(box, &imap.SelectOptions{ReadOnly: true}).Wait()
			if err != nil {
				k.t.Fatalf("round %d: %v: %v", round, f, err)
			}
			k.counters(round, f, sel)
			if sel.NumMessages == 0 {
				continue
			}
			var read imap.UIDSet
			add := func(uid imap.UID, id string, flags []imap.Flag) {
				found[held{who, id}] = append(found[held{who, id}], find{f, uid, inOrder(flags)})
			}
			flags := map[imap.UID][]imap.Flag{}
			list, err := d.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, RFC822Size: true}).Collect()
			if err != nil || len(list) != int(sel.NumMessages) {
				k.t.Fatalf("round %d: %v: %d of %d messages, %v", round, f, len(list), sel.NumMessages, err)
			}
			for _, m := range list {
				id := k.means(spot{f, m.UID}, m.RFC822Size)
				if id == "" || everything || rnd.IntN(50) == 0 {
					read.AddNum(m.UID)
					flags[m.UID] = m.Flags
				} else {
					add(m.UID, id, m.Flags)
				}
			}
			if len(read) == 0 {
				continue
			}
			cmd := d.Fetch(read, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
			for n := 0; ; n++ {
				next := cmd.Next()
				if next == nil {
					if err := cmd.Close(); err != nil || n != len(flags) {
						k.t.Fatalf("round %d: %v: read %d of %d, %v", round, f, n, len(flags), err)
					}
					break
				}
				m, err := next.Collect()
				if err != nil {
					k.t.Fatal(err)
				}
				id := k.whole(fmt.Sprintf("round %d: %v: UID %d", round, f, m.UID), m.BodySection[0].Bytes)
				add(m.UID, id, flags[m.UID])
			}
		}
		d.Close()
	}
	k.compare(round, found)
}

// check runs a sub-command that must find nothing.
func (k *killing) check(args ...string) {
	k.t.Helper()
	if out, errs, code := k.office.Run(args...); code != 0 {
		k.t.Errorf("%v says\n%s%s", args, out, errs)
	}
}

// drain waits until all mail for elsewhere is there.
func (k *killing) drain() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 5*time.Minute)
	defer cancel()
	for {
		k.office.Run("queue", "retry", "-all")
		out, errs, code := k.office.Run("queue", "list", "-json")
		if code != 0 {
			k.t.Fatal(out, errs)
		}
		if strings.TrimSpace(out) == "" {
			break
		}
		select {
		case <-ctx.Done():
			k.t.Fatalf("the queue does not get empty:\n%s\n%s", out, k.office.Stderr())
		case <-time.After(50 * time.Millisecond):
		}
	}
	all, _ := k.sink.Sessions()
	lives := append(k.lives, all)
	life := func(session int) int { n, _ := slices.BinarySearch(lives, session); return n }
	came := map[string][]int{} // the lives in which a copy came
	for _, m := range k.sink.Messages() {
		id := k.whole("for elsewhere", []byte(m.Data))
		for _, r := range m.Rcpts {
			key := id + " " + strings.Fields(r)[0]
			came[key] = append(came[key], life(m.Session))
		}
	}
	again := map[int]map[string]bool{} // what was in flight at the end of a life
	for key, in := range came {
		slices.Sort(in)
		id, _, _ := strings.Cut(key, " ")
		if k.out[id] == nil {
			k.t.Errorf("%s left, and nobody sent it", key)
		}
		for i := 1; i < len(in); i++ {
			k.twice++
			if in[i] == in[i-1] {
				k.t.Errorf("%s came twice, and nobody was killed between: %v", key, in)
			}
			if again[in[i-1]] == nil {
				again[in[i-1]] = map[string]bool{}
			}
			again[in[i-1]][id] = true
		}
	}
	for n, ids := range again {
		if len(ids) > perRoute {
			k.t.Errorf("at kill %d %d messages were in flight, of at most %d: %v", n, len(ids), perRoute, ids)
		}
	}
	for id, o := range k.out {
		for i := range o.rcpts {
			key := fmt.Sprintf("%s <zoe%d@far.test>", id, i)
			if o.acked && came[key] == nil {
				k.t.Errorf("%s was acknowledged and did not come", key)
			}
		}
	}
}

// perRoute is how many transactions there are to a smart host at once.
const perRoute = 5

// seqs are the counters of an account that no client is told.
type seqs struct {
	account  store.ModSeq
	messages map[store.MessageID]store.ModSeq
}

// modseqs opens the directory without the server, which is a start of its own.
func (k *killing) modseqs(round int) {
	k.t.Helper()
	ctx := k.t.Context()
	home, err := embedded.Open(ctx, k.office.Dir, embedded.Options{MustExist: true})
	if err != nil {
		k.t.Fatal(err)
	}
	defer home.Close()
	st := &store.Store{Backend: home.Store, Blobs: home.Blobs}
	for _, who := range users {
		acc, err := home.Accounts.Account(ctx, who+"@x.test")
		if err != nil {
			k.t.Fatal(err)
		}
		was, now := k.seqs[who], seqs{messages: map[store.MessageID]store.ModSeq{}}
		err = home.Store.View(ctx, func(tx store.Tx) error {
			a, err := tx.Accounts(acc.ID)
			if err == nil {
				now.account = a[0].ModSeq
			}
			return err
		})
		if err != nil {
			k.t.Fatal(err)
		}
		folders, err := st.As(acc.ID).Folders(ctx)
		if err != nil {
			k.t.Fatal(err)
		}
		for _, f := range folders {
			err := home.Store.View(ctx, func(tx store.Tx) error {
				for m, err := range tx.Messages(f.ID, store.Query{}) {
					if err != nil {
						return err
					}
					now.messages[m.ID] = m.ModSeq
				}
				return nil
			})
			if err != nil {
				k.t.Fatal(err)
			}
		}
		if now.account < was.account {
			k.t.Errorf("round %d: %s: MODSEQ %d, was %d", round, who, now.account, was.account)
		}
		for id, seq := range now.messages {
			before, ok := was.messages[id]
			if seq > now.account || seq < before || !ok && seq <= was.account {
				k.t.Errorf("round %d: %s: message %v has MODSEQ %d, had %d (%t); the account %d, had %d", round, who, id, seq, before, ok, now.account, was.account)
			}
		}
		k.seqs[who] = now
	}
}
