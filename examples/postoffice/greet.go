package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"text/tabwriter"

	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/embedded"
)

// greet says what is where, and how to try it.
func (o *options) greet(ctx context.Context, w io.Writer, home *embedded.Home, s *server.Server) {
	fmt.Fprintf(w, "postoffice on %s, everything is kept in %s\n\n", o.hostname, home.Dir)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, d := range []struct{ name, what string }{
		{server.SMTP, "mail from other servers, STARTTLS"},
		{server.Submission, "mail from users, STARTTLS"},
		{server.Submissions, "mail from users, TLS"},
		{server.LMTP, "mail from a server in front"},
		{server.IMAP, "reading, STARTTLS"},
		{server.IMAPS, "reading, TLS"},
		{server.POP3, "fetching, STLS"},
		{server.POP3S, "fetching, TLS"},
		{server.HTTP, "webmail"},
		{server.HTTPS, "webmail, TLS"},
	} {
		if a := s.Addr(d.name); a != nil {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", d.name, a, d.what)
		}
	}
	t.Flush()
	switch {
	case o.relay != "":
		fmt.Fprintf(w, "\nOutgoing mail goes to %s.\n", o.relay)
	case o.direct:
		fmt.Fprintf(w, "\nOutgoing mail goes to the world.\n")
	default:
		fmt.Fprintf(w, "\nOutgoing mail is held in the queue: give -relay host:port or -direct to let it go.\n")
	}
	for _, door := range []string{server.HTTPS, server.HTTP} {
		if a := s.Addr(door); a != nil {
			fmt.Fprintf(w, "\nWebmail: open %s://%s\n", door, local(a))
			break
		}
	}
	if pw := demoPassword(ctx, home); pw != "" {
		fmt.Fprintf(w, "\nDemo account: %s, password %s\n", demoAddress, pw)
		o.tryOut(w, s, pw)
	} else {
		domain := "DOMAIN"
		if ds, err := home.Accounts.Domains(ctx); err == nil && len(ds) > 0 {
			domain = ds[0].Name
		}
		fmt.Fprintf(w, "\nMake an account:  postoffice account add -dir %s you@%s\n", home.Dir, domain)
	}
	fmt.Fprintln(w)
}

// tryOut shows how to send and read a first message.
func (o *options) tryOut(w io.Writer, s *server.Server, pw string) {
	smtp, imaps := s.Addr(server.SMTP), s.Addr(server.IMAPS)
	if smtp == nil || imaps == nil {
		return
	}
	fmt.Fprintf(w, `Send it a first message, and read it (-k: the certificate is self-signed):

  printf 'From: me@example.com\nTo: %[1]s\nSubject: hello\n\nIt works.\n' |
    curl -sS --crlf smtp://%[2]s --mail-from me@example.com --mail-rcpt %[1]s -T -
  curl -sSk -u %[1]s:%[3]s 'imaps://%[4]s/INBOX;MAILINDEX=1'
`, demoAddress, local(smtp), pw, local(imaps))
}

// local is how to reach an address from this machine.
func local(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", port)
}
