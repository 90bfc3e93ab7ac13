// Package interop holds the tests in which real mail programs complete their
// scenario against postoffice: swaks, msmtp, curl, mbsync, mutt, Python's smtplib
// and imaplib, fetchmail, and Postfix as a peer in both directions; and over POP3
// fetchmail, getmail, mpop, curl and Python's poplib.
package interop
