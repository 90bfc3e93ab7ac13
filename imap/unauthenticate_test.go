package imap

import (
	"reflect"
	"testing"
)

// Whatever a connection knows is of its session, which UNAUTHENTICATE ends, or stands
// here: a new field of conn belongs into session unless it holds no matter who is
// logged in.
func TestUnauthenticateForgetsTheSession(t *testing.T) {
	keep := map[string]string{
		"srv": "", "net": "", "low": "", "in": "", "w": "", "ctx": "", "remote": "", "tls": "of the connection", "rec": "likewise", "compressed": "likewise; there is no STARTTLS then",
		"session": "ends", "log": "back to base", "base": "", "early": "begins anew", "badRow": "begins anew",
		"over": "", "busy": "", "until": "", "deadline": "of the command at hand", "onWake": "nil between commands",
		"failures": "of the peer: a login does not make three more guesses of it",
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[conn]()) {
		if _, known := keep[f.Name]; len(f.Index) == 1 && !known {
			t.Errorf("conn.%s: what does UNAUTHENTICATE do with it?", f.Name)
		}
	}
}
