// Package filter judges mail while it is being received.
//
// A Filter has a name and one or more stage methods. A door asks them, through a
// Chain, at the moments at which it can still say no:
//
//	stage    method         when                       Origin  Env              Rcpt    Content
//	Conn     FilterConn     at a connection, and       set     nil              nil     nil
//	                        again after STARTTLS
//	Sender   FilterSender   at MAIL                    set     From, ID;        nil     nil
//	                                                           no recipients
//	Rcpt     FilterRcpt     at each RCPT, after it     set     the recipients   set     nil
//	                        was looked up                      accepted before
//	Message  FilterMessage  when all content is here,  set     all recipients   nil     set
//	                        before it is acknowledged
//	(end)    Done           after each transaction     set     as far as it     nil     nil
//	                        that got as far as MAIL            came
//
// Origin, too, is nil where nobody connected: a message that this process composed.
// A stage method that needs what is nil has no opinion; it does not panic.
//
// Verdicts are values: a filter returns what it thinks and changes nothing, so
// filters run side by side, and the same answers give the same end in whatever
// order they come. What the fields of a Verdict do:
//
//	field    Conn  Sender  Rcpt            Message  effect
//	Refuse   yes   yes     this recipient  yes      the reply is this error, nothing is kept
//	Discard  -     yes     this recipient  yes      the reply is yes, nothing is kept
//	Junk     yes   yes     this recipient  yes      filed in Junk; a script sees it
//	Score    yes   yes     yes             yes      added up; the Chain has the thresholds
//	Why      yes   yes     yes             yes      goes to the log and a header field
//	Prefix   yes   yes     yes             yes      header fields before the message
//	Results  yes   yes     yes             yes      go into Authentication-Results
//	Rewrite  -     -       yes             -        another recipient in place of this one
//	Rcpts    -     -       -               yes      Refuse, Discard, Junk, Score and Prefix for one
//
// Where an answer is for several recipients, as in SMTP, a temporary Refuse for one
// holds for all. A permanent one does not: the others get the message, and the
// sender a bounce, as the queue's policy allows. To spare forged senders that, use
// Discard or Junk for one recipient.
//
// What Conn and Sender think of a connection holds for each of its messages. A
// Discard is for what must not be told apart from success; to lose mail silently
// is rarely right.
//
// An error is not an opinion: the filter could not tell, because a name server or a
// scanner was away. The mail passes, with a result of temperror, unless the policy
// of the Chain (OnError) refuses it for now. A filter that panics, takes longer
// than Chain.Timeout, or gives a verdict that cannot be, could not tell either.
//
// Package filtertest checks an implementation. Package rate is a small one to learn
// from.
package filter
