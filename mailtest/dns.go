package mailtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// A DNSFault is how a DNS fails for a name.
type DNSFault uint8

const (
	Works    DNSFault = iota
	ServFail          // SERVFAIL: try again later
	Refused           // REFUSED
	Silent            // no answer at all: resolvers run into their time-out
	Garbage           // bytes that are no DNS message
)

// A DNS answers with authority for every name, from records in memory: a name
// without records does not exist. It needs no socket; Listen opens one for other
// processes. Its methods may be called from any goroutine. NewDNS makes one.
type DNS struct {
	mu      sync.Mutex
	zone    map[string][]record // by name in lower case, with the dot
	faults  map[string]DNSFault
	queries []string
}

type record struct {
	typ  dnsmessage.Type
	body dnsmessage.ResourceBody
}

// NewDNS returns a DNS without records.
func NewDNS() *DNS { return &DNS{zone: map[string][]record{}, faults: map[string]DNSFault{}} }

// typeTLSA is that of RFC 6698.
const typeTLSA dnsmessage.Type = 52

// Add adds records in the form of zone files, without class and TTL:
//
//	example.org. MX 10 mx.example.org.
//	mx.example.org. A 192.0.2.1
//	example.org. TXT "v=spf1 mx -all"
//	_25._tcp.mx.example.org. TLSA 3 1 1 0123abcd...
//
// The types are A, AAAA, MX, TXT, CNAME, NS, PTR, SRV and TLSA. It adds all or none.
func (d *DNS) Add(records ...string) error {
	type named struct {
		name string
		record
	}
	var all []named
	for _, line := range records {
		name, r, err := parseRecord(line)
		if err != nil {
			return fmt.Errorf("mailtest: record %q: %w", line, err)
		}
		all = append(all, named{name, r})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range all {
		d.zone[r.name] = append(d.zone[r.name], r.record)
	}
	return nil
}

func (d *DNS) add(tb TB, records ...string) {
	tb.Helper()
	if err := d.Add(records...); err != nil {
		tb.Fatal(err)
	}
}

// Remove removes the records of a name with a type ("MX"), or all of it with "".
func (d *DNS) Remove(name, typ string) {
	name = fqdn(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	var left []record
	for _, r := range d.zone[name] {
		if typ != "" && !strings.EqualFold(typeName(r.typ), typ) {
			left = append(left, r)
		}
	}
	if d.zone[name] = left; left == nil {
		delete(d.zone, name)
	}
}

// Fail makes look-ups of a name fail, until Fail(name, Works).
func (d *DNS) Fail(name string, f DNSFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults[fqdn(name)] = f
}

// Queries returns what was asked so far, each as "MX example.org.".
func (d *DNS) Queries() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.queries...)
}

// Resolver asks this DNS alone, without a socket: for code that takes a
// *net.Resolver.
func (d *DNS) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			d.serveStream(there)
		}()
		return here, nil
	}}
}

// LookupMX, LookupNetIP, LookupTXT and LookupAddr make a DNS a resolver itself.
func (d *DNS) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return d.Resolver().LookupMX(ctx, name)
}

func (d *DNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return d.Resolver().LookupNetIP(ctx, network, host)
}

func (d *DNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return d.Resolver().LookupTXT(ctx, name)
}

func (d *DNS) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return d.Resolver().LookupAddr(ctx, addr)
}

// Listen answers on loopback, over UDP and TCP, until the test ends: for other
// processes. It returns "127.0.0.1:port".
func (d *DNS) Listen(tb TB) string {
	tb.Helper()
	for try := 0; ; try++ {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			tb.Fatalf("mailtest: %v", err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil { // that port is somebody else's for TCP
			if pc.Close(); try < 20 {
				continue
			}
			tb.Fatalf("mailtest: %v", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { d.servePackets(pc) })
		wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				stop := context.AfterFunc(tb.Context(), func() { c.Close() })
				wg.Go(func() {
					defer stop()
					defer c.Close()
					d.serveStream(c)
				})
			}
		})
		tb.Cleanup(func() {
			pc.Close()
			ln.Close()
			wg.Wait()
		})
		return pc.LocalAddr().String()
	}
}

func (d *DNS) servePackets(pc net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := d.answer(buf[:n], 1232); answer != nil {
			pc.WriteTo(answer, from)
		}
	}
}

// serveStream is DNS over TCP (RFC 1035, 4.2.2).
func (d *DNS) serveStream(c net.Conn) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		if answer := d.answer(q, 64<<10-1); answer != nil {
			if _, err := c.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)); err != nil {
				return
			}
		}
	}
}

// answer answers one query in at most size bytes; nil means not at all.
func (d *DNS) answer(packed []byte, size int) []byte {
	var q dnsmessage.Message
	if q.Unpack(packed) != nil || len(q.Questions) != 1 || q.Response {
		return nil
	}
	question := q.Questions[0]
	name := strings.ToLower(question.Name.String())
	a := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, OpCode: q.OpCode, Authoritative: true, RecursionDesired: q.RecursionDesired, RecursionAvailable: true},
		Questions: q.Questions,
	}
	d.mu.Lock()
	d.queries = append(d.queries, typeName(question.Type)+" "+name)
	fault := d.faults[name]
	a.Answers, a.RCode = d.lookup(question.Name, question.Type)
	d.mu.Unlock()
	switch fault {
	case Silent:
		return nil
	case Garbage:
		return []byte("garbage")
	case ServFail:
		a.Answers, a.RCode = nil, dnsmessage.RCodeServerFailure
	case Refused:
		a.Answers, a.RCode = nil, dnsmessage.RCodeRefused
	}
	out, err := a.Pack()
	if err == nil && len(out) > size {
		a.Answers, a.Truncated = nil, true
		out, err = a.Pack()
	}
	if err != nil {
		return nil
	}
	return out
}

