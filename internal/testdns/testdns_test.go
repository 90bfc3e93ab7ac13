package testdns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testdns"
)

func TestResolverSeesTheTable(t *testing.T) {
	s := testdns.New(t,
		"example.org. MX 10 mx.example.org.", "example.org. MX 20 mx2.example.org.", "example.org. TXT \"v=spf1 -all\"",
		"mx.example.org. A 127.0.0.2", "mx.example.org. AAAA ::1", "www.example.org. CNAME mx.example.org.")
	r := s.Resolver()
	mxs, err := r.LookupMX(t.Context(), "example.org.")
	if err != nil || len(mxs) != 2 || mxs[0].Host != "mx.example.org." || mxs[1].Pref != 20 {
		t.Errorf("MX: %v, %v", mxs, err)
	}
	ips, err := r.LookupNetIP(t.Context(), "ip", "www.example.org.")
	if err != nil || len(ips) != 2 {
		t.Errorf("addresses: %v, %v", ips, err)
	}
	if txt, err := r.LookupTXT(t.Context(), "example.org."); err != nil || fmt.Sprint(txt) != "[v=spf1 -all]" {
		t.Errorf("TXT: %q, %v", txt, err)
	}
	var e *net.DNSError
	if _, err := r.LookupMX(t.Context(), "nowhere.test."); !errors.As(err, &e) || !e.IsNotFound {
		t.Errorf("NXDOMAIN: %v", err)
	}
	if _, err := r.LookupMX(t.Context(), "www.example.org."); !errors.As(err, &e) || !e.IsNotFound {
		t.Errorf("no data: %v", err)
	}
	if !slices.Contains(s.Queries(), "MX example.org.") {
		t.Errorf("queries: %q", s.Queries())
	}
}

func TestFaults(t *testing.T) {
	s := testdns.New(t, "a.test. MX 10 mx.a.test.", "b.test. MX 10 mx.b.test.", "c.test. MX 10 mx.c.test.")
	s.Fail("a.test", testdns.ServFail)
	s.Fail("b.test", testdns.Truncate)
	s.Fail("c.test", testdns.Silent)
	r := s.Resolver()
	var e *net.DNSError
	if _, err := r.LookupMX(t.Context(), "a.test."); !errors.As(err, &e) || e.IsNotFound || !e.Temporary() {
		t.Errorf("SERVFAIL: %v", err)
	}
	if mxs, err := r.LookupMX(t.Context(), "b.test."); err != nil || len(mxs) != 1 {
		t.Errorf("truncated: %v, %v", mxs, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.LookupMX(ctx, "c.test."); err == nil {
		t.Error("silence: no error")
	}
}
