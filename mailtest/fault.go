package mailtest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/tamper"
)

// A Point is a place in a dialog where a Fault may happen: one of those below, or a
// command of IMAP or POP3, such as "FETCH" or "RETR".
type Point string

const (
	Connect   Point = tamper.Connect // instead of the greeting
	Handshake Point = "HANDSHAKE"    // of TLS: after STARTTLS, or from the start
	Hello     Point = "EHLO"         // HELO and LHLO too
	StartTLS  Point = "STARTTLS"     // STLS too
	Auth      Point = "AUTH"         // AUTHENTICATE, LOGIN and PASS too
	Mail      Point = "MAIL"
	Rcpt      Point = "RCPT"
	Data      Point = "DATA"         // the command
	Content   Point = tamper.Content // the message has come, and is not taken
	Taken     Point = tamper.Taken   // it is taken, and the client not told
	Idle      Point = tamper.Idling  // IDLE has begun
	Bytes     Point = "BYTES"        // After(n) bytes from the client
)

// aliases are other names of points.
func aliases(p Point) Point {
	switch p {
	case "HELO", "LHLO":
		return Hello
	case "STLS":
		return StartTLS
	case "AUTHENTICATE", "LOGIN", "PASS":
		return Auth
	case "IDLING":
		return Idle
	}
	return p
}

// A Fault is what goes wrong, where, for whom and how often. At makes one; each
// method returns one with more to it. It is a value: the same Fault may be given to
// several servers, and each counts for itself.
//
//	srv.Fail(mailtest.At(mailtest.Rcpt).To("ann@example.test").Times(2).Reply("451 4.3.0 try later"))
//	srv.Fail(mailtest.At(mailtest.Content).Drop())
//	srv.Fail(mailtest.At("FETCH").Account("ann@example.test").Reply("NO [UNAVAILABLE] later"))
//
// Without an action it is Drop.
type Fault struct {
	point         Point
	door          string
	to, from, who string
	skip, times   int
	chance        int // percent; zero means always
	after         int64
	delay         time.Duration
	act           action
	reply         string
	every         time.Duration // of Greylist and RateLimit
	limit         int64         // of RateLimit and SizeLimit
}

type action string

const (
	drop    action = "drop"
	garbage action = "garbage"
	stall   action = "stall"
	reply   action = "reply"
	slow    action = "slow" // only the delay
	badName action = "wrong-name"
	expired action = "expired"
	grey    action = "greylist"
	rate    action = "rate"
	size    action = "size"
)

// At returns a Fault that drops the connection at a point, each time.
func At(p Point) Fault { return Fault{point: aliases(Point(strings.ToUpper(string(p)))), act: drop} }

// Door limits it to one door, by the names of package server: server.IMAPS. Without,
// it is for all. Those with implicit TLS differ from the others only at Connect,
// Handshake and Bytes.
func (f Fault) Door(name string) Fault { f.door = name; return f }

// To limits it to a recipient. At Mail that is not known yet.
func (f Fault) To(address string) Fault { f.to = address; return f }

// From limits it to a reverse-path.
func (f Fault) From(address string) Fault { f.from = address; return f }

// Account limits it to sessions that have logged in to an account.
func (f Fault) Account(address string) Fault { f.who = address; return f }

// Skip lets it pass n times before it happens.
func (f Fault) Skip(n int) Fault { f.skip = n; return f }

// Times lets it happen n times and no more; zero means always.
func (f Fault) Times(n int) Fault { f.times = n; return f }

// Chance lets it happen in percent of the cases, by a fixed sequence: the same each
// time.
func (f Fault) Chance(percent int) Fault { f.chance = percent; return f }

// After lets it happen when n bytes have come from the client, as they came over the
// network, and none of what follows is read; the point becomes Bytes.
func (f Fault) After(n int64) Fault { f.point, f.after = Bytes, n; return f }

// Delay lets d pass first, by the clock of the server. With Slow it is all.
func (f Fault) Delay(d time.Duration) Fault { f.delay = d; return f }

// Slow only delays, by d, and then the server goes on as usual.
func (f Fault) Slow(d time.Duration) Fault { f.delay, f.act = d, slow; return f }

// Drop ends the connection without a word.
func (f Fault) Drop() Fault { f.act = drop; return f }

