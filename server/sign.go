package server

import (
	"reflect"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter/dkim"
)

// sign puts a Signer around every way out, if there are Keys.
func (c *Config) sign() (rest mailkeel.Transport, routes map[string]mailkeel.Transport) {
	if c.Keys == nil {
		return c.Rest, c.Routes
	}
	// Domains with one way out have one after this too, so that they share a call.
	known := map[mailkeel.Transport]mailkeel.Transport{}
	wrap := func(t mailkeel.Transport) mailkeel.Transport {
		if t == nil {
			return nil
		}
		hashable := reflect.ValueOf(t).Comparable() // a function is not
		if hashable && known[t] != nil {
			return known[t]
		}
		s := &dkim.Signer{Next: t, Keys: c.Keys, Clock: c.Clock, Logger: c.Logger}
		if hashable {
			known[t] = s
		}
		return s
	}
	if c.Routes != nil {
		routes = make(map[string]mailkeel.Transport, len(c.Routes))
	}
	for domain, t := range c.Routes {
		routes[domain] = wrap(t)
	}
	return wrap(c.Rest), routes
}
