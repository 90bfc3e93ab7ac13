package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/delivery/route"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
	"github.com/mailkeel/mailkeel/internal/testdns"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

const message = text("From: zoe@c.test\r\nSubject: hello\r\n\r\nhi\r\n")

// A node is a whole mail server of one domain.
type node struct {
	queue *queue.Queue
	boxes *store.Store
	mx    *smtp.Server
	local mailkeel.Transport
}

// network finds the mail servers of its domains.
type network struct {
	dns   *testdns.Server
	addrs map[string]string // by the address in the DNS
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, n.addrs[addr])
}

// node starts the server of a domain, which is at the address of the DNS.
func (n *network) node(t *testing.T, domain, at string, users *static.Directory) *node {
	blobs := &memblob.Store{}
	x := &node{boxes: &store.Store{Backend: &memstore.Backend{}, Blobs: blobs, Limit: users.Limit}}
	out := &remote.Transport{Hostname: "mx." + domain, Resolver: n.dns.Resolver(), Dial: n.dial}
	x.local = &mailbox.Transport{Store: x.boxes}
	x.queue = &queue.Queue{Backend: &memqueue.Backend{}, Blobs: blobs, Hostname: "mx." + domain}
	x.queue.Next = &route.Table{Local: x.local, Rest: out, Directory: users, Expand: x.queue}
	x.mx = &smtp.Server{Hostname: "mx." + domain, Blobs: blobs, Directory: users, Next: &queue.Inline{First: x.local, Queue: x.queue}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addrs[at+":25"] = ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- x.mx.Serve(ln) }()
	go func() { ran <- x.queue.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		out.Close()
		x.mx.Close()
		<-served
	})
	return x
}

// wait lets mail go from queue to queue until all are empty.
func wait(t *testing.T, nodes ...*node) {
	t.Helper()
	for range 200 {
		left := 0
		for _, x := range nodes {
			if err := x.queue.Settled(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, x := range nodes {
			c, err := x.queue.Count(t.Context(), queue.Query{})
			if err != nil {
				t.Fatal(err)
			}
			left += c.Items
		}
		if left == 0 {
			return
		}
	}
	t.Fatal("there is still mail in the queues")
}

// TestForwardersLoop is T26: two servers that forward to each other stop, and the
// sender hears of it once.
func TestForwardersLoop(t *testing.T) {
	n := &network{addrs: map[string]string{}, dns: testdns.New(t,
		"a.test. MX 10 mx.a.test.", "mx.a.test. A 10.0.0.1", "b.test. MX 10 mx.b.test.", "mx.b.test. A 10.0.0.2", "c.test. A 10.0.0.3")}
	sender := smtpsink.Start(t, &smtpsink.Server{})
	n.addrs["10.0.0.3:25"] = sender.Addr
	a := n.node(t, "a.test", "10.0.0.1", &static.Directory{Domains: []accounts.Domain{{Name: "a.test"}},
		Aliases: []accounts.Alias{{Address: "loop@a.test", Targets: []string{"loop@b.test"}}}})
	b := n.node(t, "b.test", "10.0.0.2", &static.Directory{Domains: []accounts.Domain{{Name: "b.test"}},
		Aliases: []accounts.Alias{{Address: "loop@b.test", Targets: []string{"loop@a.test"}}}})
	out := &remote.Transport{Hostname: "mx.c.test", Resolver: n.dns.Resolver(), Dial: n.dial}
	defer out.Close()
	env := &mailkeel.Envelope{ID: "m", From: "zoe@c.test", Rcpts: []mailkeel.Recipient{{Addr: "loop@a.test"}}}
	if r := mailkeel.Deliver(t.Context(), out, env, message)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	wait(t, a, b)
	ms := sender.Messages()
	if len(ms) != 1 || !strings.HasPrefix(ms[0].From, "<>") || !strings.Contains(ms[0].Data, "Status: 5.4.6\r\n") || !strings.Contains(ms[0].Data, "Action: failed\r\n") {
		t.Errorf("the sender has %+v", ms)
	}
	if hops := strings.Count(ms[0].Data, "\r\nReceived: "); hops == 0 || hops > 26 {
		t.Errorf("%d hops", hops)
	}
}

// TestGroupOfABounce: a report to an address with several targets reaches each of
// them once, in a mailbox or elsewhere.
func TestGroupOfABounce(t *testing.T) {
	n := &network{addrs: map[string]string{}, dns: testdns.New(t, "c.test. A 10.0.0.3", "null.test. MX 0 .")}
	far := smtpsink.Start(t, &smtpsink.Server{})
	n.addrs["10.0.0.3:25"] = far.Addr
	a := n.node(t, "a.test", "10.0.0.1", &static.Directory{
		Domains:  []accounts.Domain{{Name: "a.test"}},
		Accounts: []static.Account{{Account: accounts.Account{ID: "a1", Address: "ann@a.test"}}, {Account: accounts.Account{ID: "b2", Address: "bob@a.test"}}},
		Aliases:  []accounts.Alias{{Address: "team@a.test", Targets: []string{"ann@a.test", "bob@a.test", "cat@c.test"}}},
	})
	env := &mailkeel.Envelope{ID: "m", From: "team@a.test", Rcpts: []mailkeel.Recipient{{Addr: "gone@null.test"}}}
	if r := mailkeel.Deliver(t.Context(), a.queue, env, message)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	wait(t, a)
	if len(far.Messages()) != 1 || !strings.Contains(far.Messages()[0].Data, "Status: 5.1.10\r\n") {
		t.Errorf("far has %+v", far.Messages())
	}
	for _, id := range []mailkeel.AccountID{"a1", "b2"} {
		f, err := a.boxes.As(id).Folder(t.Context(), "INBOX")
		if err != nil || f.Messages != 1 {
			t.Errorf("%s has %d messages, %v", id, f.Messages, err)
		}
	}
}

// An error can say that another route may be tried, or that mail is to wait for a
// person.
func Example() {
	err := delivery.Unreachable([3]int{4, 4, 1}, "mx.example.org does not answer", errors.New("dial: timeout"))
	fmt.Println(errors.Is(err, delivery.ErrUnreachable), mailkeel.Permanent(err))
	fmt.Println(delivery.Hold("the domain moves today"))
	// Output:
	// true false
	// 450 4.3.2 the domain moves today: delivery: held
}
