package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"
)

// criteria are search keys that all must match: those that imap.SearchCriteria knows,
// whose own Not and Or are not used, and those of extensions.
type criteria struct {
	imap.SearchCriteria
	Not []criteria
	Or  [][2]criteria

	// Older and Younger bound the internal date, both inclusive (RFC 5032).
	Older, Younger time.Time
	// EmailID and ThreadID are numbers of the store (RFC 8474).
	EmailID, ThreadID int64
	// SavedSince and SavedBefore are days, as Since and Before are (RFC 8514).
	SavedSince, SavedBefore time.Time
	// Fuzzy are texts of FUZZY keys (RFC 6203).
	Fuzzy []fuzzyText
}

// returns are the result options of SEARCH and its kin (RFC 9051, 6.4.4; RFC 4731).
type returns struct {
	given                bool // RETURN was there
	min, max, all, count bool
	save                 bool          // RFC 5182
	partial              *partialRange // RFC 9394
	modSeq               bool          // a key asked for MODSEQ, so it is told (RFC 7162)
	relevancy            bool          // RFC 6203
	update               bool          // RFC 5267
	// score is the relevancy of a message that was found, by sequence number.
	score func(seq uint32) uint32
}

// answered reports whether anything is to be told.
func (r *returns) answered() bool {
	return !r.given || r.min || r.max || r.all || r.count || r.partial != nil || r.relevancy
}
