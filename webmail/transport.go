package webmail

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// How a request came here.

// peer is who connected; invalid for a Unix socket.
func peer(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

func (h *Handler) trusted(a netip.Addr) bool {
	for _, p := range h.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// client is whose request it is: what the nearest proxy that is not ours, or none,
// says is its peer.
func (h *Handler) client(r *http.Request) netip.Addr {
	a := peer(r)
	if !h.trusted(a) {
		return a
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && i >= len(hops)-32; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		a = hop.Unmap().WithZone("")
		if !h.trusted(a) {
			break
		}
	}
	return a
}

// https reports whether what is said stays secret on the way.
func (h *Handler) https(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	if !h.trusted(peer(r)) {
		return false
	}
	protos := strings.Split(strings.Join(r.Header.Values("X-Forwarded-Proto"), ","), ",")
	return strings.EqualFold(strings.TrimSpace(protos[len(protos)-1]), "https") // the nearest proxy's
}

// onLoopback reports whether a request never left the machine. One with a name other
// than the machine's own, or that a proxy passed on, comes from elsewhere, or from a
// page that made its own name point here.
func onLoopback(r *http.Request) bool {
	if !peer(r).IsLoopback() {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}
