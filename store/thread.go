package store

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/message"
)

// Messages are of one conversation if they name the same message, be it
// themselves or one they answer, and have the same subject but for what replying
// and forwarding puts around it (RFC 8621, 3). So a ThreadKey is a hash of a
// message ID and that subject, and each message looks up a bounded number of them.
// A thread never changes: where a message connects two, it joins the one of its
// nearest ancestor.
const (
	threadLook = 24 // keys looked up for one message
	threadKeep = 6  // keys noted for one message, its own among them

	maxSubject = 16 << 10 // bytes that are looked at

	// keepThread is for how long a message can be answered and the answer
	// still finds it, from its delivery.
	keepThread = 2 * 365 * 24 * time.Hour
)

// threadKeys returns the keys of a message, the nearest first and its own among
// the first two.
func threadKeys(e *message.Envelope) []ThreadKey {
	subject := baseSubject(e.Subject)
	near := messageIDs(e.InReplyTo, 4)
	for _, id := range slices.Backward(e.References) {
		near = append(near, id)
	}
	own := messageIDs(e.MessageID, 1)
	var ids []string
	if len(near) > 0 {
		ids, near = append(ids, near[0]), near[1:]
	}
	ids = append(append(ids, own...), near...)
	if len(ids) > threadLook {
		ids = append(ids[:threadLook-1], ids[len(ids)-1]) // the root too
	}
	keys := make([]ThreadKey, 0, len(ids))
	for _, id := range ids {
		if k := hashThread(id, subject); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

func hashThread(id, subject string) (k ThreadKey) {
	h := sha256.New()
	h.Write([]byte(id))
	h.Write([]byte{0})
	h.Write([]byte(subject))
	copy(k[:], h.Sum(nil))
	return k
}

// messageIDs returns up to max of what stands in angle brackets, or the whole
// field if nothing does.
func messageIDs(field string, max int) (ids []string) {
	for rest := field; len(ids) < max; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		id, after, ok := strings.Cut(after, ">")
		if !ok {
			break
		}
		if id = strings.Join(strings.Fields(id), ""); id != "" {
			ids = append(ids, id)
		}
		rest = after
	}
	if field = strings.TrimSpace(field); ids == nil && field != "" {
		ids = []string{field}
	}
	return ids
}

// baseSubject returns what replies and forwards have in common: decoded, in
// lower case, without white space, leading "[list]" and words of up to four
// letters with a colon ("Re:", "AW[2]:", "Odp:"), and a "(fwd)" at the end. That
// it takes "FYI:" away as well does no harm, because message IDs must agree too.
func baseSubject(s string) string {
	s = s[:min(len(s), maxSubject)]
	s = strings.ToLower(strings.Join(strings.Fields(message.DecodeHeader(s)), ""))
	for strings.HasSuffix(s, "(fwd)") {
		s = strings.TrimSuffix(s, "(fwd)")
	}
	for {
		was := s
		if rest, ok := strings.CutPrefix(s, "["); ok {
			if _, after, ok := strings.Cut(rest, "]"); ok && after != "" {
				s = after
			}
		}
		if s = cutReply(s); s == was || s == "" {
			return s
		}
	}
}

// cutReply takes one "re:" or "re[2]:" away.
func cutReply(s string) string {
	rest, n := s, 0
	for n <= 4 {
		r, size := utf8.DecodeRuneInString(rest)
		if !unicode.IsLetter(r) {
			break
		}
		rest, n = rest[size:], n+1
	}
	if n == 0 || n > 4 {
		return s
	}
	if rest != "" && (rest[0] == '[' || rest[0] == '(') {
		digits := strings.TrimLeft(rest[1:], "0123456789")
		if digits == "" || digits[0] != ']' && digits[0] != ')' {
			return s
		}
		rest = digits[1:]
	}
	for _, colon := range []string{":", "："} {
		if after, ok := strings.CutPrefix(rest, colon); ok {
			return after
		}
	}
	return s
}

// coldKeys returns the thread keys of a message that was parsed.
func coldKeys(c *Cold) []ThreadKey {
	if len(c.Envelope) == 0 {
		return nil
	}
	e, err := message.DecodeEnvelope(c.Envelope)
	if err != nil {
		return nil
	}
	return threadKeys(&e)
}

// noteThreads gives those of keys that are not known yet the thread of a new
// message.
func (w *work) noteThreads(id AccountID, t ThreadID, keys []ThreadKey, known map[ThreadKey]ThreadID) error {
	var fresh []ThreadKey
	for _, k := range keys[:min(len(keys), threadKeep)] {
		if _, ok := known[k]; !ok {
			fresh, known[k] = append(fresh, k), t
		}
	}
	if fresh == nil {
		return nil
	}
	return w.PutThreads(id, t, fresh, w.now.Add(keepThread))
}
