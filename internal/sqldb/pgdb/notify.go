package pgdb

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

const (
	// maxNote is how long a payload may be. A server takes 8000 bytes in all.
	maxNote = 1000
	// maxSend is how many notes go out in one transaction.
	maxSend = 500
	// maxBox is how many wait for that; further ones are dropped, and found
	// missing by those who listen.
	maxBox = 100_000
	// maxNumbers is how many transactions one note stands for.
	maxNumbers = 100
	// sendWithin is for how long it is tried to send.
	sendWithin = 10 * time.Second
)

// outbox holds notes that other processes are to hear.
type outbox struct {
	mu      sync.Mutex
	notes   []outNote
	sending bool
	mute    bool // for tests: all are lost
}

type outNote struct {
	number int64 // of the transaction
	sqldb.Note
}

// tell tells this process at once, and the others soon.
func (db *DB) tell(number int64, notes []sqldb.Note) {
	db.hub.Tell(notes...)
	db.marks.heard(number)
	b := &db.box
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.notes)+len(notes) > maxBox || b.mute {
		return
	}
	for _, n := range notes {
		b.notes = append(b.notes, outNote{number, n})
	}
	if !b.sending && db.begin() == nil {
		b.sending = true
		go db.sendNotes()
	}
}

// sendNotes runs until all are sent.
func (db *DB) sendNotes() {
	defer db.work.Done()
	for {
		db.box.mu.Lock()
		notes := db.box.notes
		if len(notes) == 0 {
			db.box.sending = false
			db.box.mu.Unlock()
			return
		}
		db.box.notes = nil
		db.box.mu.Unlock()
		for len(notes) > 0 {
			n := min(maxSend, len(notes))
			for n < len(notes) && notes[n].number == notes[n-1].number {
				n++ // those of one transaction go together
			}
			if err := db.sendOnce(db.messages(notes[:n])); err != nil {
				db.o.Logger.Debug("pgdb: notes were not sent", "err", err)
			}
			notes = notes[n:]
		}
	}
}

// messages makes one text of those that say the same.
//
//	numbers sender topic payload
func (db *DB) messages(notes []outNote) (out []string) {
	numbers := map[sqldb.Note][]string{}
	var order []sqldb.Note
	flush := func(n sqldb.Note) {
		out = append(out, strings.Join(numbers[n], ",")+" "+db.self+" "+n.Topic+" "+n.Payload)
		delete(numbers, n)
	}
	for _, o := range notes {
		n := o.Note
		if len(n.Payload) > maxNote || !utf8.ValidString(n.Payload) || strings.Contains(n.Payload, "\x00") {
			n.Payload = "" // look at everything
		}
		if numbers[n] == nil {
			order = append(order, n)
		}
		if numbers[n] = append(numbers[n], strconv.FormatInt(o.number, 10)); len(numbers[n]) == maxNumbers {
			flush(n)
		}
	}
	for _, n := range order {
		if numbers[n] != nil {
			flush(n)
		}
	}
	return out
}

// sendOnce does not wait for the disk: what is lost is found missing.
func (db *DB) sendOnce(messages []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendWithin)
	defer cancel()
	pc, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pc.Release()
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue("set local synchronous_commit = off")
	b.Queue("select pg_notify($1, m) from unnest($2::text[]) m", db.channel, messages)
	b.Queue("commit")
	return pc.SendBatch(ctx, b).Close()
}

// parseNote reads what messages wrote.
func parseNote(s string) (numbers []int64, sender string, n sqldb.Note, err error) {
	f := strings.SplitN(s, " ", 4)
	if len(f) != 4 {
		return nil, "", n, fmt.Errorf("pgdb: strange note %.100q", s)
	}
	for number := range strings.SplitSeq(f[0], ",") {
		i, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, "", n, fmt.Errorf("pgdb: strange note %.100q", s)
		}
		numbers = append(numbers, i)
	}
	return numbers, f[1], sqldb.Note{Topic: f[2], Payload: f[3]}, nil
}

// marks are the numbers of notes that are known.
type marks struct {
	mu    sync.Mutex
	begun bool
	base  int64 // all up to this one
	known map[int64]struct{}
	// The sequence at an earlier look, and the transaction that none of those
	// that had taken a number by then was after.
	last int64
	xmax uint64
	// again says that transactions before first may have ended after the first
	// look without being seen by it.
	again bool
	first uint64
	// The sequence at the look before this one, and up to where all were told
	// of what is missing.
	seen, told int64
	late       int // looks since they were told first, while a transaction that took a number may run still
}

const (
	// maxKnown bounds the numbers that are remembered.
	maxKnown = 100_000
	// seldom is how many looks there are between two that tell of the same loss,
	// in the end: a transaction of anybody on the server may run for hours, and
	// all followers reading anew twice a second would be a load.
	seldom = 16
)

func (m *marks) heard(numbers ...int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range numbers {
		if m.begun && n > m.base {
			m.known[n] = struct{}{}
		}
	}
}

// look takes in what the sequence is, the oldest transaction that runs, and the
// first that has not begun. gap says that all must be looked at, missing that it is
// because a note was found lost now.
func (m *marks) look(last int64, xmin, xmax uint64) (gap, missing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.begun || last < m.last || len(m.known) > maxKnown { // the first, or the database is another
		m.begun, m.base, m.known, m.last, m.xmax = true, last, map[int64]struct{}{}, last, xmax
		m.again, m.first, m.seen, m.told, m.late = true, xmax, last, last, 0
		return true, false
	}
	if m.again && xmin >= m.first {
		gap, m.again = true, false
	}
	if missing = m.lacks(m.told, m.seen); missing {
		gap, m.told, m.late = true, m.seen, 0
	}
	m.seen = last
	open, ended := m.lacks(m.base, m.last), xmin >= m.xmax
	if open && !missing {
		m.late++
		gap = gap || ended || m.late&(m.late-1) == 0 || m.late%seldom == 0
	}
	if ended || !open {
		m.base, m.late = max(m.base, m.last), 0
		for n := range m.known {
			if n <= m.base {
				delete(m.known, n)
			}
		}
		m.last, m.xmax = last, xmax
	}
	return gap, missing
}

// lacks reports whether a number after one and up to another is not known.
func (m *marks) lacks(after, through int64) bool {
	for n := max(after, m.base) + 1; n <= through; n++ {
		if _, ok := m.known[n]; !ok {
			return true
		}
	}
	return false
}
