package dnsbl_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dnsbl"
	"github.com/mailkeel/mailkeel/filter/filtertest"
	"github.com/mailkeel/mailkeel/internal/testclock"
)

// zone answers from a table of names without the dot at the end. "*" before a zone is
// for all names in it. The answer "fail" is a failure.
type zone struct {
	table map[string]string

	mu    sync.Mutex
	asked []string
}

func (z *zone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	z.asked = append(z.asked, host)
	z.mu.Unlock()
	name := strings.TrimSuffix(host, ".")
	text := z.table[name]
	for suffix := name; text == "" && suffix != ""; {
		_, suffix, _ = strings.Cut(suffix, ".")
		text = z.table["*."+suffix]
	}
	if network != "ip4" || !strings.HasSuffix(host, ".") {
		return nil, errors.New("not the question")
	}
	switch text {
	case "":
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	case "fail":
		return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var all []netip.Addr
	for a := range strings.SplitSeq(text, " ") {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

func (z *zone) count() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return len(z.asked)
}

func from(addr string) *filter.Transaction {
	return &filter.Transaction{Origin: &mailkeel.Origin{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 25)}}
}

func TestScores(t *testing.T) {
	z := &zone{table: map[string]string{
		"1.2.0.192.block.example": "127.0.0.2",
		"2.2.0.192.block.example": "127.0.0.4 127.0.0.10",
		"3.2.0.192.block.example": "127.0.0.2", "3.2.0.192.other.example": "127.0.0.9",
		"4.2.0.192.block.example": "127.0.0.2", "4.2.0.192.allow.example": "127.0.5.3",
		"5.2.0.192.block.example": "127.255.255.254",
		"6.2.0.192.other.example": "192.0.2.99",
		"7.2.0.192.block.example": "127.0.0.1", "7.2.0.192.other.example": "127.0.0.1",
		"8.2.0.192.block.example": "fail", "8.2.0.192.other.example": "127.0.0.2",
		"9.2.0.192.allow.example": "127.0.5.1",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.block.example": "127.0.0.2",
	}}
	lists := []dnsbl.List{
		{Zone: "block.example", Codes: map[string]float64{"127.0.0.2-9": 0, "127.0.0.10-11": 6}},
		{Zone: "other.example.", Score: 2.5},
		{Zone: "allow.example", NoIPv6: true, Codes: map[string]float64{"127.0.*.0": -0.1, "127.0.*.1": -1, "127.0.*.2-3": -5}},
	}
	for _, tt := range []struct {
		addr   string
		score  float64
		refuse bool
		why    string
	}{
		{"192.0.2.1", 3, false, "block.example (127.0.0.2, +3)"},
		{"::ffff:192.0.2.1", 3, false, "192.0.2.1 is on block.example"},
		{"192.0.2.2", 6, true, "block.example (127.0.0.10, +6)"},
		{"192.0.2.3", 5.5, true, "block.example (127.0.0.2, +3), other.example. (127.0.0.9, +2.5)"},
		{"192.0.2.4", -2, false, "allow.example (127.0.5.3, -5)"},
		{"192.0.2.5", 0, false, ""}, // says that it was asked wrongly
		{"192.0.2.6", 0, false, ""}, // somebody's web page
		{"192.0.2.7", 0, false, ""},
		{"192.0.2.8", 2.5, false, "other.example."},
		{"192.0.2.9", -1, false, "allow.example"},
		{"192.0.2.10", 0, false, ""},
		{"2001:db8::1", 3, false, "block.example"},
		{"2001:db8::2", 0, false, ""},
	} {
		for _, mode := range []filter.Mode{filter.Enforce, filter.Mark, filter.Log} {
			f := &dnsbl.Filter{Lists: lists, Resolver: z, Mode: mode}
			if err := f.Check(); err != nil {
				t.Fatal(err)
			}
			v, err := f.FilterConn(t.Context(), from(tt.addr))
			score := tt.score
			if mode == filter.Log {
				score = 0
			}
			if err != nil || v.Score != score || (v.Refuse != nil) != (tt.refuse && mode == filter.Enforce) || !strings.Contains(v.Why, tt.why) || (v.Why == "") != (tt.why == "") || v.Junk {
				t.Errorf("%s, %v: %+v, %v", tt.addr, mode, v, err)
			}
			if v.Refuse != nil && (v.Refuse.Code != 554 || !strings.Contains(v.Refuse.Message, "block.example")) {
				t.Errorf("%s: %v", tt.addr, v.Refuse)
			}
		}
	}
}

func TestListsThatListEverybody(t *testing.T) {
	z := &zone{table: map[string]string{"*.dead.example": "127.0.0.2", "1.2.0.192.good.example": "127.0.0.2"}}
	clock := &testclock.Clock{}
	f := &dnsbl.Filter{Lists: []dnsbl.List{{Zone: "dead.example", Score: 10}, {Zone: "good.example"}}, Resolver: z, Clock: clock}
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"} {
		v, err := f.FilterConn(t.Context(), from(addr))
		if err != nil || strings.Contains(v.Why, "dead") || v.Refuse != nil {
			t.Errorf("%s: %+v, %v", addr, v, err)
		}
	}
	tests := 0
	for _, q := range z.asked {
		if strings.HasPrefix(q, "1.0.0.127.") {
			tests++
		}
	}
	if tests != 2 { // one a list and hour
		t.Errorf("%d test queries: %v", tests, z.asked)
	}
	clock.Advance(2 * time.Hour)
	delete(z.table, "*.dead.example")
	z.table["3.2.0.192.dead.example"] = "127.0.0.2"
	if v, err := f.FilterConn(t.Context(), from("192.0.2.3")); err != nil || v.Score != 10 {
		t.Errorf("the list is back: %+v, %v", v, err)
	}
}