// Garbage says bytes that are no protocol, and ends the connection.
func (f Fault) Garbage() Fault { f.act = garbage; return f }

// Stall says nothing more, until the client or the test gives up.
func (f Fault) Stall() Fault { f.act = stall; return f }

// Reply answers instead of the server, which does not do what it was asked: with
// "451 4.3.0 try later", or in IMAP without the tag "NO [UNAVAILABLE] later". After
// a 421, a "* BYE", and at Connect the connection ends.
func (f Fault) Reply(line string) Fault { f.act, f.reply = reply, line; return f }

// WrongName has TLS show the certificate of another host. The point becomes
// Handshake.
func (f Fault) WrongName() Fault { f.point, f.act = Handshake, badName; return f }

// Expired has TLS show a certificate whose time is over. The point becomes Handshake.
func (f Fault) Expired() Fault { f.point, f.act = Handshake, expired; return f }

// Greylist refuses each pair of sender and recipient with 451 until d has passed since
// it first came.
func Greylist(d time.Duration) Fault { return Fault{point: Rcpt, act: grey, every: d} }

// SizeLimit refuses messages of more than n bytes with 552: at MAIL if the client
// tells the size, else when they have come.
func SizeLimit(n int64) Fault { return Fault{act: size, limit: n} }

// RateLimit takes n messages in each d, and then says 421 and hangs up.
func RateLimit(n int, d time.Duration) Fault {
	return Fault{point: Mail, act: rate, limit: int64(n), every: d}
}

// String is the Fault as a line of a script: see ParseFaults.
func (f Fault) String() string {
	switch f.act {
	case grey:
		return fmt.Sprintf("greylist %v", f.every)
	case size:
		return fmt.Sprintf("size %d", f.limit)
	case rate:
		return fmt.Sprintf("rate %d %v", f.limit, f.every)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "at %s", f.point)
	for _, w := range []struct{ key, value string }{{"door", f.door}, {"to", f.to}, {"from", f.from}, {"account", f.who}} {
		if w.value != "" {
			fmt.Fprintf(&b, " %s=%s", w.key, w.value)
		}
	}
	for _, w := range []struct {
		key   string
		value int64
	}{{"skip", int64(f.skip)}, {"times", int64(f.times)}, {"chance", int64(f.chance)}, {"after", f.after}} {
		if w.value != 0 {
			fmt.Fprintf(&b, " %s=%d", w.key, w.value)
		}
	}
	if f.delay != 0 && f.act != slow {
		fmt.Fprintf(&b, " delay=%v", f.delay)
	}
	fmt.Fprintf(&b, " %s", f.act)
	switch f.act {
	case reply:
		b.WriteString(" " + f.reply)
	case slow:
		fmt.Fprintf(&b, " %v", f.delay)
	}
	return b.String()
}

// An Active is a Fault that a server has.
type Active struct {
	fault Fault
	all   *faults

	// guarded by all.mu
	came, hits int
	dice       *rand.Rand
	first      map[string]time.Time // of Greylist
	taken      []time.Time          // of RateLimit
}

// Hits is how often it has happened.
func (a *Active) Hits() int {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	return a.hits
}

// Stop ends it.
func (a *Active) Stop() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	a.all.list = slices.DeleteFunc(a.all.list, func(x *Active) bool { return x == a })
}

// faults are those of a server.
type faults struct {
	clock mailkeel.Clock
	done  <-chan struct{} // the test ends

	mu   sync.Mutex
	list []*Active
}

// Fail adds a Fault, behind those that are there: the first that fits happens.
func (s *Server) Fail(f Fault) *Active {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	a := &Active{fault: f, all: s.faults, dice: rand.New(rand.NewPCG(1, 2)), first: map[string]time.Time{}}
	s.faults.list = append(s.faults.list, a)
	return a
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

// pick returns the fault that happens at a moment, counted, or nil.
// With acts it picks only such.
func (fs *faults) pick(point Point, m tamper.Moment, door func(string) bool, acts ...action) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, a := range fs.list {
		f := a.fault
		if len(acts) > 0 && !slices.Contains(acts, f.act) || f.door != "" && !door(f.door) || !f.fits(point, m) || !a.holds(fs.clock.Now(), point, m) {
			continue
		}
		if f.chance > 0 && a.dice.IntN(100) >= f.chance {
			continue
		}
		if a.came++; a.came <= f.skip || f.times > 0 && a.hits >= f.times {
			continue
		}
		a.hits++
		return &f
	}
	return nil
}

