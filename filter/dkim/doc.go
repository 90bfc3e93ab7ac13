// Package dkim signs mail that leaves, and checks the signatures of mail that comes
// (RFC 6376, RFC 8301, RFC 8463).
//
// A Signer is a mailkeel.Transport around the one that brings mail to other servers. It
// asks Keys for those of the author's domain; a KeyRing makes them when they are first
// needed and keeps them in the store. Their public halves have to be published: for
// each Key the text of Key.Record at Key.Name.
package dkim
