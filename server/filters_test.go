package server_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dnsbl"
	"github.com/mailkeel/mailkeel/internal/testdns"
	"github.com/mailkeel/mailkeel/server"
)

// TestDNSListsAreAskedAboutPeersFromAfar goes through the chain that servers have.
func TestDNSListsAreAskedAboutPeersFromAfar(t *testing.T) {
	names := &testdns.Table{IP: map[string][]string{"1.2.0.192.list.test": {"127.0.0.2"}, "9.2.0.192.list.test": {"127.0.0.2"}, "9.2.0.192.other.test": {"127.0.0.3"}}}
	for _, tt := range []struct {
		addr  string
		mode  server.FilterMode
		code  int
		score float64
		asked int
	}{
		{"192.0.2.1", server.FilterDefault, 0, 3, 3},
		{"192.0.2.2", server.FilterDefault, 0, 0, 2},
		{"192.0.2.9", server.FilterDefault, 554, 6, 4},
		{"192.0.2.9", server.FilterMark, 0, 6, 4},
		{"192.0.2.9", server.FilterLog, 0, 0, 4},
		{"192.0.2.9", server.FilterOff, 0, 0, 0},
		{"127.0.0.1", server.FilterDefault, 0, 0, 0},
	} {
		names.Forget()
		c := server.DefaultFilters(server.FilterOptions{Resolver: names, Lists: []dnsbl.List{{Zone: "list.test"}, {Zone: "other.test"}}, DNSBL: tt.mode})
		o := &mailkeel.Origin{Addr: netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 25)}
		one, end := c.Session(t.Context(), o)
		v := one.Run(t.Context(), filter.Conn, &filter.Transaction{Origin: o})
		if err := end(); err != nil {
			t.Error(err)
		}
		code := 0
		if v.Refuse != nil {
			code = v.Refuse.Code
		}
		if code != tt.code || v.Score != tt.score || len(names.Asked()) != tt.asked {
			t.Errorf("%s, %v: %d, %+v after %s", tt.addr, tt.mode, code, v, strings.Join(names.Asked(), ", "))
		}
	}
}
