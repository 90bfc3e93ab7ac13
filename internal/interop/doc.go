// Package interop holds the tests in which real mail programs complete their
// scenario against postoffice: swaks, msmtp, curl, mbsync, mutt, Python's smtplib
// and imaplib, fetchmail, and Postfix as a peer in both directions.
package interop