func TestWhoIsNotAskedAbout(t *testing.T) {
	z := &zone{table: map[string]string{"*.block.example": "127.0.0.2"}}
	f := &dnsbl.Filter{Lists: []dnsbl.List{{Zone: "block.example"}}, Resolver: z}
	for _, addr := range []string{"127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
		"fe80::1%eth0", "fd00::1", "::", "ff02::1", "::ffff:10.0.0.1", "198.18.0.1"} {
		if v, err := f.FilterConn(t.Context(), from(addr)); v.Why != "" || err != nil {
			t.Errorf("%s: %+v, %v", addr, v, err)
		}
	}
	trusted := from("192.0.2.1")
	trusted.Trusted = true
	for _, tx := range []*filter.Transaction{trusted, {}, {Origin: &mailkeel.Origin{}}} {
		if v, err := f.FilterConn(t.Context(), tx); v.Why != "" || err != nil {
			t.Errorf("%+v: %+v, %v", tx.Origin, v, err)
		}
	}
	if z.count() > 0 {
		t.Errorf("asked %v", z.asked)
	}
}

func TestOneConnectionAsksOnce(t *testing.T) {
	z := &zone{table: map[string]string{"1.2.0.192.block.example": "127.0.0.2", "3.2.0.192.block.example": "fail"}}
	clock := &testclock.Clock{}
	f := &dnsbl.Filter{Lists: []dnsbl.List{{Zone: "block.example"}, {Zone: "x.example", NoIPv4: true}}, Resolver: z, Clock: clock}
	c := &filter.Chain{Groups: [][]filter.Filter{{f}}, Clock: clock}
	connect := func(addr string) (last filter.Verdict) {
		one, end := c.Session(t.Context(), from(addr).Origin)
		defer end()
		for range 2 { // before and after STARTTLS
			last = one.Run(t.Context(), filter.Conn, from(addr))
			clock.Advance(10 * time.Minute)
		}
		return last
	}
	if v := connect("192.0.2.1"); v.Score != 3 || z.count() != 2 { // and the test
		t.Errorf("%+v after %v", v, z.asked)
	}
	z.asked = nil
	if v := connect("192.0.2.2"); v.Score != 0 || z.count() != 1 {
		t.Errorf("%+v after %v", v, z.asked)
	}
	z.asked = nil
	if v := connect("192.0.2.3"); len(v.Results) != 1 || v.Score != 0 || z.count() != 2 { // a failure is not kept
		t.Errorf("%+v after %v", v, z.asked)
	}
	// What was answered is kept for others from there, for 5 minutes.
	z.asked = nil
	f.FilterConn(t.Context(), from("192.0.2.4"))
	clock.Advance(5*time.Minute - 1)
	f.FilterConn(t.Context(), from("192.0.2.4"))
	if z.count() != 1 {
		t.Errorf("asked %v", z.asked)
	}
	clock.Advance(1)
	f.FilterConn(t.Context(), from("192.0.2.4"))
	if z.count() != 2 {
		t.Errorf("asked %v", z.asked)
	}
}

func TestAListThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time goes on when nobody can do anything else
		z := &zone{table: map[string]string{"*.slow.example": "hang", "1.2.0.192.block.example": "127.0.0.2"}}
		f := &dnsbl.Filter{Lists: []dnsbl.List{{Zone: "slow.example"}, {Zone: "block.example"}}, Resolver: z}
		v, err := f.FilterConn(t.Context(), from("192.0.2.1"))
		if err != nil || v.Score != 3 {
			t.Errorf("%+v, %v", v, err)
		}
		only := &dnsbl.Filter{Lists: f.Lists[:1], Resolver: z}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if v, err := only.FilterConn(ctx, from("192.0.2.1")); err == nil || v.Refuse != nil {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// crowd counts how many ask at a time.
type crowd struct{ now, most atomic.Int64 }

func (c *crowd) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	return nil, nil
}

func TestLookupsAreBounded(t *testing.T) {
	c := &crowd{}
	f := &dnsbl.Filter{Lists: []dnsbl.List{{Zone: "a.example"}, {Zone: "b.example"}, {Zone: "c.example"}}, Resolver: c, MaxLookups: 4, MaxKept: 10}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if _, err := f.FilterConn(t.Context(), from(fmt.Sprintf("192.0.2.%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.most.Load(); n > 4 {
		t.Errorf("%d look-ups at a time", n)
	}
}

func TestCheck(t *testing.T) {
	for _, l := range []dnsbl.List{{}, {Zone: "a b"}, {Zone: strings.Repeat("x.", 100)}, {Zone: "x.example", Codes: map[string]float64{"127.0.0": 1}},
		{Zone: "x.example", Codes: map[string]float64{"127.0.0.300": 1}}, {Zone: "x.example", Codes: map[string]float64{"127.0.0.9-2": 1}}} {
		if (&dnsbl.Filter{Lists: []dnsbl.List{l}}).Check() == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}

func TestConformance(t *testing.T) {
	filtertest.Run(t, func(*testing.T) filter.Filter {
		return &dnsbl.Filter{Lists: []dnsbl.List{{Zone: "block.example", Score: 9}}, Resolver: &zone{table: map[string]string{"1.2.0.192.block.example": "127.0.0.2"}}}
	})
}

// An address that two lists have is refused, and one alone counts.
func Example() {
	f := &dnsbl.Filter{
		Lists:    []dnsbl.List{{Zone: "zen.example.org"}, {Zone: "bl.example.net", Score: 2}, {Zone: "allow.example.org", Score: -2}},
		Resolver: &zone{table: map[string]string{"1.2.0.192.zen.example.org": "127.0.0.4", "1.2.0.192.bl.example.net": "127.0.0.2"}},
	}
	mx := &filter.Chain{Groups: [][]filter.Filter{{f}}}
	v := mx.Run(context.Background(), filter.Conn, from("192.0.2.1"))
	fmt.Println(v.Refuse)
	fmt.Println(v.Why)
	// Output:
	// 554 5.7.1 192.0.2.1 is on the block lists zen.example.org, bl.example.net
	// DNS lists: 192.0.2.1 is on zen.example.org (127.0.0.4, +3), bl.example.net (127.0.0.2, +2)
}
