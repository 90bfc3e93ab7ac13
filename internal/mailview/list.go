package mailview

import (
	"context"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

// Limits of a Query.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// A Query asks for a page of a folder.
type Query struct {
	Folder store.MailboxID
	// Text is what is looked for; empty lists all. See ParseSearch.
	Text string
	// Before asks for the newest messages with smaller UIDs, After for the oldest
	// with larger ones: values of Page.Older and Page.Newer. Both zero is the first page.
	Before, After store.UID
	// Limit is how many rows a page has; zero means DefaultLimit, at most MaxLimit.
	Limit int
}

// A Row is a message in a list.
type Row struct {
	UID      store.UID
	ID       store.MessageID
	Thread   store.ThreadID
	From, To []Address // at most 20 of each
	Subject  string    // decoded, on one line; empty if there is none
	Preview  string    // the beginning of the text, on one line
	// Date is that of the message, unless it has none or one to come: then it is
	// when the message was received.
	Date, Received                                  time.Time
	Seen, Flagged, Answered, Forwarded, Draft, Junk bool
	Attachments                                     bool
	Size                                            int64 // bytes
	// Damaged says that what is known of the message is lost. It can be moved and
	// deleted, but not read.
	Damaged bool
}

// A Page is part of a folder, the newest first.
type Page struct {
	Folder Folder
	Rows   []Row
	// Newer and Older are what to ask for with After and Before for the pages beside
	// this one; zero if there is none.
	Newer, Older store.UID
	// Total is how many messages the folder has; with a search, how many were found
	// on this page.
	Total int
	// More says that a search stopped because it has read enough for once, before it
	// found a whole page. Older goes on from there.
	More bool
}

// List returns a page of a folder. It reads about as many rows as the page has, however
// large the folder is; a search reads more, but not without end: see Page.More.
func (b *Box) List(ctx context.Context, q Query) (Page, error) { return Page{}, errNotYet }
