package webmail

import (
	"net/http"
)

// What keeps browsers from being used against their owners.

// policies are the Content-Security-Policies. Nothing runs anywhere.
var policies = map[policy]string{
	pagePolicy: "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'",
	// Sandboxed as if it were in a frame even when it is not. Links open elsewhere.
	framePolicy: "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
	filePolicy:  "sandbox; default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
}

// remoteFramePolicy is framePolicy once a person asked for remote content. What comes
// over plain HTTP is shown too: the browser warns, and images are all there is.
const remoteFramePolicy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data: https: http:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"

// protect sets what every response has.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policies[pagePolicy])
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "accelerometer=(), browsing-topics=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()")
	h.Set("X-Frame-Options", "DENY") // for browsers older than frame-ancestors
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cache-Control", "no-store")
}

// headers sets what responses of one route have.
func (rt *route) headers(h http.Header) {
	h.Set("Content-Security-Policy", policies[rt.policy])
	if rt.policy == framePolicy {
		h.Set("X-Frame-Options", "SAMEORIGIN")
	}
}

// static reports whether a route is the same for everybody.
func (rt *route) static() bool { return rt.path == "/static/{file...}" }

// sameOrigin refuses what a page of another origin sends. Browsers say where a form
// was: who says nothing is no browser that is in use, and is refused too.
func sameOrigin(r *http.Request) error {
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return status(http.StatusForbidden)
	}
	if http.NewCrossOriginProtection().Check(r) != nil {
		return status(http.StatusForbidden)
	}
	return nil
}
