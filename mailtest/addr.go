package mailtest

import (
	"net"

	"github.com/mailkeel/mailkeel/server"
)

// A door is one of a Config.
type door struct {
	name   string
	listen *server.Listen
	tls    bool
}

func doors(c *server.Config) []door {
	return []door{
		{server.SMTP, &c.SMTP, false}, {server.LMTP, &c.LMTP, false}, {server.Submission, &c.Submission, false}, {server.Submissions, &c.Submissions, true},
		{server.IMAP, &c.IMAP, false}, {server.IMAPS, &c.IMAPS, true}, {server.POP3, &c.POP3, false}, {server.POP3S, &c.POP3S, true},
	}
}

// listen opens the doors of which only the address is given, so that faults can
// happen there.
func (s *Server) listen(c *server.Config) error {
	for _, d := range doors(c) {
		ln := d.listen.Listener
		if ln == nil && d.listen.Addr == "127.0.0.1:0" {
			var err error
			if ln, err = net.Listen("tcp", d.listen.Addr); err != nil {
				return err
			}
		}
		if ln == nil || ln.Addr().Network() != "tcp" { // off, or not ours to change
			continue
		}
		d.listen.Listener = &faultListener{Listener: ln, faults: s.faults, open: &s.open, door: d.name, tls: d.tls}
	}
	return nil
}

// doorsAt returns the doors that listen at an address.
func (s *Server) doorsAt(local string) (names []string) {
	for _, d := range doors(&server.Config{}) {
		if a := s.Addr(d.name); a != nil && a.String() == local {
			names = append(names, d.name)
		}
	}
	return names
}

func (s *Server) addr(door string) string {
	a := s.Addr(door)
	if a == nil {
		s.tb.Helper()
		s.tb.Fatalf("mailtest: %s is off", door)
	}
	return a.String()
}

// SMTPAddr is where mail from other servers comes in, "127.0.0.1:port".
func (s *Server) SMTPAddr() string { return s.addr(server.SMTP) }

// LMTPAddr is where a server in front brings mail, with an answer for each
// recipient.
func (s *Server) LMTPAddr() string { return s.addr(server.LMTP) }

// SubmissionAddr is where users send, after AUTH.
func (s *Server) SubmissionAddr() string { return s.addr(server.Submission) }

// TLSAddr is SubmissionAddr with TLS from the start: see ClientTLS.
func (s *Server) TLSAddr() string { return s.addr(server.Submissions) }

// IMAPAddr is where users read, with STARTTLS.
func (s *Server) IMAPAddr() string { return s.addr(server.IMAP) }

// IMAPSAddr is the same with TLS from the start.
func (s *Server) IMAPSAddr() string { return s.addr(server.IMAPS) }

// POP3Addr is where programs fetch, with STLS.
func (s *Server) POP3Addr() string { return s.addr(server.POP3) }

// POP3SAddr is the same with TLS from the start.
func (s *Server) POP3SAddr() string { return s.addr(server.POP3S) }
