package imap

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

// T16: the worst pattern against 10,000 mailboxes takes as many steps as their names
// have bytes, times the words of the pattern, and so twice as many for twice as many.
func TestListOfManyIsLinear(t *testing.T) {
	steps := func(boxes int, given string) int {
		l := lister{patterns: []*pattern{newPattern(given)}}
		folders := make([]store.Folder, boxes)
		bytes := 0
		for i := range folders {
			folders[i].Name = fmt.Sprintf("%s/%05d", strings.Repeat("a", 100), i)
			bytes += len(folders[i].Name)
		}
		bytes += 100 // the name above them
		l.nodes(folders, nil)
		if n := l.patterns[0].steps; n > bytes*(len(given)/64+1) {
			t.Errorf("%.20q: %d steps for %d bytes", given, n, bytes)
		}
		return l.patterns[0].steps
	}
	for _, unit := range []string{"*a", "%a", "*%", "*a%", "a*"} {
		given := strings.Repeat(unit, 1000/len(unit)) + "b"
		once, twice := steps(5_000, given), steps(10_000, given)
		if twice > 2*once+2*len(given) {
			t.Errorf("%.20q: %d steps for 5,000, %d for 10,000", given, once, twice)
		}
	}
}

// T18 and T20: whatever a mailbox is called, it is refused, or LIST gives the name back
// and it can be used; no line is anything but an answer.
func FuzzMailboxNames(f *testing.F) {
	for _, name := range []string{
		"plain", `a"b`, `a\b`, "50%", "*", "a\r\nb", "a\x00b", "\r\n* OK", "../x", "..", "/abs", "a//b", "a/", ":2,S", "CON", "nul.txt", "é", "e\u0301",
		"\u2028", "R&D", "&", "&Jjo-", "~", "#news", strings.Repeat("x", 300), strings.Repeat("é/", 200) + "x", "inbox", "INBOX/inbox", "{3}", "{3+}", "(", ")", " ", "a b ",
		"\u202e", "\xff", "Other Users", "Other Users/bob@example.org/INBOX", "Shared Folders/x", "NIL", "\x7f",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if len(name) > 2000 {
			return
		}
		p := dial(t, start(t, &Server{InsecureAuth: true, Roster: users()}))
		p.ok("LOGIN ann@example.org secret")
		p.ok("ENABLE UTF8=ACCEPT")
		p.send("c CREATE {%d+}\r\n%s", len(name), name)
		made := p.until("c ")
		if len(made) != 1 {
			t.Fatalf("CREATE: %q", made)
		}
		if !strings.HasPrefix(made[0], "c OK") {
			if strings.HasPrefix(made[0], "c BAD") && !strings.Contains(name, "\x00") {
				t.Errorf("CREATE of %q: %q", name, made)
			}
			return
		}
		// As it came back, so it is used.
		list := p.do(`LIST "" "*" RETURN (SUBSCRIBED)`)
		clean, err := store.CleanName(strings.TrimSuffix(name, delimiter))
		if err != nil {
			t.Fatalf("%q was made: %v", name, err)
		}
		found := false
		for i := 0; i < len(list)-1; i++ {
			rest, ok := strings.CutPrefix(list[i], `* LIST (\Subscribed) "/" `)
			if !ok {
				t.Fatalf("a line that is no answer: %q", list)
			}
			var back string
			if strings.HasPrefix(rest, "{") {
				i++
				back = list[i]
			} else {
				back = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(rest[1 : len(rest)-1])
			}
			found = found || back == clean
		}
		if !found {
			t.Fatalf("%q became %q", name, list)
		}
		p.send("d STATUS {%d+}\r\n%s (MESSAGES)", len(clean), clean)
		if got := p.until("d "); len(got) < 2 || !strings.HasPrefix(got[len(got)-1], "d OK") {
			t.Errorf("STATUS of %q: %q", name, got)
		}
		if clean == inbox {
			return
		}
		p.send("e DELETE {%d+}\r\n%s", len(clean), clean)
		if got := p.until("e "); len(got) != 1 || !strings.HasPrefix(got[0], "e OK") {
			t.Errorf("DELETE of %q: %q", name, got)
		}
	})
}

// T21: 20 sessions append at once where there is room for one, one message or two at
// a time.
func TestAppendsDoNotPassTheQuotaTogether(t *testing.T) {
	for _, each := range []int{1, 2} {
		st := newStore()
		put(t, st, "a1", "INBOX", "Subject: x\n\nx\n")
		const limit = 2
		st.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) {
			return mailkeel.Quota{Messages: limit}, nil
		}
		addr := start(t, &Server{Store: st, InsecureAuth: true})
		var wg sync.WaitGroup
		var mu sync.Mutex
		filed := 1
		for range 20 {
			p := dial(t, addr)
			p.ok("LOGIN ann@example.org secret")
			wg.Go(func() {
				for range 3 {
					got := p.do("APPEND INBOX%s", strings.Repeat(" {3+}\r\nhey", each))
					mu.Lock()
					switch last := got[len(got)-1]; {
					case strings.HasPrefix(last, "t OK"):
						filed += each
					case !strings.HasPrefix(last, "t NO [OVERQUOTA]"):
						t.Errorf("%q", got)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		u, err := st.Usage(t.Context(), "a1")
		if err != nil || u.Messages != filed || u.Messages > limit || each == 1 && u.Messages != limit {
			t.Errorf("%d at a time: %+v, %v, of which %d were acknowledged", each, u, err, filed)
		}
	}
}
