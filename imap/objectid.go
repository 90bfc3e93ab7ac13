package imap

import (
	"strconv"

	"github.com/mailkeel/mailkeel/store"
)

// Object identifiers (RFC 8474): the store's numbers, with a letter so that none
// is taken for that of another kind. Those of messages and threads survive moves.

func mailboxID(id store.MailboxID) string { return "F" + strconv.FormatInt(int64(id), 10) }
func emailID(id store.MessageID) string   { return "M" + strconv.FormatInt(int64(id), 10) }
func threadID(id store.ThreadID) string   { return "T" + strconv.FormatInt(int64(id), 10) }
