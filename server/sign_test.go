package server

import (
	"context"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter/dkim"
)

// hop is a way out that cannot be compared.
type hop struct{ any }

func (hop) Deliver(context.Context, *mailkeel.Envelope, mailkeel.Content) []mailkeel.Result {
	return nil
}

func TestEveryWayOutSigns(t *testing.T) {
	one := &hop{}
	c := Config{Rest: one, Routes: map[string]mailkeel.Transport{"a.test": one, "b.test": hop{[]int{1}}, "c.test": mailkeel.HandlerFunc(nil)}}
	if rest, routes := c.sign(); rest != c.Rest || len(routes) != 3 {
		t.Errorf("without keys: %v, %v", rest, routes)
	}
	c.Keys = dkim.FixedKeys{}
	rest, routes := c.sign()
	for name, way := range routes {
		if _, ok := way.(*dkim.Signer); !ok {
			t.Errorf("%s: %T", name, way)
		}
	}
	if len(routes) != 3 || routes["a.test"] != rest || routes["b.test"] == rest {
		t.Errorf("%v, %v", rest, routes)
	}
	c.Rest, c.Routes = nil, nil
	if rest, routes := c.sign(); rest != nil || routes != nil {
		t.Errorf("nothing became %v, %v", rest, routes)
	}
}
