package mailtest

import (
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/server"
)

// Options are what a test may want otherwise. The zero value takes mail for any
// address and lets anyone in.
type Options struct {
	// Accounts and Aliases exist from the start.
	Accounts []Account
	Aliases  []accounts.Alias
	// Domains are those whose addresses are ours; mail for others leaves. Empty
	// means all, and with Strict those of the accounts.
	Domains []string
	// Hostname is what the server calls itself; empty means Hostname.
	Hostname string
	// Strict makes no account by itself: mail for an unknown address of a domain
	// that has accounts is refused, mail for other domains leaves, and only
	// accounts with a password can log in, also with SCRAM.
	Strict bool
	// STARTTLS offers TLS on SMTP, LMTP and Submission. It is off because
	// net/smtp.SendMail and others would take it, and find that they do not know
	// who vouches for the certificate. IMAP and POP3 always offer it.
	STARTTLS bool
	// Clock is the time of the server; nil means real time. A *Clock stands
	// until the test moves it.
	Clock mailkeel.Clock
	// DKIM signs what the domain of a server of a World writes to others, with a key of
	// its own that DNS tells.
	DKIM bool
	// Faults happen from the start: see Fail.
	Faults []Fault
	// Patience is how long a Wait lasts whose context has no deadline; zero
	// means 30 s. It is in real time, whatever the Clock.
	Patience time.Duration
	// Parts, if set, changes the parts of the server before it runs.
	Parts func(*server.Server)
	// Config, if set, changes the configuration before the server is made:
	// limits, filters, other backends, doors that shall be shut.
	Config func(*server.Config)
}

// An Account is one that exists before mail for it comes.
type Account struct {
	Address string
	// Password is what logs in; empty means any, and with Strict none.
	Password string
}

// patience bounds a test that has gone wrong.
const patience = 30 * time.Second
