package ftsindex

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// maxTrigrams is how many of a text are looked up. Those of a long text beyond it
// would hardly leave fewer messages.
const maxTrigrams = 24

// Find answers for header fields exactly, as long as their values are not long, and for
// other texts with all messages that have each trigram.
func (x *Index) Find(ctx context.Context, account store.AccountID, q search.Query) (a search.Answer, err error) {
	words := ""
	if q.Where != search.Field {
		if words = trigrams(q.Text); words == "" {
			return a, search.ErrNoAnswer
		}
	}
	if q.Last == 0 {
		q.Last = 1<<32 - 1
	}
	err = x.use(false, func(db *sqldb.SQLite) error {
		return db.View(ctx, func(c sqldb.Conn) error {
			a = search.Answer{}
			if ok, err := owns(c, account, q.Mailbox); err != nil || !ok {
				return cmp.Or(err, search.ErrNoAnswer)
			}
			if q.Where == search.Field {
				return findField(c, &q, &a)
			}
			return findWords(c, &q, words, &a)
		})
	})
	return a, err
}

// owns reports whether a mailbox is one of an account that is indexed.
func owns(c sqldb.Conn, account store.AccountID, box store.MailboxID) (ok bool, err error) {
	err = c.Query(`SELECT 1 FROM box b JOIN account a ON a.num = b.acct WHERE b.id = ? AND a.id = ? AND a.start > 0`, func(sqldb.Row) error {
		ok = true
		return nil
	}, int64(box), string(account))
	return ok, err
}

func findField(c sqldb.Conn, q *search.Query, a *search.Answer) error {
	what := []byte(q.Text)
	var docs []doc
	err := c.Query(`SELECT s.uids, f.data FROM segment s LEFT JOIN field f ON f.segment = s.id AND f.name = ? WHERE s.box = ? ORDER BY s.id`, func(r sqldb.Row) (err error) {
		if docs, err = decodeUIDs(docs[:0], r.Bytes(0)); err != nil {
			return err
		}
		for _, d := range docs {
			if d.uid >= q.First && d.uid <= q.Last {
				a.Known = append(a.Known, d.uid)
			}
		}
		if r.IsNull(1) {
			return nil
		}
		return matches(r.Bytes(1), len(docs), what, func(at int, cut bool) {
			switch uid := docs[at].uid; {
			case uid < q.First || uid > q.Last:
			case cut:
				a.Maybe = append(a.Maybe, uid)
			default:
				a.Sure = append(a.Sure, uid)
			}
		})
	}, q.Field, int64(q.Mailbox))
	tidy(&a.Known)
	tidy(&a.Sure)
	tidy(&a.Maybe)
	return err
}

// tidy sorts UIDs, which mostly are.
func tidy(uids *[]store.UID) {
	if !slices.IsSorted(*uids) {
		slices.Sort(*uids)
	}
	*uids = slices.Compact(*uids)
}

func findWords(c sqldb.Conn, q *search.Query, words string, a *search.Answer) error {
	docs, err := uidsOf(c, q.Mailbox)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if d.uid < q.First || d.uid > q.Last {
			continue
		}
		if a.Known = append(a.Known, d.uid); d.long && q.Where == search.Body {
			a.Maybe = append(a.Maybe, d.uid)
		}
	}
	if q.Mailbox > maxBox {
		return nil
	}
	err = c.Query(`SELECT rowid FROM words WHERE words MATCH ? AND rowid >= ? AND rowid <= ?`, func(r sqldb.Row) error {
		a.Maybe = append(a.Maybe, store.UID(r.Int(0)))
		return nil
	}, words, rowid(q.Mailbox, q.First), rowid(q.Mailbox, q.Last))
	tidy(&a.Maybe)
	return err
}

// trigrams returns an expression for texts that have all trigrams of a text, and "" if
// it is too short.
func trigrams(text string) string {
	var all []string
	for i := range text {
		end := i
		for range 3 {
			_, n := utf8.DecodeRuneInString(text[end:])
			end += n
			if n == 0 {
				end = -1
				break
			}
		}
		if end < 0 {
			break
		}
		all = append(all, text[i:end])
	}
	var b strings.Builder
	step := (len(all) + maxTrigrams - 1) / maxTrigrams
	for i := 0; i < len(all); i += step {
		if i > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString(`"` + strings.ReplaceAll(all[i], `"`, `""`) + `"`)
	}
	return b.String()
}
