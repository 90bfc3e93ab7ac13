// Package mailauth tells who vouches for a message: SPF (RFC 7208), DKIM (RFC 6376)
// and what DMARC (RFC 7489) makes of both.
//
// Each has a file and can be had alone; Check asks all three. The work for one message
// is bounded by counts: at most 10 terms of SPF that need a look-up, 2 of them in vain
// and 50 questions in all; at most 8 signatures, with a question each; at most 2
// questions for a policy. A body is read once, however many signatures it has, and time and
// memory are linear in the size of the message.
//
// DKIM is verified here and not by go-msgauth, which signs, because its verifier takes
// quadratic time for empty lines and long lists of fields, and asks no injected clock.
// Tests hold the two against each other.
package mailauth

// A Result is a word of RFC 8601, 2.7.
type Result string

const (
	Pass      Result = "pass"
	Fail      Result = "fail"
	SoftFail  Result = "softfail"
	Neutral   Result = "neutral"
	None      Result = "none"
	TempError Result = "temperror" // DNS did not answer
	PermError Result = "permerror" // what was published, or signed, cannot be understood
)
