package server_test

import (
	"fmt"
	"net"

	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dnsbl"
	"github.com/mailkeel/mailkeel/server"
)

// Mail is judged by what DNS says of who sent it. Here what DMARC would have refused is
// filed in Junk, and a list of bad addresses is asked besides.
func ExampleDefaultFilters() {
	chain := server.DefaultFilters(server.FilterOptions{Resolver: net.DefaultResolver, DMARC: server.FilterMark})
	chain.Groups = append(chain.Groups, []filter.Filter{&dnsbl.Filter{Lists: []dnsbl.List{{Zone: "bl.example.net"}}}})
	c := server.Config{Hostname: "mx.example.org", Filters: chain}
	for i, group := range c.Filters.Groups {
		for _, f := range group {
			fmt.Println(i, f.Name())
		}
	}
	// Output:
	// 0 x-rate
	// 1 spf
	// 1 dkim
	// 1 x-headers
	// 1 x-attachment
	// 2 dmarc
	// 3 x-dnsbl
}
