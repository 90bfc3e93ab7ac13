package smtp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/store/blob"
)

// content is a spooled message with what stands before it.
type content struct {
	*spooled
	prefix []byte
}

var _ blob.Staged = (*content)(nil)

func (c *content) Size() int64 { return int64(len(c.prefix)) + c.size }

// Stored is for those who know only of what is durable.
func (c *content) Stored() (blob.Store, blob.Info, []byte) {
	info, wait, err := c.stage()
	if err == nil && wait != nil {
		err = wait()
	}
	if err != nil {
		return nil, blob.Info{}, nil // it can still be read
	}
	return c.store, info, c.prefix
}

func (c *content) Stage(s blob.Store) (blob.Adopted, bool, error) {
	if s != c.store {
		return blob.Adopted{}, false, nil
	}
	info, wait, err := c.stage()
	return blob.Adopted{Info: info, Prefix: c.prefix, Wait: wait, Open: c.open}, err == nil, err
}

func (c *content) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(c.prefix), rc), rc}, nil
}

// with returns the same content with more fields before it.
func (c *content) with(fields []byte) *content {
	if len(fields) == 0 {
		return c
	}
	return &content{c.spooled, slices.Concat(fields, c.prefix)}
}

// finish asks the filters and delivers.
func (tx *transaction) finish(sp *spooled) ([]mailkeel.Result, error) {
	body := &content{sp, slices.Concat(tx.verdict.Prefix, tx.received())}
	v := tx.judge(filter.Message, nil, body)
	if v.Refuse != nil {
		tx.tell("smtp: message refused", sp.size, slog.Any("err", v.Refuse))
		return nil, v.Refuse
	}
	if tx.verdict.Discard {
		tx.tell("smtp: message discarded", sp.size)
		return nil, nil
	}
	body = body.with(slices.Concat(tx.results(), v.Prefix))

	results := tx.distribute(v, body)
	var more []slog.Attr // what Next says of the first of whom it says something
	if i := slices.IndexFunc(results, func(r mailkeel.Result) bool { return r.Err == nil && r.Reply != "" }); i >= 0 {
		more = append(more, slog.String("reply", shown(results[i].Reply)))
	}
	tx.tell("smtp: message received", sp.size, more...)
	return results, nil
}

// tell logs what became of the message, in one line.
func (tx *transaction) tell(what string, size int64, more ...slog.Attr) {
	if tx.c.s.Logger == nil {
		return
	}
	var room [8]slog.Attr
	attrs := append(room[:0], slog.String("id", tx.env.ID), slog.String("from", tx.env.From), slog.Any("to", tx.to()),
		slog.Int("rcpts", len(tx.env.Rcpts)), slog.Int64("bytes", size))
	if tx.verdict.Why != "" {
		attrs = append(attrs, slog.String("why", tx.verdict.Why))
	}
	tx.c.log().LogAttrs(context.Background(), slog.LevelInfo, what, append(attrs, more...)...)
}

// to is who gets the message, for the log: the first of them.
func (tx *transaction) to() []string {
	var to []string
	for _, r := range tx.env.Rcpts[:min(len(tx.env.Rcpts), 10)] {
		to = append(to, r.Addr)
	}
	return to
}

// shown is a word of a peer for the log, cut off where no address is so long.
func shown(s string) string { return s[:min(len(s), 320)] }

// results is the Authentication-Results field (RFC 8601) and what the filters
// thought, or nothing if they have found nothing.
func (tx *transaction) results() []byte {
	var b strings.Builder
	v := &tx.verdict
	if len(v.Results) > 0 {
		text := authres.Format(tx.c.s.authservID(), v.Results)
		lines := strings.NewReplacer(" ; ", ";\r\n\t", "; ", ";\r\n\t").Replace(oneLine(text))
		b.WriteString("Authentication-Results: " + strings.TrimRight(lines, " ") + "\r\n")
	}
	if v.Score != 0 || v.Junk || v.Why != "" {
		yes := "No"
		if v.Junk {
			yes = "Yes"
		}
		fmt.Fprintf(&b, "X-Spam-Status: %s, score=%.1f", yes, v.Score)
		if v.Why != "" {
			b.WriteString("\r\n\t(" + strings.NewReplacer("(", "[", ")", "]", "\\", "/").Replace(plain(v.Why)) + ")")
		}
		b.WriteString("\r\n")
	}
	return []byte(b.String())
}

// oneLine takes line breaks and other control characters away.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
