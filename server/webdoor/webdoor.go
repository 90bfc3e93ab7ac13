// Package webdoor puts webmail into a server:
//
//	config.HTTP = server.Listen{Addr: "127.0.0.1:2080"}
//	config.Web = webdoor.New(func(h *webmail.Handler) { h.Brand.Name = "Acme Mail" })
package webdoor

import (
	"cmp"
	"net/http"

	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/webmail"
)

// New returns a server.Config.Web with a webmail.Handler over the parts of the server.
// change, if it is not nil, may change its fields.
func New(change func(*webmail.Handler)) func(server.WebParts) (http.Handler, error) {
	return func(p server.WebParts) (http.Handler, error) {
		h := &webmail.Handler{
			Hostname: p.Hostname, Store: p.Store, Directory: p.Directory, Auth: p.Auth, Submit: p.Submit, Search: p.Search, KV: p.KV,
			MaxMessage: min(25<<20, cmp.Or(p.MaxBytes, 25<<20)), Clock: p.Clock, Logger: p.Logger,
		}
		if change != nil {
			change(h)
		}
		return h, h.Check()
	}
}