// lookup follows CNAMEs, at most 8. mu is held.
func (d *DNS) lookup(name dnsmessage.Name, typ dnsmessage.Type) (out []dnsmessage.Resource, code dnsmessage.RCode) {
	for range 8 {
		key := strings.ToLower(name.String())
		all, ok := d.zone[key]
		if !ok {
			for other := range d.zone {
				if strings.HasSuffix(other, "."+key) {
					return out, dnsmessage.RCodeSuccess // there is something below
				}
			}
			return out, dnsmessage.RCodeNameError
		}
		var next *dnsmessage.CNAMEResource
		found := false
		for _, r := range all {
			c, alias := r.body.(*dnsmessage.CNAMEResource)
			if r.typ != typ && !alias {
				continue
			}
			found = found || r.typ == typ
			out = append(out, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: r.typ, Class: dnsmessage.ClassINET, TTL: 60}, Body: r.body})
			next = c
		}
		if found || next == nil {
			return out, dnsmessage.RCodeSuccess
		}
		name = next.CNAME
	}
	return out, dnsmessage.RCodeServerFailure
}

func fqdn(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

func typeName(t dnsmessage.Type) string {
	if t == typeTLSA {
		return "TLSA"
	}
	return strings.TrimPrefix(t.String(), "Type")
}

var errRecord = errors.New("not a record of the form: name TYPE data")

// parseRecord reads one line.
func parseRecord(line string) (name string, r record, err error) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return "", r, errRecord
	}
	name = fqdn(words[0])
	if _, err := dnsmessage.NewName(name); err != nil {
		return "", r, err
	}
	data := words[2:]
	host := func(i int) dnsmessage.Name {
		if i >= len(data) {
			err = errRecord
			return dnsmessage.Name{}
		}
		n, nerr := dnsmessage.NewName(strings.TrimSuffix(data[i], ".") + ".")
		if nerr != nil {
			err = nerr
		}
		return n
	}
	num := func(i, bits int) uint64 {
		if i >= len(data) {
			err = errRecord
			return 0
		}
		n, nerr := strconv.ParseUint(data[i], 10, bits)
		if nerr != nil {
			err = nerr
		}
		return n
	}
	switch typ := strings.ToUpper(words[1]); typ {
	case "A", "AAAA":
		ip, perr := netip.ParseAddr(data[0])
		if perr != nil || ip.Is4() != (typ == "A") {
			return "", r, errors.Join(errRecord, perr)
		}
		if r.typ = dnsmessage.TypeA; typ == "A" {
			r.body = &dnsmessage.AResource{A: ip.As4()}
		} else {
			r.typ, r.body = dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: ip.As16()}
		}
	case "MX":
		r.typ, r.body = dnsmessage.TypeMX, &dnsmessage.MXResource{Pref: uint16(num(0, 16)), MX: host(1)}
	case "CNAME":
		r.typ, r.body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: host(0)}
	case "NS":
		r.typ, r.body = dnsmessage.TypeNS, &dnsmessage.NSResource{NS: host(0)}
	case "PTR":
		r.typ, r.body = dnsmessage.TypePTR, &dnsmessage.PTRResource{PTR: host(0)}
	case "SRV":
		r.typ, r.body = dnsmessage.TypeSRV, &dnsmessage.SRVResource{Priority: uint16(num(0, 16)), Weight: uint16(num(1, 16)), Port: uint16(num(2, 16)), Target: host(3)}
	case "TXT":
		_, rest, _ := strings.Cut(line, words[1])
		var all []string
		if all, err = quoted(rest); err == nil {
			r.typ, r.body = dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: all}
		}
	case "TLSA":
		if len(data) < 4 {
			return "", r, errRecord
		}
		b := []byte{byte(num(0, 8)), byte(num(1, 8)), byte(num(2, 8))}
		var sum []byte
		if _, serr := fmt.Sscanf(strings.Join(data[3:], ""), "%x", &sum); serr != nil {
			return "", r, serr
		}
		r.typ, r.body = typeTLSA, &dnsmessage.UnknownResource{Type: typeTLSA, Data: append(b, sum...)}
	default:
		return "", r, fmt.Errorf("type %s is not known here", typ)
	}
	return name, r, err
}

// quoted reads strings in quotes, or the rest as one. What is longer than 255 bytes is
// cut into several, as TXT records must be.
func quoted(s string) (all []string, err error) {
	s = strings.TrimSpace(s)
	add := func(part string) {
		for len(part) > 255 {
			all, part = append(all, part[:255]), part[255:]
		}
		all = append(all, part)
	}
	if !strings.HasPrefix(s, `"`) {
		add(s)
		return all, nil
	}
	for s != "" {
		q, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, err
		}
		part, err := strconv.Unquote(q)
		if err != nil {
			return nil, err
		}
		add(part)
		s = strings.TrimSpace(s[len(q):])
	}
	return all, nil
}
