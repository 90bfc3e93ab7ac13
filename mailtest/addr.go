package mailtest

import "github.com/mailkeel/mailkeel/server"

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