// fits reports whether a fault is meant for a moment.
func (f *Fault) fits(point Point, m tamper.Moment) bool {
	if f.act == size {
		return point == Mail || point == Content
	}
	if f.point != point {
		return false
	}
	from, to := m.From, m.To
	switch point {
	case Mail:
		from = path(m.Arg)
	case Rcpt:
		to = []string{path(m.Arg)}
	}
	return (f.to == "" || slices.ContainsFunc(to, func(a string) bool { return strings.EqualFold(a, f.to) })) &&
		(f.from == "" || strings.EqualFold(from, f.from)) &&
		(f.who == "" || strings.EqualFold(strings.TrimPrefix(m.Login, "id of "), f.who))
}

// holds is what Greylist, RateLimit and SizeLimit ask beyond that.
func (a *Active) holds(now time.Time, point Point, m tamper.Moment) bool {
	f := a.fault
	switch f.act {
	case grey:
		pair := strings.ToLower(m.From + " " + path(m.Arg))
		first, ok := a.first[pair]
		if !ok {
			first = now
			a.first[pair] = now
		}
		return now.Sub(first) < f.every
	case rate:
		a.taken = slices.DeleteFunc(a.taken, func(t time.Time) bool { return now.Sub(t) >= f.every })
		if int64(len(a.taken)) >= f.limit {
			return true
		}
		a.taken = append(a.taken, now)
		return false
	case size:
		n := m.Size
		if point == Mail {
			n = 0
			for w := range strings.FieldsSeq(m.Arg) {
				if key, value, ok := strings.Cut(w, "="); ok && strings.EqualFold(key, "SIZE") {
					fmt.Sscan(value, &n)
				}
			}
		}
		return n > f.limit
	}
	return true
}

// path is the address in the argument of MAIL and RCPT.
func path(arg string) string {
	_, rest, ok := strings.Cut(arg, "<")
	if !ok {
		_, rest, _ = strings.Cut(arg, ":")
		rest, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
		return rest
	}
	rest, _, _ = strings.Cut(rest, ">")
	return rest
}

// hook is what a door asks.
func (fs *faults) hook(names ...string) tamper.Hook {
	return func(ctx context.Context, m tamper.Moment) *tamper.Act {
		f := fs.pick(aliases(Point(m.Point)), m, func(d string) bool { return slices.Contains(names, d) })
		if f == nil {
			return nil
		}
		m.Flush()
		if !fs.wait(ctx, f.delay) {
			return nil
		}
		return fs.perform(ctx, f, m)
	}
}

// wait lets d pass, and reports whether the connection is still there.
func (fs *faults) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := fs.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
	case <-fs.done:
	}
	return false
}

// nonsense is what no protocol says.
var nonsense = []byte("\x16\x03\x00\xff\x00garbage \x80\xfe\r\n%!@ 999\r\n")

func (fs *faults) perform(ctx context.Context, f *Fault, m tamper.Moment) *tamper.Act {
	switch f.act {
	case slow:
		return nil
	case stall:
		select {
		case <-ctx.Done():
		case <-fs.done:
		}
		return &tamper.Act{Close: true}
	case garbage:
		act := &tamper.Act{Raw: bytes.Clone(nonsense), Close: true}
		if Point(m.Point) == StartTLS && m.Door != "imap" && m.Door != "pop3" {
			act.Reply = []string{"220 2.0.0 ready to start TLS"} // and then no TLS
		}
		return act
	case grey:
		return &tamper.Act{Reply: []string{"451 4.7.1 greylisted, try again later"}}
	case rate:
		return &tamper.Act{Reply: []string{"421 4.7.0 too many messages, try again later"}, Close: true}
	case size:
		return &tamper.Act{Reply: []string{"552 5.3.4 message is too large"}}
	case reply:
		end := Point(m.Point) == Connect || strings.HasPrefix(f.reply, "421") || strings.HasPrefix(strings.ToUpper(f.reply), "* BYE")
		return &tamper.Act{Reply: strings.Split(f.reply, "\n"), Close: end}
	}
	return &tamper.Act{Close: true}
}
