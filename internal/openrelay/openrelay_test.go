package openrelay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/openrelay"
	"github.com/mailkeel/mailkeel/mailtest"
	"github.com/mailkeel/mailkeel/server"
)

func Example() {
	for _, rcpt := range openrelay.Rcpts("ann@example.test", "mx.example.test")[8:11] {
		fmt.Println(rcpt)
	}
	// Output:
	// <victim%far.test@example.test>
	// <victim%far.test@mx.example.test>
	// <victim%far.test>
}

func TestAServerThatIsClosed(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true})
	srv.Account("ann@example.test", "secret")
	openrelay.Check(t, openrelay.Probe{Addr: srv.SMTPAddr(), Local: "ann@example.test", Hostname: mailtest.Hostname})
}

// found notes errors.
type found struct {
	testing.TB
	n int
}

func (f *found) Helper()               {}
func (f *found) Errorf(string, ...any) { f.n++ }

func TestAServerThatIsOpen(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Config: func(c *server.Config) { c.Directory = anyone{} }})
	f := &found{TB: t}
	openrelay.Check(f, openrelay.Probe{Addr: srv.SMTPAddr(), Local: "ann@example.test", Hostname: mailtest.Hostname})
	if f.n < 20 {
		t.Errorf("only %d ways in were found", f.n)
	}
	if n := len(openrelay.Rcpts("ann@example.test", "mx.example.test")); n < 70 {
		t.Errorf("%d recipients", n)
	}
}

// anyone takes all addresses.
type anyone struct{ accounts.Directory }

func (anyone) Resolve(_ context.Context, addr string) (accounts.Resolution, error) {
	return accounts.Resolution{Targets: []accounts.Target{{Addr: strings.Clone(addr)}}}, nil
}

func (anyone) Limit(context.Context, mailkeel.AccountID) (mailkeel.Quota, error) {
	return mailkeel.Quota{}, nil
}
