// Package testdns is a name server on loopback for tests. It answers with
// authority for every name from a table of records, and can fail as real ones do.
package testdns

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// A Fault is how the server fails for a name.
type Fault uint8

const (
	Works    Fault = iota
	ServFail       // SERVFAIL
	Refused        // REFUSED
	Silent         // no answer at all
	Truncate       // over UDP no records and TC set; over TCP it works
	Garbage        // bytes that are no DNS message
)

// A Server is a running name server. Its methods may be called at any time.
type Server struct {
	// Addr is host:port, for UDP and TCP.
	Addr string

	mu      sync.Mutex
	zone    map[string][]dns.RR // by name in lower case
	faults  map[string]Fault
	secure  map[string]bool
	queries []string
}

// New starts a server with records in zone file syntax, such as
// "example.org. MX 10 mx.example.org.", and stops it with the test. A TTL may be
// left out.
func New(t testing.TB, records ...string) *Server {
	t.Helper()
	s := &Server{}
	s.Set(t, records...)
	for try := 0; ; try++ { // the TCP port of the same number may be taken
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.Addr = pc.LocalAddr().String()
		ln, err := net.Listen("tcp", s.Addr)
		if err != nil {
			pc.Close()
			if try < 20 {
				continue
			}
			t.Fatal(err)
		}
		s.serve(t, &dns.Server{PacketConn: pc, Handler: s})
		s.serve(t, &dns.Server{Listener: ln, Handler: s})
		return s
	}
}

func (s *Server) serve(t testing.TB, d *dns.Server) {
	ready := make(chan struct{})
	d.NotifyStartedFunc = func() { close(ready) }
	done := make(chan error, 1)
	go func() { done <- d.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		d.Shutdown()
		if err := <-done; err != nil {
			t.Errorf("testdns: %v", err)
		}
	})
}

// Set replaces the whole table.
func (s *Server) Set(t testing.TB, records ...string) {
	t.Helper()
	zone := map[string][]dns.RR{}
	for _, line := range records {
		rr, err := dns.NewRR(line)
		if err != nil || rr == nil {
			t.Fatalf("testdns: %q: %v", line, err)
		}
		name := strings.ToLower(rr.Header().Name)
		zone[name] = append(zone[name], rr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = zone
}

// Fail makes the server fail for a name of the form "mx.example.org".
func (s *Server) Fail(name string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == nil {
		s.faults = map[string]Fault{}
	}
	s.faults[strings.ToLower(dns.Fqdn(name))] = f
}

// Secure sets the AD bit (RFC 4035, 3.2.3) in answers for a name, as a validating
// resolver does.
func (s *Server) Secure(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secure == nil {
		s.secure = map[string]bool{}
	}
	s.secure[strings.ToLower(dns.Fqdn(name))] = true
}

// Queries returns what was asked so far, each as "MX example.org.".
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.queries...)
}

// Resolver returns one that asks this server only.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.Addr)
	}}
}

// ServeDNS answers one query.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		return
	}
	question := q.Question[0]
	name := strings.ToLower(question.Name)
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	s.mu.Lock()
	s.queries = append(s.queries, dns.TypeToString[question.Qtype]+" "+name)
	fault := s.faults[name]
	m.AuthenticatedData = s.secure[name]
	m.Answer, m.Rcode = s.lookup(name, question.Qtype)
	s.mu.Unlock()
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	switch fault {
	case Silent:
		return
	case Garbage:
		w.Write([]byte("garbage"))
		return
	case ServFail:
		m.SetRcode(q, dns.RcodeServerFailure)
	case Refused:
		m.SetRcode(q, dns.RcodeRefused)
	case Truncate:
		if udp {
			m.Answer, m.Truncated = nil, true
		}
	}
	if udp {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	w.WriteMsg(m)
}

// lookup follows CNAMEs, at most 8.
func (s *Server) lookup(name string, qtype uint16) (answer []dns.RR, rcode int) {
	for range 8 {
		rrs, ok := s.zone[name]
		if !ok {
			if s.inside(name) {
				return answer, dns.RcodeSuccess
			}
			return answer, dns.RcodeNameError
		}
		next := ""
		for _, rr := range rrs {
			if rr.Header().Rrtype == qtype {
				answer = append(answer, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				answer = append(answer, rr)
				next = strings.ToLower(c.Target)
			}
		}
		if next == "" {
			return answer, dns.RcodeSuccess
		}
		name = next
	}
	return answer, dns.RcodeServerFailure
}

// inside reports whether there is something below name.
func (s *Server) inside(name string) bool {
	for n := range s.zone {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}
